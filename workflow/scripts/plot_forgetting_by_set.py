"""Accuracy on each earlier set against the iterations since it was left.

It is split by bands of rank.
"""

from memorization.figures.drawing import (
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, lines, ordered_colours, ranks_label
from memorization.figures.selection import by_model, first_condition, log_spaced, three_bands
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets")
# The number of measured points of each set in a panel.
POINTS = 10
start_log(snakemake.log[0])
models = by_model(read_table_of_group(snakemake.input.forgetting))
figure, axes = new_figure(rows=len(models), columns=3, width=2.7, height=2.2, sharex="row")
for (model, of_model), row in zip(models, axes, strict=True):
    of_model = first_condition(of_model)
    sets = sorted(of_model["sequence_set"].unique())
    bands = three_bands(of_model)
    for ax, (low, high) in zip(row, bands, strict=False):
        draw_chance(ax, "accuracy")
        ax.set_title(ranks_label(low, high))
        for sequence_set, colour in zip(sets, ordered_colours(len(sets)), strict=True):
            shown = (of_model["sequence_set"] == sequence_set) & (of_model["rank_low"] == low)
            # The moment of the switch has no place on a logarithmic axis.
            rows = log_spaced(of_model[shown & (of_model["iters_since_switch"] > 0)], POINTS)
            draw_ideal(ax, rows, rows["iters_since_switch"], "accuracy")
            # Points side by side keep their intervals apart.
            x = rows["iters_since_switch"] * 1.05**sequence_set
            style = {"color": colour, "linestyle": "-", "linewidth": 1, "label": f"set {sequence_set}"}
            draw_points(ax, x, rows, "accuracy", **style)
        log_axis(ax.xaxis)
        ax.set_ylim(0.2, 1.05)
        ax.set_xlabel("iterations since the set was left")
    for ax in row[len(bands) :]:
        ax.set_visible(False)
    row[0].set_ylabel(lines(model, AXIS_LABELS["accuracy"]))
legend_below(figure, axes)
save_figure(figure, snakemake)
