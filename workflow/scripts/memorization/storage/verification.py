"""Comparing the files of a run of the workflow with a record.

The record has their hashes and summaries. A file with the recorded hash is identical. Otherwise its summary is
compared, entry by entry. An array of floats is summarised as ``[kind and shape, root mean square, weighted sum]``,
another array as its kind, its shape and a hash of its values; a scalar stands for itself. A csv has no summary: it
is the text of the parquet beside it.
"""

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .cache import csv_text, read_pickle, read_table
from .provenance import sha256

ROOTS = ("cache_smoke", "results_smoke")
COMPARED = (".pkl", ".parquet", ".csv", ".png", ".pdf")
# A float may differ by this part of itself, the two numbers of an array by this part of the root mean square.
# Another processor rounds sums otherwise, by 1e-7 of them, and training lets that grow (docs/reliability.md).
TOLERANCE = 1e-3
# Significant digits of a recorded float: rounding moves it by a twentieth of the tolerance at most.
DIGITS = 5
IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "equal within tolerance", "different"


def compared_files(folder: Path) -> dict[str, Path]:
    """Return the files of a run in ``folder`` that are compared, by their name there."""
    paths = sorted(path for root in ROOTS for path in (folder / root).rglob("*") if path.suffix in COMPARED)
    return {str(path.relative_to(folder)): path for path in paths}


def record(folder: Path) -> dict[str, list]:
    """Return ``[hash, summary]`` of each file of a run in ``folder``."""
    return {name: [_file_hash(path), _summary_of_file(path)] for name, path in compared_files(folder).items()}


def compare(recorded: dict[str, list], folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each file, its answer (one of the three) and the difference."""
    files = compared_files(folder)
    for name in sorted(recorded.keys() | files.keys()):
        if name not in files or name not in recorded:
            yield name, DIFFERENT, "is not made" if name not in files else "is not in the record"
        elif recorded[name][0] == _file_hash(files[name]):
            yield name, IDENTICAL, ""
        else:
            difference = _difference(recorded, name, folder)
            yield name, DIFFERENT if difference else WITHIN_TOLERANCE, difference


def _difference(recorded: dict[str, list], name: str, folder: Path) -> str:
    """Return the first entry in which a file differs from its record.

    Returns nothing if all entries are within tolerance.
    """
    try:
        if name.endswith(".csv"):
            table = f"{name.removesuffix('.csv')}.parquet"
            if csv_text(read_table(folder / table)) != (folder / name).read_bytes():
                return f"is not the text of {Path(table).name}"
            name = table
        found = _summary_of_file(folder / name)
    except (OSError, ValueError, pickle.UnpicklingError) as error:
        return f"cannot be read: {error}"
    if not found:
        return "has other bytes, and no numbers to compare (a picture)"
    differences = list(_differences(recorded.get(name, ["", {}])[1], found, ""))
    return f"{differences[0]} (and {len(differences) - 1} more)" if len(differences) > 1 else "".join(differences)


def _differences(expected: Any, found: Any, name: str) -> Iterator[str]:
    """Yield each entry of a summary that is not as recorded, floats within tolerance."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected | found:
            parts = expected.get(key, "nothing"), found.get(key, "nothing")
            yield from _differences(*parts, f"{name}.{key}" if name else key)
    elif not (type(expected) is type(found) and _equal(expected, found)):
        yield f"{name}: {found!s:.80} in place of {expected!s:.80}"


def _equal(expected: Any, found: Any) -> bool:
    """Tell whether an entry is equal to another of its type, floats within tolerance."""
    if isinstance(found, list):
        scale = TOLERANCE * expected[1]
        return expected[0] == found[0] and np.allclose(found[1:], expected[1:], rtol=0, atol=scale)
    if isinstance(found, float):
        return bool(np.isclose(found, expected, rtol=TOLERANCE, atol=0, equal_nan=True))
    return expected == found


def _summary_of_file(path: Path) -> dict[str, Any]:
    """Return the summary of a pickle or a parquet table; it is empty for other files."""
    if path.suffix == ".pkl":
        return _summary(read_pickle(path))
    if path.suffix == ".parquet":
        table = read_table(path)
        return {"rows": len(table)} | {name: _summary_of_array(table[name].to_numpy(), "") for name in table}
    return {}


def _summary(content: Any) -> Any:
    """Return the summary of a pickle's content.

    A list of like parts is summarised as one part.
    """
    if isinstance(content, dict) and content:
        return {str(key): _summary(value) for key, value in content.items()}
    if isinstance(content, list | tuple) and content:
        if all(isinstance(part, dict) and part.keys() == content[0].keys() for part in content):
            return {str(key): _summary([part[key] for part in content]) for key in content[0]}
        try:
            content = np.stack(content)
        except ValueError:  # of several shapes
            content = np.concatenate([np.ravel(part) for part in content])
    array = np.asarray(repr(content) if isinstance(content, dict | list | tuple | None) else content)
    if array.ndim:
        return _summary_of_array(array, f"[{','.join(map(str, array.shape))}]")
    return _rounded(array) if array.dtype.kind == "f" else array.item()


def _summary_of_array(array: np.ndarray, shape: str) -> list | str:
    """Return the summary of an array.

    It is a list for an array of floats, and a text for any other.
    """
    kind, values = f"{array.dtype.str[1:]}{shape}", array.ravel()
    if array.dtype.kind != "f":
        return f"{kind} {_hash(values.tolist())}"
    finite = np.isfinite(values)
    if not finite.all():
        kind += f" not finite {_hash([values[~finite].tolist(), np.flatnonzero(~finite).tolist()])}"
    values = np.where(finite, values, 0).astype(np.float64)
    # Weights of size 1 to 2, all different and with signs in no order: the sum shows the change of a single value
    # and another order of the values, while many roundings cancel in it.
    weights = np.cos(np.arange(1.0, values.size + 1) ** 2)
    weights += np.sign(weights)
    root = np.sqrt(max(values.size, 1))
    return [kind, _rounded(np.linalg.norm(values) / root), _rounded(weights @ values / root)]


def _file_hash(path: Path) -> str:
    return sha256(path)[:16]


def _hash(values: list) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:6]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
