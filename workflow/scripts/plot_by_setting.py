"""Accuracy on a set that has just been trained on, against the swept setting."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    axis_of_values,
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    limit_to,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, BLACK, ORANGE, Look, setting_label
from memorization.figures.selection import condition_columns, just_trained
from memorization.figures.titles import title_of_figure
from memorization.sequences import HELD_OUT
from memorization.tables.registry import read_table_of_group

NEEDS = ("one swept number",)
SETS = {0: Look("trained on", BLACK, "o"), HELD_OUT: Look("held out", ORANGE, "s")}
table = read_table_of_group(snakemake.input.by_weights)
(setting,) = [column for column in condition_columns(table) if column != "model"]
table = just_trained(table).sort_values(setting)
table = table[table["sequence_set"].isin(SETS)]
figure, axes = new_figure(rows=1, columns=1, width=4.4, height=2.8)
ax = axes[0, 0]
draw_chance(ax, "accuracy")
trained = table[table["sequence_set"] == 0]
draw_ideal(ax, trained, trained[setting], "accuracy")
for sequence_set, look in SETS.items():
    rows = table[table["sequence_set"] == sequence_set]
    draw_points(ax, rows[setting], rows, "accuracy", **look.points, linestyle="-", label=look.label)
limit_to(ax, table)
axis_of_values(ax.xaxis, table[setting])
ax.set_xlabel(setting_label(setting))
ax.set_ylabel(AXIS_LABELS["accuracy"])
figure.suptitle(
    title_of_figure(snakemake, f"Accuracy on a set just after its training, by {setting_label(setting)}")
)
legend_below(figure, axes)
save_figure(figure, snakemake)
