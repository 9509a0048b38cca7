"""Accuracy and loss against the number of appearances in training.

There is one panel for each condition.
"""

import math

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

# The place of zero appearances on the logarithmic axis.
ZERO = 0.4
start_log(snakemake.log[0])
table = before_and_after(read_table_of_group(snakemake.input.by_appearances))
table = table.assign(appearances=band_centre(table, "appearances", offset=0).clip(lower=ZERO))
most = table["appearances"].max()
powers = range(int(math.log10(most)) + 1)
figure, axes, panels = condition_panels(table, width=2.4, height=2.2)
for ax, metric, rows in panels:
    draw_sets_before_and_after(ax, metric, rows, lambda line: line["appearances"])
    limit_to_means(ax, pd.concat([table[f"{metric}_mean"], table[f"ideal_{metric}_mean"]]))
    ax.set_xscale("log")
    ax.set_xticks([ZERO, *(10**i for i in powers)], ["0", *(f"$10^{i}$" for i in powers)])
    ax.set_xlim(ZERO * 0.8, most * 1.3)
label_below(panels, "appearances in training")
legend_below(figure, axes)
save_figure(figure, snakemake)
