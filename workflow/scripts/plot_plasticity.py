"""Accuracy on each set at the end of its training, against the number of the set."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from memorization.figures.drawing import (
    CHANCE,
    IDEAL,
    REFERENCE,
    draw_points,
    legend_below,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS
from memorization.figures.selection import by_model, conditions, last_set
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
METRICS = {"accuracy": AXIS_LABELS["accuracy"], "fraction_of_ideal": "fraction of ideal"}


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
figure, axes = new_figure(2, len(models), width=2.8, height=2.4)
for (model, of_model), column in zip(models, axes.T, strict=True):
    column[0].set_title(model)
    ideal = of_model.groupby("number")["ideal_accuracy_mean"].mean()
    column[0].plot(ideal.index, ideal, **IDEAL, label="ideal observer")
    column[1].axhline(1, **IDEAL)
    column[0].axhline(CHANCE["accuracy"], **REFERENCE, label="chance")
    column[1].axhline(0, **REFERENCE)
    shown = conditions(of_model)
    for ax, metric in zip(column, METRICS, strict=True):
        for i, (label, look, rows) in enumerate(shown):
            rows = rows.sort_values("number")
            # Points side by side keep their intervals apart.
            x = rows["number"] + 0.12 * (i - (len(shown) - 1) / 2)
            draw_points(ax, x, rows, metric, color=look.colour, linestyle="-", linewidth=1, label=label or None)
    column[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    column[1].set_xlabel("number of the set")
for metric, ax in zip(METRICS, axes[:, 0], strict=True):
    ax.set_ylabel(METRICS[metric])
figure.suptitle(
    "A curve that rises learns each new set better than the last; one that falls has lost plasticity.", fontsize=9
)
legend_below(figure, axes)
save_figure(figure, snakemake)
