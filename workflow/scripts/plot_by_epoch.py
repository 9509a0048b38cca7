"""Accuracy and loss on the current and the earlier sets against iterations, across the switches."""

from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    AXIS_LABELS,
    by_model,
    conditions,
    draw_chance,
    draw_mean,
    draw_switches,
    limit_to_means,
    new_figure,
    save_figure,
    share_trunk,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.by_epoch)
models = by_model(table)
figure, axes = new_figure(
    rows=2, columns=len(models), width=4.2 if len(models) == 1 else 3.2, height=2.4, sharex="col"
)
for (model, of_model), column in zip(models, axes.T, strict=True):
    column[0].set_title(model)
    found = conditions(of_model, "epoch")
    shared = share_trunk([rows for _, _, rows in found])
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        draw_switches(ax, of_model)
        limit_to_means(ax, table[f"{metric}_mean"])
        for i, (_, colour, rows) in enumerate(found):
            for sequence_set, tested in rows.groupby("sequence_set"):
                current = tested[tested["current_set"] == sequence_set]
                # The earlier set's line goes on from the last point at which the set was the current one.
                earlier = tested[tested["iter"] >= current["iter"].max()]
                # What is before the switch, and the same for all conditions, is drawn once.
                if not (shared and sequence_set == 0):
                    draw_mean(ax, current, "iter", metric, color=colour)
                elif i == 0:
                    draw_mean(ax, current, "iter", metric, color="0.35")
                if len(earlier) > 1:
                    draw_mean(ax, earlier, "iter", metric, color=colour, linestyle="--", linewidth=1)
    column[-1].set_xlabel("iterations")
    handles = [Line2D([], [], color=colour, label=label) for label, colour, _ in found if label]
    if shared:
        handles.insert(0, Line2D([], [], color="0.35", label="all, before the switch"))
    if handles:
        column[-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.25))
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
handles = [
    Line2D([], [], color="0.3", label="current set"),
    Line2D([], [], color="0.3", linestyle="--", linewidth=1, label="earlier set"),
    Line2D([], [], color="0.55", linestyle=(0, (1, 2)), label="chance"),
]
figure.legend(handles=handles, loc="outside upper right", ncols=3)
save_figure(figure, snakemake)
