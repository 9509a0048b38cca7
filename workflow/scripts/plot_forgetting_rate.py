"""Recall of the first set against learning rate · iterations; half-life in draws against the batch size."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    IDEAL,
    REFERENCE,
    THEORY,
    draw_chance,
    draw_mean,
    draw_points,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import MARKERS, lines, ordered_colours
from memorization.figures.selection import by_model, recall
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "sweeps of lr_after_switch and batch_size_after_switch")
LR, BATCH = "lr_after_switch", "batch_size_after_switch"


def since_switch(of_model: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of the first set from just before the first switch on, up to the next."""
    rows = recall(of_model[(of_model["sequence_set"] == 0) & (of_model["current_set"] <= 1)])
    switch = rows.loc[rows["current_set"] == 0, "iter"].max()
    return rows[rows["iter"] >= switch].assign(since=rows["iter"] - switch)


def looks(of_model: pd.DataFrame) -> tuple[dict, dict]:
    """Return the colour of each learning rate of a model, and the marker of each batch size."""
    rates, sizes = sorted(of_model[LR].unique()), sorted(of_model[BATCH].unique())
    return dict(zip(rates, ordered_colours(len(rates)), strict=True)), dict(zip(sizes, MARKERS, strict=False))


def draw_curves(ax: Axes, of_model: pd.DataFrame) -> None:
    """Draw the recall of each condition against learning rate · iterations since the switch."""
    rows = since_switch(of_model)
    colours, markers = looks(of_model)
    ax.axhline(2 * rows["ideal_accuracy_mean"].mean() - 1, **IDEAL)
    draw_chance(ax, "recall")
    for (lr, batch), curve in rows[rows["since"] > 0].groupby([LR, BATCH]):
        style = {"color": colours[lr], "marker": markers[batch], "linewidth": 0.8}
        draw_mean(ax, curve.assign(x=lr * curve["since"]), "x", "recall", **style)
    log_axis(ax.xaxis)
    ax.set_xlabel("learning rate · iterations since the switch")


def draw_half_lives(ax: Axes, of_model: pd.DataFrame) -> None:
    """Draw the half-life in draws against the batch size, and what a queue and a count of iterations predict.

    A condition is left out if a seed never fell to half.
    """
    rows = of_model[(of_model["sequence_set"] == 0) & (of_model["reached_mean"] == 1)]
    colours, markers = looks(of_model)
    sizes = np.array(sorted(of_model[BATCH].unique()))
    for lr, of_lr in rows.groupby(LR):
        of_lr = of_lr.sort_values(BATCH)
        if len(of_lr) > 2:
            ax.plot(of_lr[BATCH], of_lr["half_life_draws_mean"], color=colours[lr], linewidth=0.8)
            # The levels of the predictions: those of the queue's own capacity, or of the middle of the curve.
            middle = of_lr.iloc[(len(of_lr) - 1) // 2]
            queue = middle["queue_half_life_draws_mean"]
            level = middle["half_life_draws_mean"] if np.isnan(queue) else queue
            ax.axhline(level, **THEORY)
            ax.plot(sizes, middle["half_life_iters_mean"] * sizes, **THEORY | {"linestyle": (0, (4, 2))})
        for batch, of_batch in of_lr.groupby(BATCH):
            draw_points(ax, of_batch[BATCH], of_batch, "half_life_draws", color=colours[lr], marker=markers[batch])
    ax.set_yscale("log")
    log_axis(ax.xaxis)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.set_xlabel("batch size after the switch")


def legend_of(of_model: pd.DataFrame) -> list[Line2D]:
    """Return the entries of a model's legend: its learning rates and batch sizes."""
    colours, markers = looks(of_model)
    point = {"linestyle": "", "color": "0.4"}
    return [
        *(Line2D([], [], color=colour, label=f"learning rate {lr:g}") for lr, colour in colours.items()),
        *(Line2D([], [], marker=marker, label=f"batch {batch}", **point) for batch, marker in markers.items()),
    ]


start_log(snakemake.log[0])
curves = by_model(read_table_of_group(snakemake.input.by_epoch))
half_lives = by_model(read_table_of_group(snakemake.input.half_life))
figure, axes = new_figure(2, len(curves), width=2.8, height=2.9, sharex=False)
for column, (model, curves_of_model), (_, half_lives_of_model) in zip(axes.T, curves, half_lives, strict=True):
    column[0].set_title(model)
    draw_curves(column[0], curves_of_model)
    draw_half_lives(column[1], half_lives_of_model)
    column[1].legend(handles=legend_of(curves_of_model), loc="upper left", bbox_to_anchor=(0, -0.25))
axes[0, 0].set_ylabel("recall of the old set")
axes[1, 0].set_ylabel(lines("half-life of the old set", "(sequences drawn)"))
figure.suptitle(
    "If learning rate · iterations decides, the curves coincide and the half-life in draws grows with the batch;\n"
    "if a queue decides, the half-life in draws is the same for every batch size.",
    fontsize=9,
)
figure.legend(
    handles=[
        Line2D([], [], **IDEAL, label="ideal observer"),
        Line2D([], [], **REFERENCE, label="chance"),
        Line2D([], [], **THEORY, label="a queue: the same number of draws"),
        Line2D([], [], **THEORY | {"linestyle": (0, (4, 2))}, label="the same number of iterations"),
    ],
    loc="outside lower center",
    ncols=4,
)
save_figure(figure, snakemake)
