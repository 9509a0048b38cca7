"""Configuration files as files: absent, not readable, not YAML, or with a key that stands there twice."""

from pathlib import Path

import yaml

from .wording import shown_key

OPTIONS = ("--configfile", "--configfiles")
DEFAULT_FILE = "config/config.yaml"


def check_given_files(arguments: list[str]) -> None:
    """End the program with one line for each configuration file of a call that cannot be read."""
    files = _given_files(arguments) or [DEFAULT_FILE]
    mistakes = [mistake for path in files if (mistake := mistake_of_file(path))]
    if mistakes:
        raise SystemExit("\n".join(mistakes))


def mistake_of_file(path: str) -> str | None:
    """Return what is wrong with a configuration file, in one line, or None."""
    try:
        content = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        return f"{path}: {error.strerror}; name a YAML file, such as {DEFAULT_FILE}"
    except UnicodeDecodeError:
        return f"{path}: is not text in UTF-8"
    try:
        document = yaml.compose(content, Loader=yaml.SafeLoader)
        if not isinstance(document, yaml.MappingNode):
            return f"{path}: is not a mapping with the key experiments"
        mistake = _twice_given(document, "")
        # What composes may still not be constructed: a date that is none, a tag without a meaning.
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


def _twice_given(mapping: yaml.MappingNode, parents: str) -> str | None:
    """Return the first key that stands twice in a mapping: YAML would drop one of its values silently."""
    seen = set()
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            return f"line {key.start_mark.line + 1}: a key is a word, not a list or a mapping"
        name = f"{parents}{shown_key(key.value)}"
        if name in seen:
            return f"line {key.start_mark.line + 1}: {name} is there twice; give it once"
        seen.add(name)
        if isinstance(value, yaml.MappingNode) and (mistake := _twice_given(value, f"{name}.")):
            return mistake
    return None


def _given_files(arguments: list[str]) -> list[str]:
    """Return the values of --configfile in a command line, as argparse would find them."""
    files, taking = [], False
    for argument in arguments:
        option, _, value = argument.partition("=")
        if argument.startswith("-"):
            taking = option in OPTIONS
            if taking and value:
                files.append(value)
        elif taking:
            files.append(argument)
    return files
