"""Iterations until the accuracy on a set reaches a threshold: medians over seeds.

The set is the one after the first switch.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import IDEAL, legend_beneath, log_axis, new_figure, save_figure
from memorization.figures.selection import by_model, conditions
from memorization.figures.titles import title_of_figure
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
# The height of what is not reached, as a share of the iterations on the set.
NOT_REACHED = 1.25


def draw_medians(ax: Axes, x: pd.Series, rows: pd.DataFrame, colour: Any, label: str | None) -> None:
    """Draw the medians of one condition with their intervals, and what half of the seeds do not reach.

    If some seeds never get there, an interval can have no upper bound: it goes on to the end of the training. If
    all do and it has none, the seeds are too few for an interval.
    """
    end = rows["trained_iterations"]
    reached = rows["median_iterations"].notna()
    height = rows["median_iterations"].where(reached, NOT_REACHED * end)
    high = rows["median_high"].fillna(end.where(rows["reached"] < 1))
    bars = np.array([height - rows["median_low"].where(high.notna()), high - height])
    ax.errorbar(x[reached], height[reached], bars[:, reached], color=colour, marker="o", label=label)
    ax.plot(x[~reached], height[~reached], color=colour, linestyle="", marker="^", markerfacecolor="white")
    # No line ends without a word: it goes on to the first threshold that is not reached.
    ends = [*x[reached].index[-1:], *x[~reached].index[:1]]
    ax.plot(x[ends], height[ends], color=colour, linestyle=":", linewidth=1)


start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.iterations_to_accuracy)
# Nobody reaches more than the ideal observer has.
possible = table["threshold"] <= table["ideal_accuracy"]
models = by_model(table[(table["sequence_set"] == 1) & possible])
figure, axes = new_figure(rows=1, columns=len(models), width=3.6, height=4.4, sharex=True, sharey=False)
for (model, of_model), ax in zip(models, axes[0], strict=True):
    ax.set_title(model)
    ax.axvline(of_model["ideal_accuracy"].mean(), **IDEAL, label="ideal observer")
    shown = conditions(of_model)
    for i, (label, colour, rows) in enumerate(shown):
        # Points side by side keep their intervals apart.
        x = rows["threshold"] + 0.004 * (i - (len(shown) - 1) / 2)
        draw_medians(ax, x, rows, colour, label or None)
    end = of_model["trained_iterations"].max()
    ax.axhline(end, color="0.8", linewidth=0.8, zorder=0)
    ax.text(1, NOT_REACHED * end, f" not in {end:g}", transform=ax.get_yaxis_transform(), va="center", fontsize=7)
    log_axis(ax.yaxis)
    ax.set_xlabel("accuracy reached")
    legend_beneath(ax, 0.18)
axes[0, 0].set_ylabel("median iterations since the switch")
figure.suptitle(title_of_figure(snakemake, "Iterations until the new set is known to an accuracy"))
save_figure(figure, snakemake)
