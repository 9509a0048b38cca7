"""Accuracy and loss on each set under the final weights and with one part swapped back."""

from memorization.figures.drawing import (
    WEIGHTS_COLOURS,
    WEIGHTS_LABELS,
    WEIGHTS_MARKERS,
    condition_panels,
    draw_points,
    label_below,
    legend_below,
    save_figure,
    set_label,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.by_weights)
table = table[table["weights"].isin(WEIGHTS_COLOURS)]
sets = [*sorted(s for s in table["sequence_set"].unique() if s >= 0), -1]
figure, axes, panels = condition_panels(table, "weights", width=2.4, height=2.2)
for ax, metric, rows in panels:
    present = [weights for weights in WEIGHTS_COLOURS if weights in set(rows["weights"])]
    for i, weights in enumerate(present):
        points = rows[rows["weights"] == weights].set_index("sequence_set").reindex(sets)
        draw_points(
            ax,
            [x + 0.16 * (i - (len(present) - 1) / 2) for x in range(len(sets))],
            points,
            metric,
            color=WEIGHTS_COLOURS[weights],
            linestyle="",
            marker=WEIGHTS_MARKERS[weights],
            markersize=4,
            capsize=2,
            label=WEIGHTS_LABELS[weights],
        )
    ax.set_xticks(range(len(sets)), [set_label(s).replace(" (", "\n(") for s in sets], fontsize=7.5)
label_below(panels, "")
legend_below(figure, axes)
save_figure(figure, snakemake)
