"""Accuracy and loss on the current and the earlier sets against iterations.

The iterations go across the switches.
"""

import pandas as pd
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    IDEAL,
    REFERENCE,
    draw_chance,
    draw_ideal,
    draw_mean,
    draw_switches,
    legend_beneath,
    limit_to_means,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS
from memorization.figures.selection import by_model, conditions, share_trunk
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
    shown = conditions(of_model)
    shared = share_trunk([rows for _, _, rows in shown])
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        draw_switches(ax, of_model)
        limit_to_means(ax, pd.concat([table[f"{metric}_mean"], table[f"ideal_{metric}_mean"]]))
        for i, (_, colour, rows) in enumerate(shown):
            for sequence_set, tested in rows.groupby("sequence_set"):
                current = tested[tested["current_set"] == sequence_set]
                draw_ideal(ax, current, current["iter"], metric, label=None)
                # The line of an earlier set goes on from its last point as the current one.
                earlier = tested[tested["iter"] >= current["iter"].max()]
                # If the conditions are the same before the switch, that part is drawn once.
                if not (shared and sequence_set == 0):
                    draw_mean(ax, current, "iter", metric, color=colour)
                elif i == 0:
                    draw_mean(ax, current, "iter", metric, color="0.35")
                if len(earlier) > 1:
                    draw_mean(ax, earlier, "iter", metric, color=colour, linestyle="--", linewidth=1)
    column[-1].set_xlabel("iterations")
    handles = [Line2D([], [], color=colour, label=label) for label, colour, _ in shown if label]
    if shared:
        handles.insert(0, Line2D([], [], color="0.35", label="all, before the switch"))
    legend_beneath(column[-1], 0.25, handles)
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
handles = [
    Line2D([], [], color="0.3", label="current set"),
    Line2D([], [], color="0.3", linestyle="--", linewidth=1, label="earlier set"),
    Line2D([], [], **IDEAL, label="ideal observer"),
    Line2D([], [], **REFERENCE, label="chance"),
]
figure.legend(handles=handles, loc="outside upper right", ncols=4)
save_figure(figure, snakemake)
