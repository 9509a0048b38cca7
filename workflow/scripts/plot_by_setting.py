"""Accuracy and loss against the one setting that is swept.

They are those of a set that has just been trained on.
"""

from memorization.figures.drawing import draw_chance, draw_ideal, draw_points, log_axis, new_figure, save_figure
from memorization.figures.labels import AXIS_LABELS, BLACK, ORANGE, setting_label
from memorization.figures.selection import condition_columns, just_trained
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("one swept number",)
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.by_weights)
(setting,) = [column for column in condition_columns(table) if column != "model"]
table = just_trained(table)
figure, axes = new_figure(rows=1, columns=2, width=2.9, height=2.8, sharey=False)
for ax, metric in zip(axes[0], AXIS_LABELS, strict=True):
    draw_chance(ax, metric)
    of_set = table[table["sequence_set"] == 0]
    draw_ideal(ax, of_set, of_set[setting], metric)
    for sequence_set, colour, label in ((0, BLACK, "trained on"), (-1, ORANGE, "held out")):
        rows = table[table["sequence_set"] == sequence_set]
        draw_points(ax, rows[setting], rows, metric, color=colour, linestyle="-", label=label)
    log_axis(ax.xaxis)
    ax.set_xlabel(setting_label(setting))
    ax.set_ylabel(AXIS_LABELS[metric])
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
save_figure(figure, snakemake)
