"""Iterations on the set after the first switch until its accuracy reaches a threshold."""

from memorization.figures.drawing import by_model, conditions, draw_points, new_figure, save_figure
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.iterations_to_accuracy)
table = table[table["sequence_set"] == 1]
models = by_model(table)
figure, axes = new_figure(rows=1, columns=len(models), width=3.6, height=3.4, sharex=True, sharey=False)
for (model, of_model), ax in zip(models, axes[0], strict=True):
    ax.set_title(model)
    # A mean over those seeds alone that get there would make a slow condition look fast.
    reached = of_model[of_model["reached_mean"] == 1]
    for i, (label, colour, rows) in enumerate(conditions(reached, "sequence_set", of_model)):
        x = rows["threshold"] + 0.004 * (i - 2)
        draw_points(ax, x, rows, "iterations", color=colour, marker="o", markersize=3, label=label or None)
    ax.set_ylim(0, 1.15 * reached["iterations_mean"].max() if len(reached) else 1)
    ax.set_xlabel("accuracy reached")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.18))
axes[0, 0].set_ylabel("iterations since the switch")
save_figure(figure, snakemake)
