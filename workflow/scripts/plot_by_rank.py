"""Accuracy and loss against rank, before and after the first switch, one column a condition."""

import textwrap

from memorization.cache import read_table, write_figure
from memorization.figure_style import (
    AXIS_LABELS,
    WEIGHTS_COLOURS,
    WEIGHTS_LABELS,
    band_centre,
    conditions,
    draw_chance,
    draw_points,
    legend_below,
    limit_to_means,
    new_figure,
    set_label,
)
from memorization.progress import start_log

start_log(snakemake.log[0])
table = read_table(snakemake.input.by_rank)
MOMENTS = ("pre_switch_1", "final")
shown = table[table["weights"].isin(MOMENTS) & (table["sequence_set"] <= 1)]
found = conditions(shown, "weights")
figure, axes = new_figure(rows=2, columns=len(found), width=2.4, height=2.2)
for (label, _, rows), column in zip(found, axes.T, strict=True):
    column[0].set_title(textwrap.fill(label, 26))
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for (weights, sequence_set), line in rows.groupby(["weights", "sequence_set"], sort=False):
            draw_points(
                ax,
                band_centre(line, "rank", offset=1),
                line,
                metric,
                color=WEIGHTS_COLOURS[weights],
                linestyle="-" if sequence_set == 0 else "--",
                marker="o" if sequence_set == 0 else "s",
                markersize=3,
                label=f"{set_label(sequence_set)}, {WEIGHTS_LABELS[weights]}",
            )
        ax.set_xscale("log")
    column[-1].set_xlabel("rank + 1")
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
    limit_to_means(ax, shown[f"{metric}_mean"])
legend_below(figure, axes)
for path in snakemake.output:
    write_figure(figure, path)
