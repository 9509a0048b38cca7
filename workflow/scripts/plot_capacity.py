"""Bits memorised against the number of parameters, and on the way there."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import (
    IDEAL,
    REFERENCE,
    THEORY,
    draw_mean,
    draw_points,
    legend_below,
    log_axis,
    log_axis_of,
    new_figure,
    note,
    save_figure,
)
from memorization.figures.labels import look_of_model, ordered_colours
from memorization.figures.selection import condition_columns, last_set
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a sweep of K",)
# What others found for larger models, in bits per parameter; see the caption.
PUBLISHED = {
    "3.83 bits per parameter (Morris et al.)": (3.83, "-"),
    "2 bits per parameter (Allen-Zhu and Li)": (2, "-."),
}


def draw_sizes(ax: Axes, table: pd.DataFrame, colours: dict[int, str]) -> None:
    """Draw the bits memorised of each set by parameters, below what the set holds."""
    parameters = np.array([table["num_parameters"].min() / 1.5, table["num_parameters"].max() * 1.5])
    for label, (bits, linestyle) in PUBLISHED.items():
        ax.plot(parameters, bits * parameters, **THEORY | {"linestyle": linestyle}, label=label)
    for i, (K, of_set) in enumerate(table.groupby("K")):
        ax.axhline(of_set["ideal_bits_mean"].mean(), **IDEAL | {"color": colours[K]})
        for model, rows in of_set.groupby("model", sort=False):
            # Points side by side keep their intervals apart.
            x = rows["num_parameters"] * 1.05 ** (i - (len(colours) - 1) / 2)
            draw_points(ax, x, rows, "bits", color=colours[K], marker=look_of_model(model).marker)
    for bits in (table["queue_capacity"] * table["sequence_length"])[table["queue_capacity"] > 0].unique():
        ax.axhline(bits, **REFERENCE, label="the DAM's queue, M · N bits")
    log_axis_of(ax.xaxis, table["num_parameters"])
    log_axis(ax.yaxis, (max(table["bits_mean"].min(), 1) / 2, table["ideal_bits_mean"].max() * 2))
    ax.set(xlim=parameters, xlabel="parameters", ylabel="bits memorised")


def draw_training(ax: Axes, curves: pd.DataFrame, colours: dict[int, str]) -> None:
    """Draw the bits against the iterations, and say how much the last quarter adds."""
    for (K, parameters), rows in curves.groupby(["K", "num_parameters"]):
        draw_mean(ax, rows, "iter", "bits", color=colours[K], linewidth=1)
        if curves.loc[curves["num_parameters"] == parameters, "K"].max() == K:
            end = rows.iloc[-1]
            ax.annotate(f" {parameters}", (end["iter"], end["bits_mean"]), va="center", fontsize=7)
    if len(curves):
        added = curves.loc[curves["iter"] == curves["iter"].max(), "last_quarter_mean"].max()
        ax.set_title(f"the last quarter adds at most {100 * added:.1f} %")
    else:
        note(ax, "a queue has no training")
    ax.set(xlabel="iterations", ylabel="bits memorised", ylim=(0, None))


table = last_set(read_table_of_group(snakemake.input.capacity))
curves = read_table_of_group(snakemake.input.capacity_by_epoch)
of_last_set = [*condition_columns(table), "sequence_set"]
curves = curves.merge(table.loc[table["queue_capacity"] == 0, [*of_last_set, "num_parameters"]], on=of_last_set)
sizes = sorted(table["K"].unique())
colours = dict(zip(sizes, ordered_colours(len(sizes)), strict=True))
figure, axes = new_figure(rows=1, columns=2, width=3.2, height=3, sharex=False, sharey=False)
draw_sizes(axes[0, 0], table, colours)
draw_training(axes[0, 1], curves, colours)
for K, colour in colours.items():
    axes[0, 0].plot([], [], color=colour, label=f"K = {K}")
axes[0, 0].plot([], [], **IDEAL, label="all that the set holds (ideal observer)")
if table["model"].nunique() > 1:
    for model in table["model"].unique():
        look = look_of_model(model)
        axes[0, 0].plot([], [], color="0.4", linestyle="", marker=look.marker, label=look.label)
title = "Bits memorised by models of several sizes, of sets of several sizes"
figure.suptitle(title_of_figure(snakemake, title))
legend_below(figure, axes)
save_figure(figure, snakemake)
