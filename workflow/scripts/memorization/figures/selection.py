"""The rows of a table that a figure shows: models, conditions, moments, ranks."""

from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd

from ..limits import MAX_CONDITIONS_OF_FIGURE, too_many_conditions
from ..tables.registry import KEYS
from .labels import (
    BLACK,
    CONDITION_COLOURS,
    LINESTYLES,
    MARKERS,
    SPARE_COLOURS,
    Look,
    condition_label,
    look_of_model,
    ordered_colours,
)

# The share of what follows the switch that is shown of the training before it.
LEAD = 0.1
# The weights whose attention is drawn.
MOMENTS_OF_ATTENTION = ("pre_switch_1", "final")


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


def conditions(table: pd.DataFrame) -> list[tuple[str, Look, pd.DataFrame]]:
    """Return the label, the look and the rows of each condition of a table.

    They come in the order of the table, and no two look the same. If the conditions differ in one number, their
    colours come from an ordered map. Otherwise a condition has the colour that one of its settings has in every
    figure, or else the next of the palette; beyond the palette the marker and the line change.

    Raises ValueError if they are too many for a figure.
    """
    columns = [column for column in condition_columns(table) if table[column].nunique(dropna=False) > 1]
    if not columns:
        return [("", Look("", BLACK, "o"), table)]
    groups = list(table.groupby(columns, sort=False, dropna=False))
    if len(groups) > MAX_CONDITIONS_OF_FIGURE:
        raise ValueError(too_many_conditions(len(groups)))
    told = [dict(zip(columns, values, strict=True)) for values, _ in groups]
    labels = [condition_label(condition, table) for condition in told]
    looks = [
        Look(label, colour, MARKERS[turn], LINESTYLES[turn])
        for label, (colour, turn) in zip(labels, _colours(told), strict=True)
    ]
    return list(zip(labels, looks, [rows for _, rows in groups], strict=True))


def _colours(told: list[dict[str, Any]]) -> list[tuple[Any, int]]:
    """Return the colour of each condition, and the place of its marker and line."""
    values = [value for condition in told for value in condition.values()]
    if len(values) == len(told) and all(
        isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values
    ):
        # Neighbours on a long scale differ little.
        turns = [i % len(MARKERS) if len(told) > len(MARKERS) else 0 for i in range(len(told))]
        return list(zip(ordered_colours(len(told)), turns, strict=True))
    looks: list[tuple[Any, int]] = []
    for condition in told:
        own = [CONDITION_COLOURS[pair] for pair in reversed(condition.items()) if pair in CONDITION_COLOURS]
        possible = ((colour, turn) for turn in range(len(MARKERS)) for colour in [*own, *SPARE_COLOURS])
        looks.append(next(look for look in possible if look not in looks))
    return looks


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


def attention_over_uniform(table: pd.DataFrame) -> pd.DataFrame:
    """Return the first layer of a table of attention, beside uniform attention.

    The column ``over_uniform`` is n · attention − 1 with n positions to attend to: 0 if attention is uniform, −1
    if there is none.
    """
    table = first_layer(table)
    return table.assign(over_uniform=table["attention_mean"] * table["predicted_position"] - 1)


def head_and_moments(of_condition: pd.DataFrame) -> list[tuple[int, str]]:
    """Return the heads and the weights of which a map is drawn.

    These are the mean over heads (−1) at the last moment, and one head at each moment: the head whose attention
    is furthest from uniform at the first of the moments.
    """
    moments = [weights for weights in MOMENTS_OF_ATTENTION if weights in set(of_condition["weights"])]
    single = of_condition[(of_condition["head"] >= 0) & (of_condition["weights"] == moments[0])]
    sharpest = single.groupby("head")["over_uniform"].std().nlargest(1).index
    return [(-1, moments[-1])] + [(head, weights) for head in sharpest for weights in moments]


def first_condition(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first condition of a table."""
    return same_condition(rows, rows)


def same_condition(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a table that have the condition of the first of ``rows``."""
    columns = condition_columns(table)
    first = rows[columns].iloc[0]
    return table[((table[columns] == first) | (table[columns].isna() & first.isna())).all(axis=1)]


def equally_frequent(rows: pd.DataFrame) -> bool:
    """Tell whether the sequences of a condition are equally frequent.

    Its swept settings alone are looked at.
    """
    first = rows.iloc[0]
    return first.get("sequence_sampling_distribution") == "uniform" or first.get("zipf_exponent") == 0


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


def just_trained_and_left(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first set, just trained and at the end, and of the last.

    The column ``moment`` has a key of `labels.MOMENTS`. Without a switch there is the first one alone.
    """
    first = just_trained(table)
    final = switched(table[table["weights"] == "final"])
    moments = {
        "just_trained": first[first["sequence_set"] == 0],
        "left": final[final["sequence_set"] == 0],
        "last": last_set(final),
    }
    return pd.concat([rows.assign(moment=moment) for moment, rows in moments.items()])


def switched(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the conditions that have a switch: they know a set 1."""
    return table[_of_condition(table["sequence_set"], table).transform("max") > 0]


def without_frozen_swaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the swaps of a part that was frozen.

    They are the final weights again.
    """
    if "freeze" not in table:
        return table
    frozen = table["freeze"].map(lambda part: {"both": ("swap_A", "swap_B")}.get(part, (f"swap_{part}",)))
    again = [weights in swaps for weights, swaps in zip(table["weights"], frozen, strict=True)]
    return table[~np.array(again, dtype=bool)]


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


def trained_now(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `by_epoch` of the set that is being trained on."""
    return rows[rows["sequence_set"] == rows["current_set"]]


def first_set_left(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `by_epoch` of the first set from the first switch on.

    The column ``since`` counts the iterations since then; 0 is the last test before it. There are none without a
    switch, or without tests of earlier sets.
    """
    first = rows[rows["sequence_set"] == 0]
    if not (first["current_set"] > 0).any():
        return first[:0].assign(since=0)
    switch = _of_condition(first["iter"].where(first["current_set"] == 0), first).transform("max")
    since = first["iter"] - switch
    left = _of_condition(first["current_set"], first).transform("max") > 0
    return first.assign(since=since)[(since >= 0) & left]


def shown_from(of_model: pd.DataFrame) -> float:
    """Return the iteration from which on the conditions of a model are shown.

    It is a little before the first switch if all are the same until then, and otherwise the beginning.
    """
    if not share_trunk([rows for _, _, rows in conditions(of_model)]):
        return 0
    switch = of_model.loc[of_model["current_set"] == 0, "iter"].max()
    return switch - LEAD * (of_model["iter"].max() - switch)


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
    """Return the first, the middle and the last of a list, or all of at most three."""
    return [shown[0], shown[len(shown) // 2], shown[-1]] if len(shown) > 3 else shown
