"""Accuracy and loss against rank, before and after the first switch.

There is one panel for each condition.
"""

import pandas as pd

from memorization.figures.drawing import (
    condition_panels,
    draw_sets_before_and_after,
    label_below,
    legend_below,
    limit_to_means,
    save_figure,
)
from memorization.figures.selection import band_centre, before_and_after
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

start_log(snakemake.log[0])
table = before_and_after(read_table_of_group(snakemake.input.by_rank))
figure, axes, panels = condition_panels(table, width=2.4, height=2.2)
for ax, metric, rows in panels:
    draw_sets_before_and_after(ax, metric, rows, lambda line: band_centre(line, "rank", offset=1))
    limit_to_means(ax, pd.concat([table[f"{metric}_mean"], table[f"ideal_{metric}_mean"]]))
    ax.set_xscale("log")
label_below(panels, "rank + 1")
legend_below(figure, axes)
save_figure(figure, snakemake)
