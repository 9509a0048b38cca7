"""Accuracy and loss on each set under the final weights and swapped weights.

In swapped weights one part is put back. A model with a memory is also shown with a set in it that its other parts
were not trained on.
"""

from memorization.figures.drawing import (
    IDEAL,
    condition_panels,
    draw_points,
    label_below,
    legend_below,
    save_figure,
)
from memorization.figures.labels import look_of_weights, set_label
from memorization.figures.selection import of_first_switch
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
table = of_first_switch(read_table_of_group(snakemake.input.by_weights))
figure, axes, panels = condition_panels(table, width=2.8, height=2.2)
for ax, metric, rows in panels:
    kinds = rows["weights"].unique()
    trained = sorted(s for s in rows.loc[rows["weights"] == "final", "sequence_set"].unique() if s >= 0)
    names = {s: set_label(s).replace(" (", "\n(") for s in trained}
    names |= {s: "never trained\non" for s in rows["sequence_set"].unique() if s > max(trained)}
    names[-1] = set_label(-1)
    for place, sequence_set in enumerate(names):
        ideal = rows.loc[rows["sequence_set"] == sequence_set, f"ideal_{metric}_mean"].mean()
        ax.hlines(ideal, place - 0.45, place + 0.45, **IDEAL, label="ideal observer")
    for i, weights in enumerate(kinds):
        look = look_of_weights(weights)
        points = rows[rows["weights"] == weights].set_index("sequence_set").reindex(names)
        x = [place + 0.13 * (i - (len(kinds) - 1) / 2) for place in range(len(names))]
        draw_points(ax, x, points, metric, color=look.colour, marker=look.marker, label=look.label)
    ax.set_xticks(range(len(names)), names.values(), fontsize=7)
label_below(panels, "")
legend_below(figure, axes)
save_figure(figure, snakemake)
