"""Accuracy and loss against rank, before and after the first switch, one column a condition."""

from memorization.cache import read_table, write_figure
from memorization.figure_style import (
    AXIS_LABELS,
    WEIGHTS_COLOURS,
    band_centre,
    conditions,
    draw_chance,
    draw_mean,
    new_figure,
    set_label,
)
from memorization.progress import start_log

start_log(snakemake.log[0])
table = read_table(snakemake.input.by_rank)
found = conditions(table, "weights")
figure, axes = new_figure(rows=2, columns=len(found), width=2.4, height=2.2)
MOMENTS = {"pre_switch_1": "just before the switch", "final": "at the end"}
for (label, _, rows), column in zip(found, axes.T, strict=True):
    column[0].set_title(label)
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for (weights, sequence_set), line in rows.groupby(["weights", "sequence_set"], sort=False):
            if weights in MOMENTS and sequence_set <= 1:
                draw_mean(
                    ax,
                    line.assign(rank=band_centre(line, "rank", offset=1)),
                    "rank",
                    metric,
                    color=WEIGHTS_COLOURS[weights],
                    linestyle="-" if sequence_set == 0 else "--",
                    marker="o" if sequence_set == 0 else "s",
                    markersize=3,
                    label=f"{set_label(sequence_set)}, {MOMENTS[weights]}",
                )
        ax.set_xscale("log")
    column[-1].set_xlabel("rank + 1")
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
for path in snakemake.output:
    write_figure(figure, path)
