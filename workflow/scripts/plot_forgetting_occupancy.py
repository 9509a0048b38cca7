"""Recall of the old set against the sequences drawn since the switch, over the occupancy of the queue."""

from memorization.figures.drawing import (
    conditions,
    draw_points,
    log_axis,
    log_spaced,
    new_figure,
    ranks_label,
    recall,
    save_figure,
    three_bands,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "the model dam")
# So many measured points of each condition.
POINTS = 10
start_log(snakemake.log[0])
table = recall(read_table_of_group(snakemake.input.forgetting))
table = table[table["sequence_set"] == 0]
bands = three_bands(table)
# On a logarithmic axis, where the capacities are apart; the moment of the switch stands at its beginning.
first = table.loc[table["iters_since_switch"] > 0, "iters_since_switch"].min()
table = table.assign(since=table["iters_since_switch"].clip(lower=first / 2))
# Until the queue of the largest memory holds nothing of the old set any more, and a little longer.
gone = table.loc[table["occupancy_mean"] > 0, "iters_since_switch"].max()
table = table[table["iters_since_switch"] <= max(3 * gone, 4 * first)]
figure, axes = new_figure(rows=1, columns=len(bands), width=2.9, height=2.9)
for ax, (low, high) in zip(axes[0], bands, strict=True):
    ax.axhline(0, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    ax.set_title(ranks_label(low, high))
    for i, (label, colour, rows) in enumerate(conditions(table[table["rank_low"] == low], "sequence_set", table)):
        ax.plot(rows["since"], rows["occupancy_mean"], color=colour, linewidth=1)
        points = log_spaced(rows, POINTS)
        style = {"color": colour, "linestyle": "", "marker": "o", "markersize": 3, "label": label or "measured"}
        # Side by side, that their intervals can be told apart.
        draw_points(ax, points["since"] * 1.04**i, points, "recall", **style)
    log_axis(ax.xaxis)
    ax.set_xlabel("iterations since the switch")
axes[0, 0].set_ylim(-0.25, 1.1)
axes[0, 0].set_ylabel("recall (2 · accuracy − 1)")
handles, labels = axes[0, 0].get_legend_handles_labels()
(theory,) = axes[0, 0].plot([], [], color="0.3", linewidth=1)
figure.legend(
    [*handles, theory],
    [*labels, "theory: occupancy $1 - (1 - p_r)^{M - t}$"],
    loc="outside lower center",
    ncols=len(labels) + 1,
)
save_figure(figure, snakemake)
