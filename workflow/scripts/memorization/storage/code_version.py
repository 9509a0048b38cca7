"""The version of the code that a rule runs: a hash of what the code does.

Snakemake itself checks the modification time of a script. It does not check the modules that the script imports.
Each rule therefore has this hash as a parameter. Comments, docstrings, layout, the names and places of modules
and the version of Python leave it as it is.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2]
LIBRARY = SCRIPTS / "memorization"


@cache
def code_version(script: str, model: str | None = None) -> str:
    """Return a hash of a script and of the modules of the repository it imports.

    Modules that are imported indirectly count too. The file of ``model`` counts too: training imports it by its
    name only while it runs.
    """
    given = [SCRIPTS / script, *([LIBRARY / "models" / f"{model}.py"] if model else [])]
    reached = list(given)
    seen = set(given)
    for path in reached:
        new = _imported_modules(path) - seen
        reached += new
        seen |= new
    # As a set: the packages, most of them without code, are equal, and a module may move between them.
    imported = sorted(set(map(_own_hash, reached[len(given) :])))
    return _sha256("\n".join([*map(_own_hash, given), *imported]))[:16]


@cache
def _own_hash(path: Path) -> str:
    """Return the hash of a module.

    It covers its code, its data files, and what its imports bind. The module that a name is imported from counts
    by its code, not by its own name: it may be renamed or moved.
    """
    names = sorted(
        f"{bound}={name} of {_code_hash(source) if isinstance(source, Path) else source}"
        for bound, name, source in _imports(path)
    )
    data = sorted(_sha256(file.read_bytes()) for file in _data_files(path))
    return _sha256("\n".join([_code_hash(path), *names, *data]))


@cache
def _code_hash(path: Path) -> str:
    return _sha256(_canonical(_tree(path)))


@cache
def _tree(path: Path) -> ast.Module:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=path)
    except UnicodeDecodeError:
        raise SyntaxError("is not text in UTF-8", (str(path), None, None, None)) from None
    except SyntaxError as error:
        error.filename = str(path)  # Python does not name the file if it holds a zero byte.
        raise
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            # Python 3.12 ends the format of an f-string with an empty text.
            node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    return tree


@cache
def _imported_modules(path: Path) -> frozenset[Path]:
    """Return the modules of the repository that ``path`` imports, and their packages."""
    sources = {source for _, _, source in _imports(path) if isinstance(source, Path)}
    folders = {folder for source in sources for folder in source.parents if folder.is_relative_to(LIBRARY)}
    return frozenset(sources | {folder / "__init__.py" for folder in folders})


@cache
def _imports(path: Path) -> list[tuple[str, str, Path | str]]:
    """Return what the imports of a module bind.

    That is each name, the name that it has in its source, and the source. The source is a file of the repository,
    or the name of another module. A module that is bound as a whole has an empty name in its source.
    """
    bound: list[tuple[str, str, Path | str]] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                file = _module_file(SCRIPTS, alias.name)
                bound.append((alias.asname or alias.name, "", file or alias.name))
        elif isinstance(node, ast.ImportFrom):
            folder = path.parents[node.level - 1] if node.level else SCRIPTS
            for alias in node.names:
                name = alias.asname or alias.name
                if file := _module_file(folder, node.module, alias.name):
                    bound.append((name, "", file))
                else:
                    bound.append((name, alias.name, _module_file(folder, node.module) or str(node.module)))
    return bound


def _module_file(folder: Path, *names: str | None) -> Path | None:
    """Return the file of a module of the repository, or None."""
    place = folder.joinpath(*".".join(filter(None, names)).split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((file for file in candidates if file.is_file() and SCRIPTS in file.parents), None)


def _data_files(path: Path) -> list[Path]:
    """Return the files beside a module that a text in it names, such as a style sheet."""
    texts = {node.value for node in ast.walk(_tree(path)) if isinstance(node, ast.Constant)}
    return [file for file in path.parent.iterdir() if file.name in texts and file.is_file()]


def _canonical(value: Any) -> str:
    """Return a syntax tree as text without imports, docstrings and empty fields.

    `ast.dump` differs between versions of Python, by fields that are new or empty.
    """
    if isinstance(value, ast.AST):
        fields = [
            f"{name}={text}" for name, field in ast.iter_fields(value) if (text := _canonical(field)) != "None"
        ]
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, list):
        parts = [_canonical(part) for part in value if not _without_effect(part)]
        return f"[{', '.join(parts)}]" if parts else "None"
    return ascii(value)


def _without_effect(node: Any) -> bool:
    """Tell whether a statement is a docstring or an import.

    An import is hashed by itself.
    """
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _sha256(content: str | bytes) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()
