"""Accuracy and loss on the last set against the number of parameters.

There is one line for each architecture.
"""

from memorization.figures.drawing import (
    draw_chance,
    draw_ideal,
    draw_points,
    legend_beneath,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import AXIS_LABELS, MARKERS, condition_label, ordered_colours
from memorization.figures.selection import by_model, condition_columns, last_set
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
table = last_set(read_table_of_group(snakemake.input.by_weights))
models = by_model(table)
# The number of heads makes an architecture larger; all else that is swept makes it another one.
keys = [key for key in condition_columns(table) if key != "num_heads"]
figure, axes = new_figure(rows=2, columns=len(models), width=4, height=2.4, sharex="col")
for (model, of_model), column in zip(models, axes.T, strict=True):
    column[0].set_title(model)
    architectures = list(of_model.groupby(keys, sort=False, dropna=False))
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for i, (values, rows) in enumerate(architectures):
            label = condition_label(dict(zip(keys, values, strict=True)), of_model)
            style = {"color": ordered_colours(len(architectures))[i], "marker": MARKERS[i % len(MARKERS)]}
            rows = rows.sort_values("num_parameters")
            draw_ideal(ax, rows, rows["num_parameters"], metric, label=None if i else "ideal observer")
            draw_points(ax, rows["num_parameters"], rows, metric, linestyle="-", label=label or None, **style)
        log_axis(ax.xaxis)
    column[-1].set_xlabel("parameters")
    legend_beneath(column[-1], 0.25)
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
save_figure(figure, snakemake)
