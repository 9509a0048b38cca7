"""How fast a set is forgotten at several learning rates and batch sizes.

Recall against learning rate · iterations, and the half-life in draws against the batch size.
"""

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
    save_figure,
)
from memorization.figures.labels import MARKERS, lines, ordered_colours
from memorization.figures.selection import by_model, recall
from memorization.figures.titles import title_of_figure
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "sweeps of lr_after_switch and batch_size_after_switch")
QUEUE, ITERATIONS = THEORY, THEORY | {"linestyle": (0, (4, 2))}
LR, BATCH = "lr_after_switch", "batch_size_after_switch"


def since_switch(of_model: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of the first set from just before the switch on.

    They end with the next switch; ``since`` is the number of iterations since the first.
    """
    rows = recall(of_model[(of_model["sequence_set"] == 0) & (of_model["current_set"] <= 1)])
    switch = rows.loc[rows["current_set"] == 0, "iter"].max()
    return rows[rows["iter"] >= switch].assign(since=rows["iter"] - switch)


def looks(of_model: pd.DataFrame) -> tuple[dict, dict]:
    """Return the colour of each learning rate, and the marker of each batch size."""
    rates, sizes = sorted(of_model[LR].unique()), sorted(of_model[BATCH].unique())
    return dict(zip(rates, ordered_colours(len(rates)), strict=True)), dict(zip(sizes, cycle(MARKERS)))


def draw_curves(ax: Axes, of_model: pd.DataFrame) -> None:
    """Draw the recall of each condition against learning rate · iterations."""
    rows = since_switch(of_model)
    colours, markers = looks(of_model)
    ax.axhline(2 * rows["ideal_accuracy_mean"].mean() - 1, **IDEAL)
    draw_chance(ax, "recall")
    for (lr, batch), curve in rows[rows["since"] > 0].groupby([LR, BATCH]):
        # The bands of many curves would hide each other; the half-lives below have intervals.
        style = {"color": colours[lr], "marker": markers[batch], "linewidth": 0.8}
        ax.plot(lr * curve["since"], curve["recall_mean"], **style)
    log_axis(ax.xaxis)
    ax.set_ylim(-0.06, 1.02)
    ax.set_xlabel("learning rate · iterations since the switch")


def draw_half_lives(ax: Axes, of_model: pd.DataFrame) -> None:
    """Draw the half-life in draws against the batch size, and two predictions.

    They are those of a queue and of a count of iterations. A condition is left out if a seed never fell to half.
    """
    rows = of_model[(of_model["sequence_set"] == 0) & (of_model["reached_mean"] == 1)]
    colours, _ = looks(of_model)
    sizes = np.array(sorted(of_model[BATCH].unique()))
    for i, (lr, of_lr) in enumerate(rows.sort_values(BATCH).groupby(LR)):
        # Points side by side keep their intervals apart.
        draw_points(
            ax, of_lr[BATCH] * 1.1 ** (i - (len(colours) - 1) / 2), of_lr, "half_life_draws", color=colours[lr]
        )
        if len(of_lr) > 1:
            # Both predictions go through this point, but for the queue of a model that has one.
            point = of_lr.iloc[(len(of_lr) - 1) // 2]
            queue = point["queue_half_life_draws_mean"]
            ax.axhline(point["half_life_draws_mean"] if np.isnan(queue) else queue, **QUEUE)
            ax.plot(sizes, point["half_life_iters_mean"] * sizes, **ITERATIONS | {"color": colours[lr]})
    ax.set_yscale("log")
    log_axis_of(ax.xaxis, sizes)
    ax.set_xlabel("batch size after the switch")


start_log(snakemake.log[0])
curves = by_model(read_table_of_group(snakemake.input.by_epoch))
half_lives = by_model(read_table_of_group(snakemake.input.half_life))
figure, axes = new_figure(2, len(curves), width=2.4, height=1.9, sharex=False)
sizes = {}
for column, (model, curves_of_model), (_, half_lives_of_model) in zip(axes.T, curves, half_lives, strict=True):
    column[0].set_title(model)
    draw_curves(column[0], curves_of_model)
    draw_half_lives(column[1], half_lives_of_model)
    rates, markers = looks(curves_of_model)
    sizes |= markers
    handles = [Line2D([], [], color=colour, marker=".", label=f"{lr:g}") for lr, colour in rates.items()]
    column[1].legend(handles=handles, title="learning rate", loc="upper left", bbox_to_anchor=(0, -0.28), ncols=3)
axes[0, 0].set_ylabel("recall of the old set")
axes[1, 0].set_ylabel(lines("half-life of the old set", "(sequences drawn)"))
title = title_of_figure(snakemake, "How fast a set is forgotten at several learning rates and batch sizes")
figure.suptitle(title)
legend_below(
    figure,
    axes,
    [
        *(
            Line2D([], [], color="0.4", linestyle="", marker=marker, label=f"batch {batch}")
            for batch, marker in sorted(sizes.items())
        ),
        Line2D([], [], **IDEAL, label="ideal observer"),
        Line2D([], [], **REFERENCE, label="chance"),
        Line2D([], [], **QUEUE, label="a queue: the same number of draws"),
        Line2D([], [], **ITERATIONS, label="the same number of iterations"),
    ],
)
save_figure(figure, snakemake)
