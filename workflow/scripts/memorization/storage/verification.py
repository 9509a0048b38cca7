"""Comparing the files of a run of the workflow with a record.

The record has their hashes and summaries. A file with the recorded hash is identical. Otherwise its summary is
compared, entry by entry. An array of floats is summarised as ``[kind and shape, root mean square, weighted sum]``,
another array as its kind, its shape and a hash of its values; a scalar stands for itself. A csv has no summary if
it is the text of a parquet beside it.

A picture has no numbers. Its provenance says which tables it was drawn from, and by which code: with other bytes
it is as near to its record as these tables are to theirs.
"""

import hashlib
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .cache import csv_text, key_columns, read_pickle, read_table
from .provenance import read_provenance, sha256

ROOTS = ("cache_smoke", "results_smoke")
PICTURES = (".png", ".pdf")
COMPARED = (".pkl", ".parquet", ".csv", *PICTURES)
# A float may differ by this part of itself, the two numbers of an array by this part of the root mean square.
# Another processor rounds sums otherwise, by 1e-7 of them, and training lets that grow (docs/reliability.md).
TOLERANCE = 1e-3
# Significant digits of a recorded float: rounding moves it by a twentieth of the tolerance at most.
DIGITS = 5
IDENTICAL, WITHIN_TOLERANCE, DIFFERENT = "identical", "equal within tolerance", "different"
# The biases of queries, keys and values. That of the keys changes all scores of a query alike, so the attention
# does not depend on it. Its gradient is rounding alone, and Adam makes steps of the learning rate of that.
QUERIES_KEYS_VALUES = "c_attn.bias"
# A number in a text, such as the reason why a claim does not hold.
NUMBER = re.compile(r"-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)")


def compared_files(folder: Path) -> dict[str, Path]:
    """Return the files of a run in ``folder`` that are compared, by their name there."""
    paths = sorted(path for root in ROOTS for path in (folder / root).rglob("*") if path.suffix in COMPARED)
    return {str(path.relative_to(folder)): path for path in paths}


def record(folder: Path) -> dict[str, list]:
    """Return ``[hash, summary]`` of each file of a run in ``folder``."""
    return {name: [_file_hash(path), _summary_of_file(path)] for name, path in compared_files(folder).items()}


def compare(recorded: dict[str, list], folder: Path, made_by: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the name of each file, its answer (one of the three) and why.

    ``made_by`` are the machine (`provenance.machine`) and the ``libraries`` of the record. The reason is the
    difference, or the tables of a picture that is equal because they are.
    """
    files = compared_files(folder)
    answers: dict[str, tuple[str, str]] = {}
    # The tables come before the pictures that are drawn from them.
    for name in sorted(recorded.keys() | files.keys(), key=lambda name: (name.endswith(PICTURES), name)):
        if name not in files or name not in recorded:
            answers[name] = DIFFERENT, "is not made" if name not in files else "is not in the record"
        elif recorded[name][0] == _file_hash(files[name]):
            answers[name] = IDENTICAL, ""
        elif difference := _difference(recorded, name, folder):
            answers[name] = DIFFERENT, difference
        elif name.endswith(PICTURES):
            answers[name] = _answer_of_tables(read_provenance(files[name]), folder, made_by, answers)
        else:
            answers[name] = WITHIN_TOLERANCE, ""
    return sorted((name, *answer) for name, answer in answers.items())


def _answer_of_tables(
    provenance: dict[str, Any], folder: Path, made_by: dict[str, Any], answers: dict[str, tuple[str, str]]
) -> tuple[str, str]:
    """Return the answer for a picture with other bytes, and why.

    It follows from the answers for the tables that it is drawn from.
    """
    tables = provenance["inputs"]
    for name, used in tables.items():
        if name not in answers or not (folder / name).exists() or sha256(folder / name) != used:
            return DIFFERENT, f"is drawn from another {Path(name).name} than the one there"
    drawn_from = f"drawn from {', '.join(Path(name).name for name in tables)}"
    of_tables = {answers[name][0] for name in tables}
    if DIFFERENT in of_tables:
        return DIFFERENT, f"{drawn_from}: different"
    if of_tables == {IDENTICAL} and all(provenance.get(key) == made_by[key] for key in made_by):
        return DIFFERENT, f"{drawn_from}: identical, but it has other bytes on the same machine"
    return WITHIN_TOLERANCE, f"other bytes, {drawn_from}: {' or '.join(sorted(of_tables, reverse=True))}"


def _difference(recorded: dict[str, list], name: str, folder: Path) -> str:
    """Return the first entry in which a file differs from its record.

    Returns nothing if all entries are within tolerance.
    """
    try:
        if name.endswith(".csv") and (folder / name).with_suffix(".parquet").exists():
            table = f"{name.removesuffix('.csv')}.parquet"
            content = read_table(folder / table)
            if csv_text(content, key_columns(content)) != (folder / name).read_bytes():
                return f"is not the text of {Path(table).name}"
            name = table
        found = _summary_of_file(folder / name)
    except (OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        return f"cannot be read: {error}"
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
    """Return the summary of a file.

    It is empty for a csv that a parquet beside it stands for.
    """
    if path.suffix == ".pkl":
        return _summary(read_pickle(path))
    if path.suffix in PICTURES:
        provenance = read_provenance(path)
        parameters = json.dumps([provenance["rule"], provenance["params"]], sort_keys=True)
        return {
            "drawn_by": _hash([parameters]),
            "drawn_from": " ".join(Path(name).name for name in provenance["inputs"]),
        }
    if path.suffix == ".csv" and path.with_suffix(".parquet").exists():
        return {}
    table = pd.read_csv(path) if path.suffix == ".csv" else read_table(path)
    return {"rows": len(table)} | {name: _summary_of_array(table[name].to_numpy(), "") for name in table}


def _summary(content: Any, name: str = "") -> Any:
    """Return the summary of a pickle's content, which has the ``name`` in the pickle.

    A list of like parts is summarised as one part.
    """
    if isinstance(content, dict) and content:
        return {str(key): _summary(value, f"{name}.{key}") for key, value in content.items()}
    if isinstance(content, list | tuple) and content:
        if all(isinstance(part, dict) and part.keys() == content[0].keys() for part in content):
            return {str(key): _summary([part[key] for part in content], f"{name}.{key}") for key in content[0]}
        try:
            content = np.stack(content)
        except ValueError:  # of several shapes
            content = np.concatenate([np.ravel(part) for part in content])
    array = np.asarray(repr(content) if isinstance(content, dict | list | tuple | None) else content)
    if name.endswith(QUERIES_KEYS_VALUES):
        queries, _, values = np.split(array, 3, axis=-1)
        array = np.concatenate([queries, values], axis=-1)
    if array.ndim:
        return _summary_of_array(array, f"[{','.join(map(str, array.shape))}]")
    return _rounded(array) if array.dtype.kind == "f" else array.item()


def _summary_of_array(array: np.ndarray, shape: str) -> list | str:
    """Return the summary of an array.

    It is a list for an array of floats or of texts with such numbers in them, and a text for any other.
    """
    kind, values = f"{array.dtype.str[1:]}{shape}", array.ravel()
    if array.dtype.kind == "O" and (numbers := [*map(float, NUMBER.findall(" ".join(map(str, values))))]):
        kind += f" {_hash([NUMBER.sub('', str(text)) for text in values])}"
        values = np.array(numbers)
    elif array.dtype.kind != "f":
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
