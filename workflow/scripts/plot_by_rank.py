"""Accuracy against the rank of sequences, just after their training and later.

There is one panel for each condition. If all sequences are equally frequent, rank means nothing, and the mean over
the sequences is drawn.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.figures.drawing import (
    condition_panels,
    draw_ideal,
    draw_level,
    draw_points,
    label_lowest,
    legend_below,
    limit_to,
    log_axis,
    save_figure,
)
from memorization.figures.labels import MOMENTS
from memorization.figures.selection import (
    band_centre,
    equally_frequent,
    just_trained_and_left,
    same_condition,
)
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("sequences of different frequency",)
table = just_trained_and_left(read_table_of_group(snakemake.input.by_rank))
over_all_ranks = just_trained_and_left(read_table_of_group(snakemake.input.by_weights))
figure, panels = condition_panels(table, width=1.9, height=1.7)
for ax, rows in panels:
    x = band_centre(rows, "rank", offset=1)
    draw_ideal(ax, rows, x if not equally_frequent(rows) else x.mean(), "accuracy")
    for moment, of_moment in rows.groupby("moment", sort=False):
        look = MOMENTS[moment]
        if equally_frequent(rows):
            level = same_condition(over_all_ranks, of_moment)
            draw_level(ax, level[level["moment"] == moment], "accuracy", color=look.colour)
        else:
            x = band_centre(of_moment, "rank", offset=1)
            draw_points(ax, x, of_moment, "accuracy", **look.points, linestyle="-", linewidth=1, label=look.label)
    log_axis(ax.xaxis)
limit_to(panels[0][0], table)
label_lowest(figure, "rank + 1")
figure.suptitle(title_of_figure(snakemake, "Accuracy on a set, from its most frequent to its rarest sequence"))
legend_below(figure, figure.panels)
save_figure(figure, snakemake)
