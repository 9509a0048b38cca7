"""Accuracy and loss on each set under the final weights and with one part swapped back."""

import textwrap

from memorization.cache import read_table, write_figure
from memorization.figure_style import (
    AXIS_LABELS,
    WEIGHTS_COLOURS,
    WEIGHTS_LABELS,
    conditions,
    draw_chance,
    draw_points,
    legend_below,
    new_figure,
    set_label,
)
from memorization.progress import start_log

start_log(snakemake.log[0])
table = read_table(snakemake.input.by_weights)
table = table[table["weights"].isin(WEIGHTS_COLOURS)]
found = conditions(table, "weights")
sets = [*sorted(s for s in table["sequence_set"].unique() if s >= 0), -1]
present = [weights for weights in WEIGHTS_COLOURS if weights in set(table["weights"])]
figure, axes = new_figure(rows=2, columns=len(found), width=2.4, height=2.2)
for (label, _, rows), column in zip(found, axes.T, strict=True):
    column[0].set_title(textwrap.fill(label, 26))
    for metric, ax in zip(AXIS_LABELS, column, strict=True):
        draw_chance(ax, metric)
        for i, weights in enumerate(present):
            points = rows[rows["weights"] == weights].set_index("sequence_set").reindex(sets)
            draw_points(
                ax,
                [x + 0.16 * (i - (len(present) - 1) / 2) for x in range(len(sets))],
                points,
                metric,
                color=WEIGHTS_COLOURS[weights],
                linestyle="",
                marker="o",
                markersize=4,
                capsize=2,
                label=WEIGHTS_LABELS[weights],
            )
        ax.set_xticks(range(len(sets)), [set_label(s).replace(" (", "\n(") for s in sets], fontsize=7.5)
for metric, ax in zip(AXIS_LABELS, axes[:, 0], strict=True):
    ax.set_ylabel(AXIS_LABELS[metric])
legend_below(figure, axes)
for path in snakemake.output:
    write_figure(figure, path)
