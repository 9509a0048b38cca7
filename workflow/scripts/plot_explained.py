"""The share of a transformer's predictions that each theory explains.

It is drawn against the iterations on a set.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import math

import pandas as pd
from matplotlib.axes import Axes

from memorization.figures.drawing import (
    REFERENCE,
    draw_mean,
    draw_points,
    legend_below,
    log_axis,
    new_figure,
    note,
    save_figure,
)
from memorization.figures.labels import CANDIDATES, lines
from memorization.figures.selection import by_model, condition_columns, conditions
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a transformer", "saved weights")
# A transformer that is hardly different from a coin has nothing to explain: so many bits per bit.
LEAST_DIVERGENCE = 0.02


def draw_panel(ax: Axes, rows: pd.DataFrame, nothing: str) -> None:
    """Draw one line for each candidate, against the iterations on the current set.

    If there is none, the text ``nothing`` says why.
    """
    ax.axhline(0, **REFERENCE, label="nothing is explained, or all")
    ax.axhline(1, **REFERENCE)
    for i, (candidate, look) in enumerate(CANDIDATES.items()):
        shown = rows[rows["candidate"] == candidate].sort_values("since")
        # Other initial weights are no theory, but the measure of one.
        if candidate == "other_weights" and len(shown):
            draw_mean(ax, shown, "since", "explained", color=look.colour, label=look.label, linewidth=2.5)
        elif len(shown):
            # Points side by side keep their intervals apart.
            style = {"color": look.colour, "marker": look.marker, "label": look.label, "capsize": 0}
            x = shown["since"] * 1.04 ** (i - 3)
            draw_points(ax, x, shown, "explained", linestyle="-", linewidth=1, **style)
    ax.set_ylim(-0.2, 1.05)
    if len(rows):
        log_axis(ax.xaxis)
    else:
        note(ax, nothing)


def with_something_to_explain(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the moments at which the transformer differs from a coin."""
    moment = [table[key] for key in (*condition_columns(table), "weights", "sequence_set")]
    of_coin = table["kl_mean"].where(table["candidate"] == "coin").groupby(moment, dropna=False)
    return table[of_coin.transform("max") > LEAST_DIVERGENCE]


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the titles and the rows of the panels of one condition.

    They are before and after the first switch. Those after it end with the next switch, which brings a third set.
    ``since`` is the number of iterations since the current set came in.
    """
    # The end of a set is the last iteration before the switch.
    ends = [table.loc[table["weights"] == f"pre_switch_{number}", "iter"].max() for number in (1, 2)]
    first, second = (math.inf if pd.isna(end) else end for end in ends)
    table = with_something_to_explain(table)
    before = table[table["iter"] <= first].assign(since=table["iter"])
    after = table[(table["iter"] > first) & (table["iter"] <= second)]
    after = after.assign(since=after["iter"] - first)
    return [
        ("the set that is learned", before[before["sequence_set"] == 0]),
        ("after the switch: the new set", after[after["sequence_set"] == 1]),
        ("after the switch: the old set", after[after["sequence_set"] == 0]),
    ]


table = read_table_of_group(snakemake.input.model_comparison)
drawn = [
    (lines(model, label), panels(rows))
    for model, of_model in by_model(table)
    for label, _, rows in conditions(of_model)
]
alone = table["kl_mean"].isna().all()
nothing = "one seed: no others to fit on" if alone else "hardly different from a coin"
columns = 3 if (table["weights"] == "pre_switch_1").any() else 1
figure, axes = new_figure(len(drawn), columns, width=2.6, height=1.9, sharex=True, sharey=True)
for (label, of_condition), row in zip(drawn, axes, strict=True):
    for ax, (title, rows) in zip(row, of_condition, strict=False):
        draw_panel(ax, rows, nothing)
        if ax in axes[0]:
            ax.set_title(title)
        if ax in axes[-1]:
            ax.set_xlabel("iterations since the set came in")
    row[0].set_ylabel(lines(label, "share of KL explained"))
figure.suptitle(
    title_of_figure(snakemake, "How much of a transformer's predictions each theory explains"), fontsize=9
)
legend_below(figure, axes)
save_figure(figure, snakemake)
