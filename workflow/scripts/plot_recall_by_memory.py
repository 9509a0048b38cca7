"""Recall of a set just after its training, against the capacity of the queue."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    STORED,
    THEORY,
    draw_chance,
    draw_ideal_recall,
    draw_points,
    legend_below,
    log_axis_of,
    new_figure,
    save_figure,
)
from memorization.figures.labels import ORANGE, RECALL_LABEL
from memorization.figures.selection import just_trained, recall
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam", "a sweep of M")
measured = recall(just_trained(read_table_of_group(snakemake.input.by_weights)))
measured = measured[(measured["sequence_set"] == 0) & (measured["model"] == "dam")].sort_values("M")
theory = just_trained(read_table_of_group(snakemake.input.occupancy))
theory = theory[theory["sequence_set"] == 0].groupby("M")[["occupancy", "queue_ideal_recall_mean"]].mean()
figure, axes = new_figure(rows=1, columns=1, width=3.4, height=2.6)
ax = axes[0, 0]
draw_chance(ax, "recall")
draw_ideal_recall(ax, measured)
ax.plot(theory.index, theory["occupancy"], **STORED, label="share that is stored")
ax.plot(theory.index, theory["queue_ideal_recall_mean"], **THEORY, label="theory: the queue's ideal")
draw_points(ax, measured["M"], measured, "recall", color=ORANGE, label="measured")
log_axis_of(ax.xaxis, measured["M"])
ax.set_xlabel("capacity of the queue M (sequences)")
ax.set_ylabel(RECALL_LABEL)
ax.set_ylim(-0.06, 1.06)
figure.suptitle(title_of_figure(snakemake, "Recall of the DAM, and what its queue allows"))
legend_below(figure, axes)
save_figure(figure, snakemake)
