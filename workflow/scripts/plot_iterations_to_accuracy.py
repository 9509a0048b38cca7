"""Iterations until the accuracy on a set reaches a threshold.

The set is the one after the first switch.
"""

from memorization.figures.drawing import draw_points, legend_beneath, new_figure, save_figure
from memorization.figures.selection import by_model, conditions
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.iterations_to_accuracy)
models = by_model(table[table["sequence_set"] == 1])
figure, axes = new_figure(rows=1, columns=len(models), width=3.6, height=3.4, sharex=True, sharey=False)
for (model, of_model), ax in zip(models, axes[0], strict=True):
    ax.set_title(model)
    highest = 0
    for i, (label, look, rows) in enumerate(conditions(of_model)):
        # A mean over only those seeds that reach the threshold would make a slow condition look fast.
        rows = rows[rows["reached_mean"] == 1]
        if len(rows):
            x = rows["threshold"] + 0.004 * (i - 2)
            draw_points(ax, x, rows, "iterations", color=look.colour, linestyle="-", label=label or None)
            highest = max(highest, rows["iterations_mean"].max())
    ax.set_ylim(0, 1.15 * highest or 1)
    ax.set_xlabel("accuracy reached")
    legend_beneath(ax, 0.18)
axes[0, 0].set_ylabel("iterations since the switch")
save_figure(figure, snakemake)
