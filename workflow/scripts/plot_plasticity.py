"""Accuracy on each set at the end of its training, against the number of the set."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from memorization.figures.drawing import (
    condition_panels,
    draw_chance,
    draw_ideal,
    draw_points,
    label_lowest,
    legend_below,
    new_figure,
    save_figure,
)
from memorization.figures.labels import BLACK
from memorization.figures.selection import by_model, conditions, last_set
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
# More conditions of a model than this have panels of their own.
MOST_IN_A_PANEL = 8


def when_left(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each set under the weights at the end of its training.

    The column ``number`` counts the sets from 1 on.
    """
    switch = table["weights"].str.extract(r"^pre_switch_(\d+)$", expand=False).astype(float)
    # The weights of a DAM with a new set in its queue are evaluated on that set too, which it was not trained on.
    rows = pd.concat([table[switch == table["sequence_set"] + 1], last_set(table[table["weights"] == "final"])])
    return rows.assign(number=rows["sequence_set"] + 1)


def draw_condition(ax: Axes, rows: pd.DataFrame, beside: float = 0, **style: Any) -> None:
    """Draw the accuracy under one condition, ``beside`` the numbers of the sets."""
    rows = rows.sort_values("number")
    draw_points(ax, rows["number"] + beside, rows, "accuracy", **{"linestyle": "-", "linewidth": 0.8} | style)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))


table = when_left(read_table_of_group(snakemake.input.by_weights))
models = [(model, of_model, conditions(of_model)) for model, of_model in by_model(table)]
if max(len(shown) for _, _, shown in models) > MOST_IN_A_PANEL:
    figure, panels = condition_panels(table, width=1.6, height=1.1)
    for ax, rows in panels:
        draw_ideal(ax, rows, rows["number"], "accuracy")
        draw_condition(ax, rows, color=BLACK, label="measured")
    label_lowest(figure, "number of the set")
else:
    figure, axes = new_figure(1, len(models), width=2.4, height=2.4)
    for (model, of_model, shown), ax in zip(models, axes[0], strict=True):
        ax.set_title(model)
        draw_chance(ax, "accuracy")
        draw_ideal(ax, of_model, of_model["number"], "accuracy")
        for i, (label, look, rows) in enumerate(shown):
            # Points side by side keep their intervals apart.
            beside = 0.5 * (i - (len(shown) - 1) / 2) / len(shown)
            draw_condition(ax, rows, beside, **look.points, label=label or "measured")
        ax.set_xlabel("number of the set")
    axes[0, 0].set_ylabel("accuracy on the set\nat the end of its training")
figure.suptitle(title_of_figure(snakemake, "Accuracy on each set at the end of its training"))
legend_below(figure, figure.panels)
save_figure(figure, snakemake)
