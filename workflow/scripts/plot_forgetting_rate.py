"""How fast a set is forgotten at several learning rates and batch sizes.

Recall against learning rate · iterations, and the half-life in draws against the batch size.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    IDEAL,
    REFERENCE,
    THEORY,
    draw_chance,
    draw_points,
    legend_below,
    log_axis,
    log_axis_of,
    new_figure,
    note,
    save_figure,
)
from memorization.figures.labels import MARKERS, lines, number_labels, ordered_colours
from memorization.figures.selection import by_model, recall
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "sweeps of lr_after_switch and batch_size_after_switch")
# A logarithmic axis goes on by these factors beyond the batch sizes, and beyond the half-lives.
MARGIN, MARGIN_OF_HALF_LIVES = 1.3, 3
QUEUE, ITERATIONS = THEORY, THEORY | {"linestyle": (0, (4, 2))}
LR, BATCH = "lr_after_switch", "batch_size_after_switch"


def since_switch(of_model: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of the first set from just before the switch on.

    They end with the next switch; ``since`` is the number of iterations since the first.
    """
    rows = recall(of_model[(of_model["sequence_set"] == 0) & (of_model["current_set"] <= 1)])
    switch = rows.loc[rows["current_set"] == 0, "iter"].max()
    return rows[rows["iter"] >= switch].assign(since=rows["iter"] - switch)


def draw_curves(ax: Axes, of_model: pd.DataFrame, colours: dict, markers: dict) -> None:
    """Draw the recall of each condition against learning rate · iterations.

    A learning rate has a colour, a batch size a marker.
    """
    rows = since_switch(of_model)
    ax.axhline(2 * rows["ideal_accuracy_mean"].mean() - 1, **IDEAL)
    draw_chance(ax, "recall")
    for (lr, batch), curve in rows[rows["since"] > 0].groupby([LR, BATCH]):
        # The bands of many curves would hide each other; the half-lives below have intervals.
        style = {"color": colours[lr], "marker": markers[batch], "linewidth": 0.8}
        ax.plot(lr * curve["since"], curve["recall_mean"], **style)
    log_axis(ax.xaxis)
    ax.set_ylim(-0.06, 1.02)
    ax.set_xlabel(lines("learning rate · iterations", "since the switch"))


def always_forgotten(table: pd.DataFrame) -> pd.DataFrame:
    """Return the half-lives of the first set.

    A condition is left out if a seed never fell to half.
    """
    return table[(table["sequence_set"] == 0) & (table["reached_mean"] == 1)]


def draw_half_lives(ax: Axes, of_model: pd.DataFrame, colours: dict, markers: dict) -> None:
    """Draw the half-life in draws against the batch size, and two predictions.

    They are those of a queue and of a count of iterations.
    """
    rows = always_forgotten(of_model)
    sizes = np.array(sorted(of_model[BATCH].unique()))
    of_rates = list(rows.sort_values(BATCH).groupby(LR))
    for i, (lr, of_lr) in enumerate(of_rates):
        # Points side by side keep their intervals apart.
        beside = 1.1 ** (i - (len(of_rates) - 1) / 2)
        for batch, point in of_lr.groupby(BATCH):
            draw_points(ax, batch * beside, point, "half_life_draws", color=colours[lr], marker=markers[batch])
        if len(of_lr) > 1:
            # Both predictions go through this point, but for the queue of a model that has one.
            point = of_lr.iloc[(len(of_lr) - 1) // 2]
            queue = point["queue_half_life_draws_mean"]
            ax.axhline(point["half_life_draws_mean"] if np.isnan(queue) else queue, **QUEUE)
            ax.plot(sizes, point["half_life_iters_mean"] * sizes, **ITERATIONS | {"color": colours[lr]})
    if rows.empty:
        note(ax, "no recall fell to half\nin every seed")
    log_axis_of(ax.xaxis, sizes)
    ax.set_xlim(sizes[0] / MARGIN, sizes[-1] * MARGIN)
    ax.set_xlabel("batch size after the switch")


table = read_table_of_group(snakemake.input.by_epoch)
half_lives = read_table_of_group(snakemake.input.half_life)
rates, sizes = sorted(table[LR].unique()), sorted(table[BATCH].unique())
colours = dict(zip(rates, ordered_colours(len(rates)), strict=True))
markers = dict(zip(sizes, cycle(MARKERS)))
models = by_model(table)
figure, axes = new_figure(2, len(models), width=2.4, height=1.9, sharex=False)
for column, (model, curves) in zip(axes.T, models, strict=True):
    column[0].set_title(model)
    draw_curves(column[0], curves, colours, markers)
    draw_half_lives(column[1], half_lives[half_lives["model"].isin(curves["model"])], colours, markers)
shown = always_forgotten(half_lives)["half_life_draws_mean"]
if len(shown):
    log_axis(axes[1, 0].yaxis, (shown.min() / MARGIN_OF_HALF_LIVES, shown.max() * MARGIN_OF_HALF_LIVES))
axes[0, 0].set_ylabel("recall of the old set")
axes[1, 0].set_ylabel(lines("half-life of the old set", "(sequences drawn)"))
title = title_of_figure(snakemake, "How fast a set is forgotten at several learning rates and batch sizes")
figure.suptitle(title)
words = number_labels(rates)
of_batch = {"color": "0.4", "linestyle": ""}
legend_below(
    figure,
    axes,
    [
        *(Line2D([], [], color=colour, label=f"learning rate {words[lr]}") for lr, colour in colours.items()),
        *(Line2D([], [], **of_batch, marker=marker, label=f"batch {size}") for size, marker in markers.items()),
        Line2D([], [], **IDEAL, label="ideal observer"),
        Line2D([], [], **REFERENCE, label="chance"),
        Line2D([], [], **QUEUE, label="a queue: the same number of draws"),
        Line2D([], [], **ITERATIONS, label="the same number of iterations"),
    ],
)
save_figure(figure, snakemake)
