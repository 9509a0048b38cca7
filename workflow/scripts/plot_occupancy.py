"""Recall against rank, beside the best retrieval from the queue."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    STORED,
    THEORY,
    draw_chance,
    draw_ideal,
    draw_points,
    label_lowest,
    legend_below,
    log_axis,
    new_figure,
    save_figure,
    title_panel,
)
from memorization.figures.labels import ORANGE, RECALL_LABEL
from memorization.figures.selection import band_centre, band_means, conditions, few, just_trained, recall
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam",)
# The first set, at the moment before it is left.
theory, measured = (
    just_trained(table[(table["sequence_set"] == 0) & (table["model"] == "dam")])
    for table in map(read_table_of_group, (snakemake.input.occupancy, snakemake.input.by_rank))
)
shown = few(list(zip(conditions(recall(measured)), conditions(theory), strict=True)))
figure, axes = new_figure(rows=1, columns=len(shown), width=2.1, height=2.3)
for ax, ((label, _, points), (_, _, line)) in zip(axes[0], shown, strict=True):
    x = band_centre(points, "rank", offset=1)
    draw_chance(ax, "recall")
    draw_ideal(ax, points.assign(ideal_recall_mean=2 * points["ideal_accuracy_mean"] - 1), x, "recall")
    ax.plot(
        line["sequence_rank"] + 1, line["occupancy"], **STORED, label="stored with probability $1 - (1 - p_r)^M$"
    )
    ax.plot(x, band_means(line, points, "queue_ideal_recall_mean"), **THEORY, label="theory: the queue's ideal")
    draw_points(ax, x, points, "recall", color=ORANGE, label="measured")
    title_panel(ax, label)
    log_axis(ax.xaxis)
    ax.set_ylim(-0.06, 1.06)
label_lowest(figure, "rank + 1")
axes[0, 0].set_ylabel(RECALL_LABEL)
figure.suptitle(title_of_figure(snakemake, "Recall of each rank, and what the queue holds of it"))
legend_below(figure, axes)
save_figure(figure, snakemake)
