"""The rows of a table that a figure shows: models, conditions, moments, ranks."""

from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd

from ..tables.registry import KEYS
from .labels import BLACK, CONDITION_COLOURS, SPARE_COLOURS, condition_label, look_of_model, ordered_colours

# The weights whose attention is drawn.
MOMENTS_OF_ATTENTION = ("pre_switch_1", "final", "swap_attention")


def condition_columns(table: pd.DataFrame) -> list[str]:
    """Return the settings that tell the conditions of a table apart.

    They are the columns before the table's first key.
    """
    return list(takewhile(lambda column: column not in KEYS, table.columns))


def by_model(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the label and the rows of each model of a table.

    A single model has no label.
    """
    if table["model"].nunique() <= 1:
        return [("", table)]
    return [(look_of_model(model).label, rows) for model, rows in table.groupby("model", sort=False)]


def conditions(table: pd.DataFrame) -> list[tuple[str, Any, pd.DataFrame]]:
    """Return the label, the colour and the rows of each condition of a table.

    They come in the order of the table. If the conditions differ in one number, their colours come from an ordered
    map. Otherwise a condition has the colour that one of its settings has in every figure, or else the next of the
    palette.
    """
    columns = [column for column in condition_columns(table) if table[column].nunique(dropna=False) > 1]
    if not columns:
        return [("", BLACK, table)]
    groups = list(table.groupby(columns, sort=False, dropna=False))
    told = [dict(zip(columns, values, strict=True)) for values, _ in groups]
    labels = [condition_label(condition, table) for condition in told]
    return list(zip(labels, _colours(told), [rows for _, rows in groups], strict=True))


def _colours(told: list[dict[str, Any]]) -> list[Any]:
    """Return the colour of each condition."""
    values = [value for condition in told for value in condition.values()]
    if len(values) == len(told) and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values
    ):
        return ordered_colours(len(told))
    colours: list[str] = []
    for condition in told:
        own = [CONDITION_COLOURS[pair] for pair in reversed(condition.items()) if pair in CONDITION_COLOURS]
        colours.append(next((c for c in [*own, *SPARE_COLOURS] if c not in colours), BLACK))
    return colours


def with_attention(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of attention as it is, if it has any rows.

    Raises ValueError if there are none: no model of the experiment has attention.
    """
    if table.empty:
        raise ValueError("no model of the experiment has attention: leave this figure out of it")
    return table


def first_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first layer in a table of attention.

    Raises ValueError if no model of the experiment has attention.
    """
    table = with_attention(table)
    return table[table["layer"] == 0]


def first_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first condition of a table."""
    columns = condition_columns(rows)
    first = rows[columns].iloc[0]
    return rows[((rows[columns] == first) | (rows[columns].isna() & first.isna())).all(axis=1)]


def just_trained(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the weights just before the first switch.

    If a condition has no switch, they are those at the end.
    """
    before = table["weights"] == "pre_switch_1"
    switched = _of_condition(before, table).transform("any")
    return table[before | (~switched & (table["weights"] == "final"))]


def last_set(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the final weights on the last set of each condition.

    That is the set that the condition was trained on last.
    """
    # The set in the memory of other weights can have a higher number.
    final = table[table["weights"] == "final"]
    last = _of_condition(final["sequence_set"], final).transform("max")
    return final[final["sequence_set"] == last]


def before_and_after(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first two sets before the switch and at the end.

    The switch is the first one; the first moment is just before it.
    """
    moments = table["weights"].isin(["pre_switch_1", "final"])
    return table[moments & table["sequence_set"].isin([0, 1])]


def new_set_in_memory(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the final weights on the new set in their memory.

    No training has seen this set. It has the highest number of a set.
    """
    rows = table[table["weights"] == "new_memory_final"]
    return rows[rows["sequence_set"] == _of_condition(rows["sequence_set"], rows).transform("max")]


def of_first_switch(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without the weights just before later switches.

    Swaps put back the part as it was before the first switch.
    """
    later = table["weights"].str.startswith("pre_switch_") & (table["weights"] != "pre_switch_1")
    return table[~later]


def _of_condition(column: pd.Series, table: pd.DataFrame) -> Any:
    """Return a column grouped by the conditions of its table."""
    return column.groupby([table[key] for key in condition_columns(table)], dropna=False)


def share_trunk(conditions_rows: list[pd.DataFrame]) -> bool:
    """Tell whether conditions are the same until they leave the first set.

    They are compared epoch by epoch.
    """
    first, *others = [rows[rows["current_set"] == 0] for rows in conditions_rows]
    if not others or first["iter"].max() == conditions_rows[0]["iter"].max():
        return False
    columns = ["iter", "accuracy_mean", "loss_mean"]
    return all(np.array_equal(first[columns], other[columns]) for other in others)


def recall(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``rows`` with the column ``recall``.

    It is the accuracy rescaled from [0.5, 1] to [0, 1].
    """
    columns = {f"recall_{bound}": 2 * rows[f"accuracy_{bound}"] - 1 for bound in ("mean", "low", "high")}
    return rows.assign(**columns)


def band_centre(rows: pd.DataFrame, name: str, offset: int) -> pd.Series:
    """Return the geometric centre of each band of ``name``, for a log axis.

    Values are counted from ``offset``.
    """
    return ((rows[f"{name}_low"] + offset) * (rows[f"{name}_high"] + offset)) ** 0.5


def band_means(of_ranks: pd.DataFrame, bands: pd.DataFrame, column: str) -> list[float]:
    """Return the mean of a column over the sequences of each band of rank.

    ``of_ranks`` has a row for each ``sequence_rank``, ``bands`` one for each ``rank_low`` to ``rank_high``.
    """
    values = of_ranks.set_index("sequence_rank")[column].sort_index()
    return [values.loc[low:high].mean() for low, high in zip(bands["rank_low"], bands["rank_high"], strict=True)]


def few(shown: list[Any]) -> list[Any]:
    """Return the first, the middle and the last of a list, or all of it if there are no more than three."""
    return [shown[0], shown[len(shown) // 2], shown[-1]] if len(shown) > 3 else shown
