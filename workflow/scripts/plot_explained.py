"""The share of a transformer's predictions that each theory explains.

It is drawn against the iterations on a set.
"""

import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import REFERENCE, draw_mean, legend_below, log_axis, new_figure, save_figure
from memorization.figures.labels import CANDIDATES, lines
from memorization.figures.selection import by_model
from memorization.storage.log import start_log
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer", "saved weights")


def draw_panel(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw one line for each candidate, against the iterations on the current set."""
    ax.axhline(0, **REFERENCE)
    ax.axhline(1, **REFERENCE)
    for candidate, look in CANDIDATES.items():
        of_candidate = rows[rows["candidate"] == candidate].sort_values("since")
        # Other initial weights are no theory, but what no theory can pass by much.
        style = {"linewidth": 2.4, "alpha": 0.35} if candidate == "other_weights" else {"marker": look.marker}
        if len(of_candidate):
            draw_mean(ax, of_candidate, "since", "explained", color=look.colour, label=look.label, **style)
    ax.set_ylim(-0.1, 1.05)
    log_axis(ax.xaxis)


start_log(snakemake.log[0])
table = read_table_of_group(snakemake.input.model_comparison)
# The end of the first set is the last iteration before the switch.
switch = table.loc[table["weights"] == "pre_switch_1", "iter"].max()
switch = table["iter"].max() if pd.isna(switch) else switch
before, after = table[table["iter"] <= switch], table[table["iter"] > switch]
panels = [("the set that is learned", before.assign(since=before["iter"]), 0)]
if len(after):
    after = after.assign(since=after["iter"] - switch)
    panels += [("after the switch: the new set", after, 1), ("after the switch: the old set", after, 0)]
models = by_model(table)
figure, axes = new_figure(len(models), len(panels), width=2.8, height=2.4, sharex=True, sharey=True)
for (model, of_model), row in zip(models, axes, strict=True):
    for ax, (title, rows, sequence_set) in zip(row, panels, strict=True):
        shown = rows[rows.index.isin(of_model.index) & (rows["sequence_set"] == sequence_set)]
        draw_panel(ax, shown)
        if ax in axes[0]:
            ax.set_title(title)
        if ax in axes[-1]:
            ax.set_xlabel("iterations since the set came in")
    row[0].set_ylabel(lines(model, "share of KL explained"))
legend_below(figure, axes)
save_figure(figure, snakemake)
