"""The version of the code that a rule runs: a hash of what the code does.

Snakemake itself looks at the modification time of a script and not at all at the modules that it imports. Each
rule therefore has this hash as a parameter. Comments, docstrings, layout, the names and places of modules and
the version of Python leave it as it is.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).resolve().parents[2]
LIBRARY = "memorization"


@cache
def code_version(script: str, model: str | None = None) -> str:
    """Return a hash of a script and of every library module that it imports, directly or through others.

    The file of ``model`` counts too: training imports it by its name only while it runs.
    """
    paths = [SCRIPTS / script]
    if model:
        paths.append(SCRIPTS / LIBRARY / "models" / f"{model}.py")
    return _sha256("\n".join(map(_module_hash, paths)))[:16]


@cache
def _module_hash(path: Path) -> str:
    """Return the hash of a module: of its own code, and in place of each import of the imported module's hash.

    The name of a module is in no hash, so that a moved or renamed module has the hash it had.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = sorted(entry for node in ast.walk(tree) for entry in _imports(node, path))
    return _sha256("\n".join([*imports, _canonical(tree)]))


def _imports(node: ast.AST, path: Path) -> Iterator[str]:
    """Yield each name that an import statement of the module ``path`` binds, with what it is bound to."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            module = _library_file(alias.name.split("."), SCRIPTS)
            yield f"{alias.asname}={_module_hash(module) if module else alias.name}"
    elif isinstance(node, ast.ImportFrom):
        folder = path.parents[node.level - 1] if node.level else SCRIPTS
        base = node.module.split(".") if node.module else []
        for alias in node.names:
            # Either a module of a package, or a name in a module.
            if module := _library_file([*base, alias.name], folder):
                yield f"{alias.asname or alias.name}={_module_hash(module)}"
            elif module := _library_file(base, folder):
                yield f"{alias.asname}={alias.name} of {_module_hash(module)}"
            else:
                yield f"{alias.asname}={alias.name} of {node.module}"


def _library_file(names: list[str], folder: Path) -> Path | None:
    """Return the file of a module of the library, or None."""
    file = folder.joinpath(*names).with_suffix(".py") if names else folder / "__init__.py"
    return file if file.is_file() and SCRIPTS / LIBRARY in file.parents else None


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
    """Tell whether a statement is a docstring, or an import, whose effect is hashed by itself."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
