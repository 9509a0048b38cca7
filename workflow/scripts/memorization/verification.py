"""Comparing the files of two runs of the workflow: their bytes, and where these differ their numbers."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .cache import read_pickle, read_table
from .provenance import sha256

COMPARED = (".pkl", ".parquet", ".csv", ".png", ".pdf")
# Of what is summed up of the numbers of a file, see `summary`. Another processor rounds otherwise, and training
# lets differences grow.
RELATIVE_TOLERANCE = 1e-2
ABSOLUTE_TOLERANCE = 1e-3
IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "equal within tolerance", "different"


def record(folder: Path, roots: list[str]) -> dict[str, dict[str, Any]]:
    """Return of each compared file under ``roots`` in ``folder`` its hash and the summary of its numbers."""
    paths = sorted(path for root in roots for path in (folder / root).rglob("*") if path.suffix in COMPARED)
    return {str(path.relative_to(folder)): {"sha256": sha256(path), "numbers": summary(path)} for path in paths}


def compare(recorded: dict[str, dict], found: dict[str, dict]) -> Iterator[tuple[str, str, str]]:
    """Yield of each file its name, which of the three it is, and what is different."""
    for name in sorted(recorded.keys() | found.keys()):
        if name not in found or name not in recorded:
            yield name, DIFFERENT, "is not made" if name not in found else "is not in the record"
        elif recorded[name]["sha256"] == found[name]["sha256"]:
            yield name, IDENTICAL, ""
        else:
            yield name, *_compare_numbers(recorded[name]["numbers"], found[name]["numbers"])


def _compare_numbers(recorded: dict[str, list], found: dict[str, list]) -> tuple[str, str]:
    """Return whether two summaries are equal within tolerance, and the first of what is not."""
    if not recorded:
        return DIFFERENT, "has other bytes, and no numbers to compare (a picture)"
    if recorded.keys() != found.keys():
        return DIFFERENT, f"has other contents: {sorted(recorded.keys() ^ found.keys())[0]}"
    for part, numbers in recorded.items():
        for expected, number in zip(numbers, found[part], strict=True):
            if not _close(expected, number):
                return DIFFERENT, f"{part}: {number} is not {expected}"
    return WITHIN_TOLERANCE, ""


def _close(expected: float | None, number: float | None) -> bool:
    if expected is None or number is None:
        return expected is number
    return math.isclose(number, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)


def summary(path: Path) -> dict[str, list[float | None]]:
    """Return of each array or column of a file: how many numbers, their mean, and their root mean square.

    A number that is none is left out of the means; empty for pictures, and None where there is no number.
    """
    if path.suffix == ".parquet":
        table = read_table(path)
        parts = {name: table[name].to_numpy() for name in table if table[name].dtype.kind in "biuf"}
    elif path.suffix == ".pkl":
        parts = dict(_arrays(read_pickle(path), ""))
    else:
        return {}
    return {name: _numbers(np.asarray(values, dtype=np.float64)) for name, values in parts.items()}


def _numbers(values: np.ndarray) -> list[float | None]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return [values.size, None, None]
    return [values.size, *(float(f"{x:.6g}") for x in (finite.mean(), math.sqrt((finite**2).mean())))]


def _arrays(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every array of a pickle with where it is; the numbers of a list's entries stand together."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _arrays(value, f"{name}.{key}".lstrip("."))
    elif isinstance(content, list) and content and isinstance(content[0], dict):
        # The logs: the same keys in each entry.
        for key in content[0]:
            parts = [np.ravel(leaf) for entry in content for _, leaf in _arrays(entry.get(key), "")]
            if parts:
                yield f"{name}[].{key}", np.concatenate(parts)
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from _arrays(value, f"{name}[{i}]")
    elif isinstance(content, int | float | np.number) or hasattr(content, "shape"):
        yield name, np.asarray(content)
