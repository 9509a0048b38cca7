"""Recall of the old set after the switch, beside what the queue allows."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import (
    STORED,
    THEORY,
    draw_chance,
    draw_ideal_recall,
    draw_points,
    label_lowest,
    legend_below,
    new_figure,
    save_figure,
    title_panel,
)
from memorization.figures.labels import ORANGE, RECALL_LABEL, lines
from memorization.figures.selection import conditions, few
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets", "the model dam")
# The number of measured points in a panel.
POINTS = 10


def draw_panel(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw one condition until the queue has lost the old set, and for as long again."""
    x = rows["draws_since_switch"]
    # A small queue has lost the set at the first test.
    end = max(2 * x[rows["occupancy_mean"] > 0].max(), x.iloc[:5].max())
    rows = rows[x <= end]
    x = rows["draws_since_switch"]
    draw_chance(ax, "recall")
    draw_ideal_recall(ax, rows)
    ax.plot(x, rows["occupancy_mean"], **STORED, label="share that is stored")
    ax.plot(x, rows["queue_ideal_recall_mean"], **THEORY, label="theory: the queue's ideal")
    # The tests nearest to evenly spaced moments: just after the switch they are closer to each other.
    wanted = np.linspace(0, x.max(), POINTS)
    points = rows.iloc[np.unique(np.abs(x.to_numpy()[:, None] - wanted).argmin(axis=0))]
    draw_points(ax, points["draws_since_switch"], points, "recall", color=ORANGE, label="measured")
    ax.locator_params(axis="x", nbins=4)


table = read_table_of_group(snakemake.input.forgetting)
table = table[(table["sequence_set"] == 0) & (table["model"] == "dam")]
shown = few(conditions(table))
figure, axes = new_figure(rows=1, columns=len(shown), width=2.1, height=2.3, sharex=False)
for ax, (label, _, rows) in zip(axes[0], shown, strict=True):
    draw_panel(ax, rows)
    title_panel(ax, label)
    ax.set_ylim(-0.06, 1.06)
label_lowest(figure, lines("sequences drawn", "since the switch"))
axes[0, 0].set_ylabel(RECALL_LABEL)
figure.suptitle(title_of_figure(snakemake, "Recall of the old set, and what the queue still holds"))
legend_below(figure, axes)
save_figure(figure, snakemake)
