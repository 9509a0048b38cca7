"""What is wrong with a configuration file, before its contents are looked at.

It is absent, is not YAML, or YAML misreads it. The values of the command line are read here too.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .wording import shown_key

DEFAULT_FILE = "config/config.yaml"
# YAML 1.1 reads 010 as 8, 1:40 as 100 and 1:40.5 as 100.5. It reads 0x1F, 0b11 and 1_000 as they look.
OCTAL = re.compile(r"[-+]?0[0-7_]+")
BASE_60 = re.compile(r"[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?")


def mistake_of_file(
    path: str, what: str = "a mapping with the key experiments", example: str = DEFAULT_FILE
) -> str | None:
    """Return what is wrong with a YAML file, in one line, or None.

    It should be ``what``, which is a mapping, as the ``example`` is; by default a configuration file.
    """
    try:
        content = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        return f"{path}: {error.strerror}; name a YAML file, such as {example}"
    except UnicodeDecodeError:
        return f"{path}: is not text in UTF-8"
    # As Snakemake does, which reads as YAML what is not JSON.
    try:
        json.loads(content, object_pairs_hook=_without_duplicates)
        return None if content.lstrip().startswith("{") else f"{path}: is not {what}"
    except _DuplicateKeyError as error:
        return f"{path}: {shown_key(error.args[0])} is there twice; give it once"
    except (ValueError, RecursionError):
        pass
    try:
        document = yaml.compose(content, Loader=yaml.SafeLoader)
        if not isinstance(document, yaml.MappingNode):
            return f"{path}: is not {what}"
        mistake = next(_misread(document, ""), None)
        # Some text is YAML and still has no value: a date that is none, a tag without a meaning.
        yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return f"{path}: line {mark.line + 1}, column {mark.column + 1}: not YAML: {error.problem}"
    except RecursionError:
        return f"{path}: contains itself by an alias, or is nested too deeply"
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, AttributeError, LookupError) as error:
        # The YAML library itself raises all of these, for values that are not of the type they claim.
        return f"{path}: not YAML: {' '.join(str(error).split())}"
    return mistake and f"{path}: {mistake}"


class _DuplicateKeyError(Exception):
    """A JSON file has a key twice, of which reading would drop one silently."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _DuplicateKeyError(key)
        content[key] = value
    return content


def mistake_of_folder(path: Path) -> str | None:
    """Return what is wrong with the folder of this repository, in one line, or None."""
    if any(brace in str(path) for brace in "{}"):
        return f"{path}: has a brace, which Snakemake takes for a wildcard; rename or move the repository"
    return None


def nested_values(given: dict[str, Any]) -> dict[str, Any]:
    """Return the mappings and lists of ``--config``, with their numbers as numbers.

    Snakemake has read all that is in them as texts.
    """
    return {key: _with_numbers(value) for key, value in given.items() if isinstance(value, dict | list)}


def _with_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value


def _misread(node: yaml.Node, name: str) -> Iterator[str]:
    """Yield a line for each place in a node at the path ``name`` that YAML misreads."""
    below = f"{name}." if name else ""
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _misread(item, f"{below}{i}")
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            line = f"line {key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode):
                yield f"{line}: a key is a word, not a list or a mapping"
                continue
            path = f"{below}{shown_key(key.value)}"
            # YAML would drop one of its values silently.
            if key.value in keys:
                yield f"{line}: {path} is there twice; give it once"
            keys.add(key.value)
            yield from _misread(value, path)
    elif mistake := _misread_number(node):
        yield f"line {node.start_mark.line + 1}: {name}: {mistake}"


def _misread_number(node: yaml.ScalarNode) -> str | None:
    """Return what is wrong with a number that YAML reads in base 8 or 60, or None."""
    if node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        return None
    text = node.value
    if OCTAL.fullmatch(text):
        read, meant = yaml.safe_load(text), int(text.replace("_", ""))
        if read != meant:
            return f"YAML reads {text} as {read}, in base 8; write {meant}, or {read} if that is meant"
    elif BASE_60.fullmatch(text):
        read = yaml.safe_load(text)
        return f'YAML reads {text} as {read}, in base 60; write {read}, or "{text}" if a text is meant'
    return None
