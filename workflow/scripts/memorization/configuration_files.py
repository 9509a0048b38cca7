"""Configuration files as files: absent, not readable, not YAML, or with a key that stands there twice."""

from pathlib import Path

import yaml

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
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return f"{path}: line {mark.line + 1}, column {mark.column + 1}: not YAML: {error.problem}"
    except yaml.YAMLError as error:
        return f"{path}: not YAML: {' '.join(str(error).split())}"
    if not isinstance(document, yaml.MappingNode):
        return f"{path}: is not a mapping with the key experiments"
    return _twice_given(path, document, "")


def _twice_given(path: str, mapping: yaml.MappingNode, parents: str) -> str | None:
    """Return the first key that stands twice in a mapping: YAML would drop one of its values silently."""
    seen = set()
    for key, value in mapping.value:
        name = f"{parents}{key.value}"
        if name in seen:
            return f"{path}: line {key.start_mark.line + 1}: {name} is there twice; give it once"
        seen.add(name)
        if isinstance(value, yaml.MappingNode) and (mistake := _twice_given(path, value, f"{name}.")):
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
