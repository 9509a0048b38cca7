"""The share of a transformer's predictions that each theory explains.

It is drawn against the iterations on a set.
"""

import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import (
    REFERENCE,
    draw_mean,
    draw_points,
    legend_below,
    log_axis,
    new_figure,
    save_figure,
)
from memorization.figures.labels import CANDIDATES, lines
from memorization.figures.selection import conditions
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer", "saved weights")
# A transformer that is hardly different from a coin has nothing to explain: so many bits per bit.
LEAST_DIVERGENCE = 0.02


def draw_panel(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw one line for each candidate, against the iterations on the current set."""
    ax.axhline(0, **REFERENCE)
    ax.axhline(1, **REFERENCE)
    for i, (candidate, look) in enumerate(CANDIDATES.items()):
        shown = rows[rows["candidate"] == candidate].sort_values("since")
        # Other initial weights are no theory, but the measure of one.
        if candidate == "other_weights":
            draw_mean(ax, shown, "since", "explained", color=look.colour, label=look.label, linewidth=2.5)
        elif len(shown):
            # Points side by side keep their intervals apart.
            style = {"color": look.colour, "marker": look.marker, "label": look.label, "capsize": 0}
            x = shown["since"] * 1.04 ** (i - 3)
            draw_points(ax, x, shown, "explained", linestyle="-", linewidth=1, **style)
    ax.set_ylim(-0.2, 1.05)
    log_axis(ax.xaxis)


def with_something_to_explain(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the moments at which the transformers differ from a coin."""
    moment = ["weights", "sequence_set"]
    coin = rows[rows["candidate"] == "coin"].set_index(moment)["kl_mean"]
    return rows[rows.set_index(moment).index.map(coin) > LEAST_DIVERGENCE]


def panels_of(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the rows of each panel of a condition, with iterations ``since`` a start.

    They are the first set until the switch, then the set after it, and the first set again.
    """
    switch = rows.loc[rows["weights"] == "pre_switch_1", "iter"].max()
    before = rows[~(rows["iter"] > switch)]
    after = rows[rows["iter"] > switch]
    parts = ((before, before["iter"], 0), (after, after["iter"] - switch, 1), (after, after["iter"] - switch, 0))
    return [part.assign(since=since)[part["sequence_set"] == number] for part, since, number in parts]


start_log(snakemake.log[0])
shown = conditions(read_table_of_group(snakemake.input.model_comparison))
panels = [(label, panels_of(with_something_to_explain(rows))) for label, _, rows in shown]
titles = ["the set that is learned", "after the switch: the new set", "after the switch: the old set"]
columns = 3 if any(len(rows) for _, (_, *after) in panels for rows in after) else 1
figure, axes = new_figure(len(panels), columns, width=2.8, height=2.4, sharex=True, sharey=True)
for (label, of_condition), row in zip(panels, axes, strict=True):
    for ax, rows in zip(row, of_condition, strict=False):
        draw_panel(ax, rows)
    row[0].set_ylabel(lines(label, "share of KL explained"))
for ax, title in zip(axes[0], titles, strict=False):
    ax.set_title(title)
for ax in axes[-1]:
    ax.set_xlabel("iterations since the set came in")
figure.suptitle("How much of what a transformer predicts does each theory explain?", fontsize=9)
legend_below(figure, axes)
save_figure(figure, snakemake)
