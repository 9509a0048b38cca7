"""Accuracy against position and rank, of each model and of the ideal observer."""

import pandas as pd

from memorization.figures.drawing import (
    draw_chance,
    draw_ideal,
    draw_mean,
    draw_points,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, ORANGE, RED, look_of_heads, look_of_model
from memorization.figures.selection import band_centre, condition_columns, just_trained
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

# The blue of random heads is that of GPT.
HEAD_COLOURS = {"random": ORANGE, "one_bit": RED}
HEADS = {"initial_heads": "random", "A_and_B_trainable": True}


def kinds(table: pd.DataFrame) -> list[tuple[dict, pd.DataFrame]]:
    """Return the look and the condition of each kind of model.

    The kinds are the transformers, and the DAM by its heads. Of several conditions of a kind, it is the one with
    the highest accuracy over all bits.
    """
    columns = condition_columns(table)
    found = table.assign(**{key: value for key, value in HEADS.items() if key not in table})
    shown = []
    for (model, *heads), rows in found.groupby(["model", *HEADS], sort=False, dropna=False):
        of_conditions = [of_one for _, of_one in rows.groupby(columns, sort=False, dropna=False)]
        best = max(of_conditions, key=lambda of_one: of_one["accuracy_mean"].mean())
        look = look_of_model(model)
        style = {"color": look.colour, "marker": look.marker, "label": look.label}
        if model == "dam":
            of_heads = look_of_heads(*heads)
            style = of_heads | {"color": HEAD_COLOURS[heads[0]], "label": f"DAM, {of_heads['label']}"}
        shown.append((style, best[columns].drop_duplicates()))
    return shown


def with_the_weights_of_the_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the runs whose initial weights have the seed of the run.

    All rows if there are none.
    """
    own = table[table["weights_seed"].isna()] if "weights_seed" in table else table
    return own if len(own) else table


start_log(snakemake.log[0])
tables = {
    "position": just_trained(with_the_weights_of_the_seed(read_table_of_group(snakemake.input.by_position))),
    "rank": just_trained(with_the_weights_of_the_seed(read_table_of_group(snakemake.input.by_rank))),
}
of_first_set = tables["position"]
shown = kinds(of_first_set[of_first_set["sequence_set"] == 0])
figure, axes = new_figure(rows=1, columns=2, width=3.3, height=3, sharex=False)
for ax, (axis, table) in zip(axes[0], tables.items(), strict=True):
    rows = table[table["sequence_set"] == 0]
    draw_chance(ax, "accuracy")
    for i, (style, condition) in enumerate(shown):
        of_kind = rows.merge(condition, on=list(condition.columns))
        if axis == "position":
            draw_ideal(ax, of_kind, of_kind["position"], "accuracy", label=None if i else "ideal observer")
            draw_mean(ax, of_kind, "position", "accuracy", **style)
        else:
            # Points side by side keep their intervals apart. The DAM's ideal has the first bit in its mean.
            x = band_centre(of_kind, "rank", offset=1)
            draw_ideal(ax, of_kind, x, "accuracy")
            draw_points(ax, x * 1.05**i, of_kind, "accuracy", linestyle="-", **style)
axes[0, 0].set_xlabel("revealed bits n")
axes[0, 0].xaxis.get_major_locator().set_params(integer=True)
axes[0, 1].set_xlabel("rank + 1")
log_axis(axes[0, 1].xaxis)
axes[0, 0].set_ylabel(AXIS_LABELS["accuracy"])
figure.suptitle("How near does each model come to the ideal observer of the set just learned?", fontsize=9)
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
save_figure(figure, snakemake)
