"""Accuracy on the old set, with old weights of a part put back, by parameters.

There is a row of panels for each model, and a column for each part that is frozen.
"""

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
    title_panel,
)
from memorization.figures.labels import condition_label, lines, look_of_weights
from memorization.figures.selection import by_model, of_first_switch, switched, without_frozen_swaps
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
table = switched(without_frozen_swaps(of_first_switch(read_table_of_group(snakemake.input.by_weights))))
table = table[(table["sequence_set"] == 0) & ~table["weights"].str.startswith("new_memory")]
if "freeze" not in table:
    table = table.assign(freeze="none")
frozen = list(table["freeze"].unique())
models = by_model(table)
figure, axes = new_figure(rows=len(models), columns=len(frozen), width=2.8, height=2.2, sharex="row", sharey="row")
for (model, of_model), row in zip(models, axes, strict=True):
    row[0].set_ylabel(lines(model, "accuracy on the old set"))
    for freeze, ax in zip(frozen, row, strict=True):
        title_panel(ax, condition_label({"freeze": freeze}, table))
        of_panel = of_model[of_model["freeze"] == freeze].sort_values("num_parameters")
        if of_panel.empty:
            ax.set_visible(False)
            continue
        draw_chance(ax, "accuracy")
        draw_ideal(ax, of_panel, of_panel["num_parameters"], "accuracy")
        for i, (weights, rows) in enumerate(of_panel.groupby("weights", sort=False)):
            look = look_of_weights(weights)
            # Points side by side keep their intervals apart.
            x = rows["num_parameters"] * 1.1 ** (i - 1.5)
            draw_points(ax, x, rows, "accuracy", **look.points, linestyle="-", label=look.label)
        axis_of_values(ax.xaxis, of_model["num_parameters"])
        ax.set_xlabel("parameters")
    limit_to(row[0], of_model)
figure.suptitle(title_of_figure(snakemake, "Accuracy on the old set with an old part put back, by size"))
legend_below(figure, axes)
save_figure(figure, snakemake)
