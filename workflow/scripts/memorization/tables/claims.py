"""Whether claims hold on the tables of an experiment, and with which numbers."""

from typing import Any

import numpy as np
import pandas as pd

from ..number_texts import exact_text
from ..storage.cache import key_columns
from .registry import numbers_of_table

COLUMNS = ("id", "rows", "number", "value", "low", "high", "seeds", "holds", "reason")


def check_claims(claims: dict[str, dict[str, Any]], tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the numbers of claims, and whether they hold.

    Args:
        claims: of each claim by its name ``table``, ``rows`` (a list of values for each column), ``holds`` (an
            expression that `configuration.claims` has checked), ``columns``, the columns in it, and ``numbers``,
            the names of its numbers.
        tables: the tables by their names.

    There is a row for each claim, each row of its table that it selects (``rows`` says which) and each of its
    numbers, with the bounds of its interval (NaN for a number without one). ``holds`` tells whether the claim
    holds for the row of its table, and ``reason`` why not. A claim that selects nothing has one row, and does not
    hold.
    """
    lines = [line for name, claim in claims.items() for line in _check(name, claim, tables[claim["table"]])]
    floats = dict.fromkeys(("value", "low", "high"), float)
    return pd.DataFrame(lines, columns=list(COLUMNS)).astype(floats | {"seeds": "int64", "holds": bool})


def _check(name: str, claim: dict[str, Any], table: pd.DataFrame) -> list[dict[str, Any]]:
    selected = table
    for column, values in claim["rows"].items():
        wanted = [any(_same(value, one) for one in values) for value in selected[column]]
        selected = selected[np.array(wanted, dtype=bool)]
    if selected.empty:
        wanted = ", ".join(f"{column} {_listed(values)}" for column, values in claim["rows"].items())
        line = dict.fromkeys(COLUMNS, np.nan) | {"id": name, "rows": "", "number": claim["numbers"][0], "seeds": 0}
        return [line | {"holds": False, "reason": f"{claim['table']} has no row with {wanted}"}]
    numbers, lines = numbers_of_table(claim["table"]), []
    keys = key_columns(table)
    different = [key for key in keys if selected[key].nunique(dropna=False) > 1]
    for _, row in selected.iterrows():
        reason = _reason_against(claim["holds"], claim["columns"], row, keys)
        told = ", ".join(f"{key} {_exact(row[key])}" for key in different)
        of_row = {"id": name, "rows": told, "seeds": row["num_seeds"], "holds": not reason, "reason": reason}
        for number in claim["numbers"]:
            values = pd.to_numeric(row[list(numbers[number])], errors="coerce")
            value, low, high = (*values, np.nan, np.nan)[:3]
            lines.append(of_row | {"number": number, "value": value, "low": low, "high": high})
    return lines


def _same(value: Any, wanted: Any) -> bool:
    """Tell whether a value of a table is the wanted one.

    A truth value is no number, and None is NaN.
    """
    if wanted is None:
        return bool(pd.isna(value))
    return bool(value == wanted) and isinstance(value, bool | np.bool_) == isinstance(wanted, bool)


def _reason_against(expression: str, columns: list[str], row: pd.Series, keys: list[str]) -> str:
    """Return why an expression is not true of a row; nothing if it is true."""
    words = {column: (_exact if column in keys else _told)(row[column]) for column in columns}
    told = ", ".join(f"{column} is {word}" for column, word in words.items())
    numbers = pd.to_numeric(row[columns], errors="coerce").astype(float)
    if numbers.isna().any():
        return f"{expression} cannot be told: {told}"
    (true,) = numbers.to_frame().T.eval(expression, engine="python")
    return "" if true else f"{expression} is false: {told}"


def _listed(values: list[Any]) -> str:
    return " or ".join(map(_exact, values))


def _exact(value: Any) -> str:
    """Return the value of a key, which tells it from every other."""
    return exact_text(value) if isinstance(value, float) else str(value)


def _told(value: Any) -> str:
    """Return a measured value, with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
