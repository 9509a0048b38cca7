"""The version of the code that a rule runs: Snakemake sees a changed script, not a changed library."""

import ast
import hashlib
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
LIBRARY = Path(__file__).resolve().parent.name


@cache
def code_version(script: str, model: str | None = None) -> str:
    """Return a hash of the library modules that ``script`` imports, directly or through others.

    With them goes the module of ``model``, which a script names only when it runs. The hash is taken of
    the syntax trees without docstrings: comments, docstrings and layout change nothing.
    """
    modules = _imported_modules(SCRIPTS / script)
    if model:
        path = SCRIPTS / LIBRARY / f"{model}.py"
        modules = _imported_modules(path, modules | {path})
    digest = hashlib.sha256()
    for module in sorted(modules):
        digest.update(f"{module.name}\n{ast.dump(_tree(module))}\n".encode())
    return digest.hexdigest()[:16]


def _imported_modules(path: Path, found: frozenset[Path] = frozenset()) -> frozenset[Path]:
    """Return ``found`` and the files of the library that ``path`` imports, with all that these import."""
    for node in ast.walk(_tree(path)):
        for module in _modules_of_import(node, path.parent.name == LIBRARY):
            if module not in found:
                found = _imported_modules(module, found | {module})
    return found


def _modules_of_import(node: ast.AST, inside_library: bool) -> list[Path]:
    """Return the files of the library that one import statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        package = LIBRARY if node.level and inside_library else ""
        base = ".".join(filter(None, [package, node.module]))
        names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
    else:
        return []
    files = [SCRIPTS / f"{name.replace('.', '/')}.py" for name in names if name.startswith(LIBRARY)]
    return [file for file in files if file.is_file()]


@cache
def _tree(path: Path) -> ast.Module:
    """Return the syntax tree of a module without docstrings, those of constants and attributes included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [statement for statement in body if not _is_docstring(statement)]
    return tree


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
