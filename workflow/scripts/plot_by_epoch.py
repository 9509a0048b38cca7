"""Accuracy and loss on the current and the earlier sets against iterations, across the switches."""

from matplotlib.lines import Line2D

from memorization.cache import read_table, write_figure
from memorization.figure_style import (
    AXIS_LABELS,
    conditions,
    draw_chance,
    draw_mean,
    draw_switches,
    new_figure,
)
from memorization.progress import start_log

start_log(snakemake.log[0])
table = read_table(snakemake.input.by_epoch)
figure, axes = new_figure(rows=2, columns=1, width=5.8, height=2.4)
handles = []
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    draw_chance(ax, metric)
    draw_switches(ax, table)
    # The first condition on top, where the curves before the switch are the same.
    for i, (label, colour, rows) in enumerate(conditions(table, "epoch")):
        for sequence_set, tested in rows.groupby("sequence_set"):
            current = tested[tested["current_set"] == sequence_set]
            # The earlier set's line goes on from the last point at which the set was the current one.
            earlier = tested[tested["iter"] >= current["iter"].max()]
            draw_mean(ax, current, "iter", metric, color=colour, zorder=3 - i / 100)
            draw_mean(ax, earlier, "iter", metric, color=colour, linestyle="--", linewidth=1)
        if metric == "accuracy":
            handles.append(Line2D([], [], color=colour, label=label or "current set"))
    ax.set_ylabel(AXIS_LABELS[metric])
handles += [
    Line2D([], [], color="0.3", label="current set"),
    Line2D([], [], color="0.3", linestyle="--", linewidth=1, label="earlier set"),
    Line2D([], [], color="0.55", linestyle=(0, (1, 2)), label="chance"),
]
axes[-1, 0].set_xlabel("iterations")
figure.legend(handles=handles, loc="outside right upper")
for path in snakemake.output:
    write_figure(figure, path)
