"""Recall of the old set after the switch, beside what the queue allows."""

from memorization.figures.drawing import (
    REFERENCE,
    THEORY,
    draw_chance,
    draw_ideal_recall,
    draw_points,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import RECALL_LABEL, ranks_label
from memorization.figures.selection import conditions, log_spaced, recall, three_bands
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "the model dam")
# The number of measured points of each condition in a panel.
POINTS = 10
# The same of a line. Once the set is lost, the ideal is at chance but for prefixes that agree by chance.
LINE_POINTS = 30
start_log(snakemake.log[0])
table = recall(read_table_of_group(snakemake.input.forgetting))
table = table[table["sequence_set"] == 0]
bands = three_bands(table)
# A logarithmic axis keeps the capacities apart; the moment of the switch stands at its beginning.
first = table.loc[table["iters_since_switch"] > 0, "iters_since_switch"].min()
table = table.assign(since=table["iters_since_switch"].clip(lower=first / 2))
# Until the queue of the largest memory holds nothing of the old set any more, and a little longer.
gone = table.loc[table["occupancy_mean"] > 0, "iters_since_switch"].max()
table = table[table["iters_since_switch"] <= max(3 * gone, 4 * first)]
figure, axes = new_figure(rows=1, columns=len(bands), width=2.9, height=2.9)
for ax, (low, high) in zip(axes[0], bands, strict=True):
    draw_chance(ax, "recall")
    draw_ideal_recall(ax, table[table["rank_low"] == low])
    ax.set_title(ranks_label(low, high))
    for i, (label, look, rows) in enumerate(conditions(table)):
        rows = rows[rows["rank_low"] == low]
        ax.plot(rows["since"], rows["occupancy_mean"], **REFERENCE | {"color": look.colour})
        line = log_spaced(rows, LINE_POINTS)
        ax.plot(line["since"], line["queue_ideal_recall_mean"], color=look.colour, linewidth=1)
        points = log_spaced(rows, POINTS)
        # Points side by side keep their intervals apart.
        draw_points(ax, points["since"] * 1.04**i, points, "recall", color=look.colour, label=label or "measured")
    log_axis(ax.xaxis)
    ax.set_xlabel("iterations since the switch")
axes[0, 0].set_ylim(-0.25, 1.1)
axes[0, 0].set_ylabel(RECALL_LABEL)
handles, labels = axes[0, 0].get_legend_handles_labels()
(theory,) = axes[0, 0].plot([], [], **THEORY)
(occupancy,) = axes[0, 0].plot([], [], **REFERENCE | {"color": THEORY["color"]})
figure.legend(
    [*handles, theory, occupancy],
    [*labels, "theory: the queue's ideal", "occupancy $1 - (1 - p_r)^{M - t}$"],
    loc="outside lower center",
    ncols=4,
)
save_figure(figure, snakemake)
