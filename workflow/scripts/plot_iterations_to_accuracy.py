"""Iterations until the accuracy on a set reaches a threshold: medians over seeds.

The set is the one after the first switch.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import IDEAL, legend_below, log_axis, new_figure, save_figure
from memorization.figures.labels import Look
from memorization.figures.selection import by_model, conditions
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch",)
# The height of the thresholds that are not reached, as a share of the iterations on the set.
NOT_REACHED = 1.25


def draw_medians(ax: Axes, x: pd.Series, rows: pd.DataFrame, look: Look, label: str | None) -> None:
    """Draw the medians of a condition with their intervals, and what is not reached.

    If some seeds never get there, an interval can have no upper bound: it goes on to the end of the training. If
    all do and it has none, the seeds are too few for an interval.
    """
    end = rows["trained_iterations"]
    reached = rows["median_iterations"].notna()
    height = rows["median_iterations"].where(reached, NOT_REACHED * end)
    high = rows["median_high"].fillna(end.where(rows["reached"] < 1))
    bars = np.array([height - rows["median_low"].where(high.notna()), high - height])
    ax.errorbar(x[reached], height[reached], bars[:, reached], **look.points, label=label)
    ax.plot(x[~reached], height[~reached], color=look.colour, linestyle="", marker="^", markerfacecolor="white")
    # No line ends without a word: it goes on to the first threshold that is not reached.
    ends = [*x[reached].index[-1:], *x[~reached].index[:1]]
    ax.plot(x[ends], height[ends], color=look.colour, linestyle=":", linewidth=1)


def label_end(ax: Axes, end: float) -> None:
    """Draw the end of the training, and say that the marks above it are no times."""
    ax.axhline(end, color="0.8", linewidth=0.8, zorder=0)
    low, _ = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= end])
    ax.set_ylim(low, 1.9 * end)
    ax.text(
        0.02, 1.5 * end, f"not reached within {end:g} iterations", transform=ax.get_yaxis_transform(), fontsize=7
    )


table = read_table_of_group(snakemake.input.iterations_to_accuracy)
# Nobody reaches more than the ideal observer has.
possible = table["threshold"] <= table["ideal_accuracy"]
models = by_model(table[(table["sequence_set"] == 1) & possible])
figure, axes = new_figure(rows=1, columns=len(models), width=3.6, height=4.4, sharex=True, sharey=False)
for (model, of_model), ax in zip(models, axes[0], strict=True):
    ax.set_title(model)
    ax.axvline(of_model["ideal_accuracy"].mean(), **IDEAL, label="ideal observer")
    shown = conditions(of_model)
    for i, (label, look, rows) in enumerate(shown):
        # Points side by side keep their intervals apart.
        x = rows["threshold"] + 0.004 * (i - (len(shown) - 1) / 2)
        draw_medians(ax, x, rows, look, label or None)
    log_axis(ax.yaxis)
    label_end(ax, of_model["trained_iterations"].max())
    ax.set_xlabel("accuracy reached")
axes[0, 0].set_ylabel("median iterations since the switch")
figure.suptitle(title_of_figure(snakemake, "Iterations until the new set is known to an accuracy"))
legend_below(figure, axes)
save_figure(figure, snakemake)
