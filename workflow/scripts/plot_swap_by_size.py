"""Accuracy with a part swapped back, against the number of parameters.

It is shown on the sets before and after the switch.
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
from memorization.figures.labels import AXIS_LABELS, lines, look_of_weights, set_label
from memorization.figures.selection import by_model, of_first_switch
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
SETS = (0, 1)
start_log(snakemake.log[0])
table = of_first_switch(read_table_of_group(snakemake.input.by_weights))
table = table[~table["weights"].str.startswith("new_memory")]
if "freeze" not in table:
    table = table.assign(freeze="none")
frozen = list(table["freeze"].unique())
models = by_model(table)
figure, axes = new_figure(
    rows=len(models) * len(SETS), columns=len(frozen), width=3, height=2.2, sharex=False, sharey=True
)
for i, (model, of_model) in enumerate(models):
    for j, sequence_set in enumerate(SETS):
        row = axes[len(SETS) * i + j]
        row[0].set_ylabel(lines(model, set_label(sequence_set), AXIS_LABELS["accuracy"]))
        for freeze, ax in zip(frozen, row, strict=True):
            draw_chance(ax, "accuracy")
            of_panel = of_model[(of_model["sequence_set"] == sequence_set) & (of_model["freeze"] == freeze)]
            draw_ideal(ax, of_panel, of_panel["num_parameters"], "accuracy")
            for weights, rows in of_panel.groupby("weights", sort=False):
                look = look_of_weights(weights)
                rows = rows.sort_values("num_parameters")
                style = {"color": look.colour, "marker": look.marker, "linestyle": "-", "label": look.label}
                draw_points(ax, rows["num_parameters"], rows, "accuracy", **style)
            log_axis(ax.xaxis)
for freeze, ax in zip(frozen, axes[0], strict=True):
    ax.set_title("everything trained" if freeze == "none" else f"{freeze} frozen after the switch")
for ax in axes[-1]:
    ax.set_xlabel("parameters")
legend_below(figure, axes)
save_figure(figure, snakemake)
