"""Accuracy against the length of the revealed prefix.

The set has just been trained on.
"""

from memorization.figures.drawing import draw_chance, draw_ideal, draw_mean, new_figure, save_figure
from memorization.figures.labels import AXIS_LABELS
from memorization.figures.selection import conditions, just_trained
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
# Just before the first switch, or the end of a run without one; the first set, and held-out sequences.
table = just_trained(read_table_of_group(snakemake.input.by_position))
figure, axes = new_figure(rows=1, columns=2, width=2.9, height=2.8)
for ax, sequence_set, title in zip(axes[0], (0, -1), ("trained on", "held out"), strict=True):
    draw_chance(ax, "accuracy")
    ax.set_title(title)
    for i, (label, colour, rows) in enumerate(conditions(table)):
        rows = rows[rows["sequence_set"] == sequence_set]
        draw_ideal(ax, rows, rows["position"], "accuracy", label=None if i else "ideal observer")
        draw_mean(ax, rows, "position", "accuracy", color=colour, label=label or None)
    ax.set_xlabel("revealed bits n")
axes[0, 0].set_ylabel(AXIS_LABELS["accuracy"])
if axes[0, 0].get_legend_handles_labels()[0]:
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
save_figure(figure, snakemake)
