"""Recall against rank, beside the occupancy of the queue."""

from memorization.figures.drawing import THEORY, draw_chance, draw_points, new_figure, save_figure
from memorization.figures.labels import RECALL_LABEL
from memorization.figures.selection import band_centre, conditions, just_trained, recall
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam",)
start_log(snakemake.log[0])
theory = just_trained(read_table_of_group(snakemake.input.occupancy))
measured = recall(just_trained(read_table_of_group(snakemake.input.by_rank)))
figure, axes = new_figure(rows=1, columns=1, width=4.8, height=3)
ax = axes[0, 0]
draw_chance(ax, "recall")
for (label, colour, line), (_, _, points) in zip(conditions(theory), conditions(measured), strict=True):
    # The first set, at the moment before it is left.
    line, points = line[line["sequence_set"] == 0], points[points["sequence_set"] == 0]
    ax.plot(line["sequence_rank"] + 1, line["occupancy"], color=colour, linewidth=1)
    x = band_centre(points, "rank", offset=1)
    draw_points(ax, x, points, "recall", color=colour, label=label or "measured")
ax.plot([], [], **THEORY, label="theory: occupancy $1 - (1 - p_r)^M$")
ax.set_xscale("log")
ax.set_xlabel("rank + 1")
ax.set_ylabel(RECALL_LABEL)
ax.set_ylim(-0.06, 1.06)
figure.legend(loc="outside right upper")
save_figure(figure, snakemake)
