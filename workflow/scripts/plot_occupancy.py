"""Recall against rank, beside the best retrieval from the queue."""

from memorization.figures.drawing import (
    REFERENCE,
    THEORY,
    draw_chance,
    draw_ideal,
    draw_points,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import RECALL_LABEL
from memorization.figures.selection import band_centre, band_means, conditions, just_trained, recall
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam",)
start_log(snakemake.log[0])
theory = just_trained(read_table_of_group(snakemake.input.occupancy))
measured = recall(just_trained(read_table_of_group(snakemake.input.by_rank)))
figure, axes = new_figure(rows=1, columns=1, width=5.4, height=3.3)
ax = axes[0, 0]
draw_chance(ax, "recall")
for (label, look, line), (_, _, points) in zip(conditions(theory), conditions(measured), strict=True):
    # The first set, at the moment before it is left.
    line, points = line[line["sequence_set"] == 0], points[points["sequence_set"] == 0]
    x = band_centre(points, "rank", offset=1)
    ax.plot(line["sequence_rank"] + 1, line["occupancy"], **REFERENCE | {"color": look.colour})
    ax.plot(x, band_means(line, points, "queue_ideal_recall_mean"), color=look.colour, linewidth=1)
    draw_points(ax, x, points, "recall", color=look.colour, label=label or "measured")
of_set = measured[measured["sequence_set"] == 0]
ideal = of_set.assign(ideal_recall_mean=2 * of_set["ideal_accuracy_mean"] - 1)
draw_ideal(ax, ideal, band_centre(of_set, "rank", offset=1), "recall", label="ideal observer of the set")
ax.plot([], [], **THEORY, label="theory: the queue's ideal")
ax.plot([], [], **REFERENCE | {"color": THEORY["color"]}, label="occupancy $1 - (1 - p_r)^M$")
log_axis(ax.xaxis)
ax.set_xlabel("rank + 1")
ax.set_ylabel(RECALL_LABEL)
ax.set_ylim(-0.06, 1.06)
figure.legend(loc="outside right upper")
save_figure(figure, snakemake)
