"""Recall against rank when a set has just been trained on, over the occupancy of the queue."""

from memorization.figures.drawing import (
    band_centre,
    conditions,
    draw_points,
    just_trained,
    new_figure,
    recall,
    save_figure,
)
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("the model dam",)
start_log(snakemake.log[0])
theory = just_trained(read_table_of_group(snakemake.input.occupancy))
measured = recall(just_trained(read_table_of_group(snakemake.input.by_rank)))
figure, axes = new_figure(rows=1, columns=1, width=4.8, height=3)
ax = axes[0, 0]
ax.axhline(0, color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
for (label, colour, line), (_, _, points) in zip(
    conditions(theory, "weights"), conditions(measured, "weights"), strict=True
):
    # The first set, at the moment before it is left.
    line, points = line[line["sequence_set"] == 0], points[points["sequence_set"] == 0]
    ax.plot(line["sequence_rank"] + 1, line["occupancy"], color=colour, linewidth=1)
    style = {"color": colour, "linestyle": "", "marker": "o", "markersize": 3.5, "capsize": 1.5}
    draw_points(ax, band_centre(points, "rank", offset=1), points, "recall", label=label or "measured", **style)
ax.plot([], [], color="0.3", linewidth=1, label="theory: occupancy $1 - (1 - p_r)^M$")
ax.set_xscale("log")
ax.set_xlabel("rank + 1")
ax.set_ylabel("recall (2 · accuracy − 1)")
ax.set_ylim(-0.06, 1.06)
figure.legend(loc="outside right upper")
save_figure(figure, snakemake)
