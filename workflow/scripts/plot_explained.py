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
from memorization.figures.selection import by_model
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


def with_something_to_explain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the moments at which the transformer differs from a coin."""
    moment = ["model", "weights", "sequence_set"]
    coin = table[table["candidate"] == "coin"].set_index(moment)["kl_mean"]
    return table[table.set_index(moment).index.map(coin) > LEAST_DIVERGENCE]


start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.model_comparison)
# The end of the first set is the last iteration before the switch.
switch = table.loc[table["weights"] == "pre_switch_1", "iter"].max()
switch = table["iter"].max() if pd.isna(switch) else switch
table = with_something_to_explain(table)
before, after = table[table["iter"] <= switch], table[table["iter"] > switch]
panels = [("the set that is learned", before.assign(since=before["iter"]), 0)]
if len(after):
    after = after.assign(since=after["iter"] - switch)
    panels += [("after the switch: the new set", after, 1), ("after the switch: the old set", after, 0)]
models = by_model(table)
figure, axes = new_figure(len(models), len(panels), width=2.8, height=2.4, sharex=True, sharey=True)
for (model, of_model), row in zip(models, axes, strict=True):
    for ax, (title, rows, sequence_set) in zip(row, panels, strict=True):
        draw_panel(ax, rows[rows.index.isin(of_model.index) & (rows["sequence_set"] == sequence_set)])
        if ax in axes[0]:
            ax.set_title(title)
        if ax in axes[-1]:
            ax.set_xlabel("iterations since the set came in")
    row[0].set_ylabel(lines(model, "share of KL explained"))
figure.suptitle("How much of what a transformer predicts does each theory explain?", fontsize=9)
legend_below(figure, axes)
save_figure(figure, snakemake)
