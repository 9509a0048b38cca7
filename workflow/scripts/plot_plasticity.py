"""Accuracy on each set at the end of its training, against the number of the set."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from memorization.figures.drawing import (
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    new_figure,
    save_figure,
)
from memorization.figures.selection import by_model, conditions, last_set
from memorization.figures.titles import title_of_figure
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)


def when_left(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each set under the weights at the end of its training.

    The column ``number`` counts the sets from 1 on.
    """
    switch = table["weights"].str.extract(r"^pre_switch_(\d+)$", expand=False).astype(float)
    # The weights of a DAM with a new set in its queue are evaluated on that set too, which it was not trained on.
    rows = pd.concat([table[switch == table["sequence_set"] + 1], last_set(table[table["weights"] == "final"])])
    return rows.assign(number=rows["sequence_set"] + 1)


start_log(snakemake.log[0])
models = by_model(when_left(read_table_of_group(snakemake.input.by_weights)))
figure, axes = new_figure(1, len(models), width=2.4, height=2.4)
for (model, of_model), ax in zip(models, axes[0], strict=True):
    ax.set_title(model)
    draw_chance(ax, "accuracy")
    draw_ideal(ax, of_model, of_model["number"], "accuracy")
    shown = conditions(of_model)
    for i, (label, look, rows) in enumerate(shown):
        rows = rows.sort_values("number")
        # Points side by side keep their intervals apart.
        x = rows["number"] + 0.5 * (i - (len(shown) - 1) / 2) / len(shown)
        style = look.points | {"linestyle": "-", "linewidth": 0.8, "label": label or "measured"}
        draw_points(ax, x, rows, "accuracy", **style)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True))
    ax.set_xlabel("number of the set")
axes[0, 0].set_ylabel("accuracy on the set\nat the end of its training")
figure.suptitle(title_of_figure(snakemake, "How well each new set is learned"))
legend_below(figure, axes)
save_figure(figure, snakemake)
