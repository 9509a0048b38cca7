"""Accuracy on the set that was trained on last against the number of parameters, one line an architecture."""

from memorization.figures.drawing import (
    AXIS_LABELS,
    by_model,
    condition_columns,
    condition_label,
    draw_chance,
    draw_points,
    last_set,
    log_axis,
    new_figure,
    ordered_colours,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

MARKERS = "osD^vP*X"
start_log(snakemake.log[0])
table = last_set(read_table_of_group(snakemake.input.by_weights))
models = by_model(table)
figure, axes = new_figure(rows=2, columns=len(models), width=4, height=2.4, sharex="col")
for (model, of_model), column in zip(models, axes.T, strict=True):
    column[0].set_title(model)
    # An architecture is all that is swept but the number of heads, which makes it larger.
    keys = [key for key in condition_columns(table, "weights") if key != "num_heads"]
    architectures = list(of_model.groupby(keys, sort=False, dropna=False)) if keys else [((), of_model)]
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for i, (values, rows) in enumerate(architectures):
            label = condition_label(dict(zip(keys, values, strict=True)), of_model)
            style = {"color": ordered_colours(len(architectures))[i], "marker": MARKERS[i % len(MARKERS)]}
            rows = rows.sort_values("num_parameters")
            draw_points(ax, rows["num_parameters"], rows, metric, markersize=3.5, label=label or None, **style)
        log_axis(ax.xaxis)
    column[-1].set_xlabel("parameters")
    if any(ax.get_legend_handles_labels()[0] for ax in column):
        column[-1].legend(loc="upper left", bbox_to_anchor=(0, -0.25))
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
save_figure(figure, snakemake)
