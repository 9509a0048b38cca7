"""Accuracy against position and rank, of each model and of the ideal observer."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import pandas as pd

from memorization.figures.drawing import (
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, look_of_heads, look_of_model
from memorization.figures.selection import band_centre, condition_columns, just_trained
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

HEADS = ("initial_heads", "A_and_B_trainable")


def kinds(table: pd.DataFrame) -> list[tuple[dict, pd.DataFrame]]:
    """Return the look and the condition of each kind of model.

    The kinds are the transformers, and the DAM by its heads. Of several conditions of a kind, it is the one with
    the highest accuracy over all bits.
    """
    columns = condition_columns(table)
    varied = [key for key in HEADS if key in table]
    found = table.assign(**{key: "" for key in HEADS if key not in varied})
    shown = []
    for (model, *heads), rows in found.groupby(["model", *HEADS], sort=False, dropna=False):
        of_conditions = [of_one for _, of_one in rows.groupby(columns, sort=False, dropna=False)]
        best = max(of_conditions, key=lambda of_one: of_one["accuracy_mean"].mean())
        look = look_of_model(model)
        style = {"color": look.colour, "marker": look.marker, "label": look.label}
        if model == "dam" and varied:
            of_heads = look_of_heads(*heads)
            style = of_heads | {"label": f"DAM, {of_heads['label']}"}
        shown.append((style, best[columns].drop_duplicates()))
    return shown


def with_the_weights_of_the_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs whose initial weights have the seed of the run.

    All rows if there are none.
    """
    own = table[table["weights_seed"].isna()] if "weights_seed" in table else table
    return own if len(own) else table


tables = {
    "position": just_trained(with_the_weights_of_the_seed(read_table_of_group(snakemake.input.by_position))),
    "rank": just_trained(with_the_weights_of_the_seed(read_table_of_group(snakemake.input.by_rank))),
}
of_first_set = tables["position"]
shown = kinds(of_first_set[of_first_set["sequence_set"] == 0])
# There are two ideals against rank: the DAM's has the first bit in its mean.
ideal = "ideal observer (the lower: of the DAM)" if {"dam"} < {*of_first_set["model"]} else "ideal observer"
figure, axes = new_figure(rows=1, columns=2, width=3.2, height=2.4, sharex=False)
for ax, (axis, table) in zip(axes[0], tables.items(), strict=True):
    rows = table[table["sequence_set"] == 0]
    draw_chance(ax, "accuracy")
    for i, (style, condition) in enumerate(shown):
        of_kind = rows.merge(condition, on=list(condition.columns))
        x = of_kind["position"] if axis == "position" else band_centre(of_kind, "rank", offset=1)
        draw_ideal(ax, of_kind, x, "accuracy", ideal)
        # Points side by side keep their intervals apart.
        place = i - (len(shown) - 1) / 2
        beside = x + 0.14 * place if axis == "position" else x * 1.05**place
        draw_points(ax, beside, of_kind, "accuracy", linestyle="-", **style | {"linewidth": 0.6, "capsize": 0})
axes[0, 0].set_xlabel("revealed bits n")
axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
axes[0, 1].set_xlabel("rank + 1")
log_axis(axes[0, 1].xaxis)
axes[0, 0].set_ylabel(AXIS_LABELS["accuracy"])
# An interval that is far wider than the means are apart is cut off.
axes[0, 0].set_ylim(0.42, 1.02)
figure.suptitle(
    title_of_figure(snakemake, "Accuracy on the set just learned, beside the ideal observer"), fontsize=9
)
legend_below(figure, axes)
save_figure(figure, snakemake)
