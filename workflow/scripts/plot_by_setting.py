"""Accuracy of a set that has just been trained on against the one setting that is swept."""

from memorization.figures.drawing import (
    AXIS_LABELS,
    BLACK,
    ORANGE,
    SETTING_LABELS,
    condition_columns,
    draw_chance,
    draw_points,
    just_trained,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("one swept number",)
start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.by_weights)
(setting,) = condition_columns(table, "weights")
table = just_trained(table)
figure, axes = new_figure(rows=1, columns=2, width=2.9, height=2.8, sharey=False)
for ax, metric in zip(axes[0], AXIS_LABELS, strict=True):
    draw_chance(ax, metric)
    for sequence_set, colour, label in ((0, BLACK, "trained on"), (-1, ORANGE, "held out")):
        rows = table[table["sequence_set"] == sequence_set]
        style = {"color": colour, "marker": "o", "markersize": 3.5, "capsize": 2, "label": label}
        draw_points(ax, rows[setting], rows, metric, **style)
    log_axis(ax.xaxis)
    ax.set_xlabel(SETTING_LABELS.get(setting, setting.replace("_", " ")))
    ax.set_ylabel(AXIS_LABELS[metric])
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
save_figure(figure, snakemake)
