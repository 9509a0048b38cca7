"""Comparing the files of a run of the workflow with a record: their bytes, and where these differ every value."""

import base64
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .cache import read_pickle, read_table
from .provenance import sha256

ROOTS = ("cache_smoke", "results_smoke")
COMPARED = (".pkl", ".parquet", ".csv", ".png", ".pdf")
# How far a float may be from the recorded one: this part of that, and this part of the root mean square of its
# array. Another processor rounds sums otherwise, by 1e-7 of them, and training lets that grow: to less than this,
# or so far that ten times the tolerance would pass hardly a file more (measured, see docs/reliability.md).
TOLERANCE = 1e-3
# Significant digits of what is compared: floats are rounded by a twentieth of the tolerance at most.
DIGITS = 5
IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "equal within tolerance", "different"


def compared_files(folder: Path) -> dict[str, Path]:
    """Return what is compared of a run in ``folder``, by its name there."""
    paths = sorted(path for root in ROOTS for path in (folder / root).rglob("*") if path.suffix in COMPARED)
    return {str(path.relative_to(folder)): path for path in paths}


def record(folder: Path) -> dict[str, dict[str, str]]:
    """Return of each file of a run in ``folder`` its hash and all of its values, compressed."""
    return {
        name: {"sha256": sha256(path), "values": _compressed(_contents(path))}
        for name, path in compared_files(folder).items()
    }


def compare(recorded: dict[str, dict[str, str]], folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield of each file its name, which of the three it is, and what is different."""
    files = compared_files(folder)
    for name in sorted(recorded.keys() | files.keys()):
        if name not in files or name not in recorded:
            yield name, DIFFERENT, "is not made" if name not in files else "is not in the record"
        elif recorded[name]["sha256"] == sha256(files[name]):
            yield name, IDENTICAL, ""
        else:
            difference = _difference(recorded[name]["values"], files[name])
            yield name, DIFFERENT if difference else WITHIN_TOLERANCE, difference


def _difference(compressed: str, path: Path) -> str:
    """Return where a file first differs from the record and by what; empty where it does within tolerance."""
    try:
        found = _contents(path)
    except (ValueError, pickle.UnpicklingError) as error:
        return f"cannot be read: {error}"
    recorded = json.loads(zlib.decompress(base64.b64decode(compressed)))
    if not recorded and not found:
        return "has other bytes, and no numbers to compare (a picture)"
    for name in sorted(recorded.keys() ^ found.keys()):
        return f"{name}: {'is missing' if name in recorded else 'is not in the record'}"
    for name, (kind, shape, expected) in recorded.items():
        if found[name][:2] != [kind, shape]:
            return f"{name}: {found[name][0]} of shape {found[name][1]} is not {kind} of shape {shape}"
        values = found[name][2]
        unequal = np.flatnonzero(~_equal(kind, expected, values))
        if unequal.size:
            place = "".join(f"[{i}]" for i in np.unravel_index(unequal[0], shape))
            others = f" (and {unequal.size - 1} more of {len(values)})" if unequal.size > 1 else ""
            return f"{name}{place}: {values[unequal[0]]} is not {expected[unequal[0]]}{others}"
    return ""


def _equal(kind: str, expected: list, values: list) -> np.ndarray:
    """Return of each value whether it is as expected."""
    if not kind.startswith("float"):
        return np.array([value == other for value, other in zip(values, expected, strict=True)], dtype=bool)
    expected = np.array(expected, dtype=np.float64)
    finite = expected[np.isfinite(expected)]
    scale = np.sqrt(np.mean(finite**2)) if finite.size else 0
    return np.isclose(values, expected, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)


def _compressed(contents: dict[str, list]) -> str:
    return base64.b64encode(zlib.compress(json.dumps(contents, separators=(",", ":")).encode(), level=9)).decode()


def _contents(path: Path) -> dict[str, list]:
    """Return of each array or column of a file its kind, its shape and its values; nothing of a picture."""
    if path.suffix == ".pkl":
        arrays = dict(_arrays(read_pickle(path), ""))
    elif path.suffix in (".parquet", ".csv"):
        table = read_table(path) if path.suffix == ".parquet" else pd.read_csv(path)
        arrays = {name: table[name].to_numpy() for name in table}
    else:
        arrays = {}
    return {name: _values(array) for name, array in arrays.items()}


def _arrays(content: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every array, number and text of a pickle with where it is."""
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _arrays(value, f"{name}.{key}".lstrip("."))
    elif isinstance(content, list | tuple) and content:
        for i, value in enumerate(content):
            yield from _arrays(value, f"{name}[{i}]")
    elif isinstance(content, dict | list | tuple | None):
        # What is empty is as much a value as a text is.
        yield name, np.asarray(repr(content))
    else:
        yield name, np.asarray(content)


def _values(array: np.ndarray) -> list:
    shape, values = list(array.shape), array.ravel().tolist()
    if array.dtype.kind == "f":
        return [array.dtype.name, shape, [float(f"{value:.{DIGITS}g}") for value in values]]
    if array.dtype.kind in "iub":
        return [array.dtype.name, shape, values]
    return ["text", shape, [str(value) for value in values]]
