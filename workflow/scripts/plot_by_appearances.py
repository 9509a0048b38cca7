"""Accuracy and loss against how often a sequence was shown, one column a condition."""

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
table = read_table(snakemake.input.by_appearances)
# Where zero appearances are drawn on the logarithmic axis.
ZERO = 0.4
MOMENTS = ("pre_switch_1", "final")
shown = table[table["weights"].isin(MOMENTS) & (table["sequence_set"].isin([0, 1]))]
shown = shown.assign(appearances=band_centre(shown, "appearances", offset=0).clip(lower=ZERO))
found = conditions(shown, "weights")
figure, axes = new_figure(rows=2, columns=len(found), width=2.4, height=2.2)
for (label, _, rows), column in zip(found, axes.T, strict=True):
    column[0].set_title(textwrap.fill(label, 26))
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for (weights, sequence_set), line in rows.groupby(["weights", "sequence_set"], sort=False):
            draw_points(
                ax,
                line["appearances"],
                line,
                metric,
                color=WEIGHTS_COLOURS[weights],
                linestyle="-" if sequence_set == 0 else "--",
                marker="o" if sequence_set == 0 else "s",
                markersize=3,
                label=f"{set_label(sequence_set)}, {WEIGHTS_LABELS[weights]}",
            )
        ax.set_xscale("log")
        ax.set_xticks([ZERO, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
        ax.set_xlim(ZERO * 0.8, shown["appearances"].max() * 1.3)
    column[-1].set_xlabel("appearances in training")
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
    limit_to_means(ax, shown[f"{metric}_mean"])
legend_below(figure, axes)
for path in snakemake.output:
    write_figure(figure, path)
