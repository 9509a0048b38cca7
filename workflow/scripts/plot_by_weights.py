"""Accuracy on the old set at the end, and with an earlier part put back.

The part is that of the weights before the switch. There is one panel for each model, and one row for each
condition.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    draw_across,
    draw_references_across,
    legend_below,
    row_panels,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, look_of_weights
from memorization.figures.selection import by_model, conditions, of_first_switch, switched, without_frozen_swaps
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
table = switched(without_frozen_swaps(of_first_switch(read_table_of_group(snakemake.input.by_weights))))
table = table[(table["sequence_set"] == 0) & ~table["weights"].str.startswith("new_memory")]
shown = [(model, conditions(of_model)) for model, of_model in by_model(table)]
figure, axes = row_panels(shown, width=4.6, lines_per_row=3)
for ax, (_, of_model) in zip(axes, shown, strict=True):
    for y, (_, _, rows) in enumerate(of_model):
        draw_references_across(ax, y, rows, "accuracy")
        kinds = rows["weights"].unique()
        for i, weights in enumerate(kinds):
            look = look_of_weights(weights)
            place = y + 0.22 * (i - (len(kinds) - 1) / 2)
            draw_across(ax, place, rows[rows["weights"] == weights], "accuracy", **look.points, label=look.label)
axes[-1].set_xlabel(f"{AXIS_LABELS['accuracy']} on the set before the switch")
figure.suptitle(title_of_figure(snakemake, "Accuracy on the old set, with a part of the old weights put back"))
legend_below(figure, axes)
save_figure(figure, snakemake)
