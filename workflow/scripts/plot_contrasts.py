"""A forest plot: how each condition differs from the reference of its model.

The differences of accuracy are paired by seed: on the last set, in the mean over its training and at the end.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import json
import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.figures.drawing import REFERENCE, PanelFigure, legend_below, new_figure, save_figure
from memorization.figures.labels import condition_label, look_of_model
from memorization.figures.selection import condition_columns, last_set
from memorization.figures.titles import title_of_figure
from memorization.tables.contrasts import EQUIVALENCE_MARGIN
from memorization.tables.registry import read_table_of_group

NEEDS = ("two conditions of one model",)
# Whether a difference is significant, and whether it is equivalent to none.
MARKS = {
    (True, False): ("o", True, "differs (p < 0.05 by Holm)"),
    (False, False): ("o", False, "undecided"),
    (False, True): ("D", False, f"the same within ± {EQUIVALENCE_MARGIN} (p < 0.05)"),
    (True, True): ("D", True, f"differs, by less than {EQUIVALENCE_MARGIN}"),
}


def labels_of_model(rows: pd.DataFrame) -> tuple[str, dict[int, str]]:
    """Return the label of the reference of a model, and that of each row.

    A contrast is told by the settings in which it differs from the reference.
    """
    columns = condition_columns(rows)
    reference = json.loads(rows["reference"].iloc[0])
    all_conditions = pd.concat([pd.DataFrame([reference], columns=columns), rows[columns]])
    labels = {}
    for row, condition in rows[columns].to_dict("index").items():
        same = {key for key, value in reference.items() if value == condition[key]}
        # One by one, since a truth value that is false goes unsaid beside others.
        words = [condition_label({key: condition[key]}, all_conditions) for key in columns if key not in same]
        labels[row] = textwrap.fill(", ".join(words), 44)
    return condition_label(reference, all_conditions), labels


def lay_out(rows: pd.DataFrame) -> tuple[dict[int, float], dict[float, str]]:
    """Return the height of each row of one model, and the labels by height.

    The heights go down from the label of the reference at 0, in lines of text.
    """
    reference, contrasts = labels_of_model(rows)
    heights: dict[int, float] = {}
    above = textwrap.fill(f"{look_of_model(rows['model'].iloc[0]).label}, against “{reference}”", 44)
    height, labels = 0.0, {0.0: above}
    # The same contrast has a row for each moment.
    for label in dict.fromkeys(contrasts.values()):
        height -= 1 + 0.4 * (above.count("\n") + label.count("\n"))
        above = labels[height] = label
        heights |= {row: height for row, of_row in contrasts.items() if of_row == label}
    return heights, labels


def draw_contrasts(ax: Axes, rows: pd.DataFrame, heights: dict[int, float]) -> None:
    """Draw the differences at one moment, a row each."""
    ax.axvspan(-EQUIVALENCE_MARGIN, EQUIVALENCE_MARGIN, color="0.92", linewidth=0, zorder=-1)
    ax.axvline(0, **REFERENCE)
    for index, row in rows.iterrows():
        marker, filled, label = MARKS[row["p_holm"] < 0.05, row["p_equivalent"] < 0.05]
        colour = look_of_model(row["model"]).colour
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "elinewidth": 1.2}
        if not filled:
            style["markerfacecolor"] = "white"
        mean = row["difference_mean"]
        interval = [[mean - row["difference_low"]], [row["difference_high"] - mean]]
        ax.errorbar([mean], [heights[index]], xerr=interval, **style, label=label)


def limit_to_differences(ax: Axes, rows: pd.DataFrame) -> None:
    """Limit the x axis to the intervals.

    One that is wider than the means are apart is cut off.
    """
    low = min(rows["difference_mean"].min(), -EQUIVALENCE_MARGIN)
    high = max(rows["difference_mean"].max(), EQUIVALENCE_MARGIN)
    apart = high - low
    lowest = max(low - 0.6 * apart, min(rows["difference_low"].min(), low))
    highest = min(high + 0.6 * apart, max(rows["difference_high"].max(), high))
    ax.set_xlim(lowest - 0.08 * apart, highest + 0.08 * apart)


def label_rows(ax: Axes, labels: dict[float, str]) -> None:
    """Write the label of each row, that of the reference in bold."""
    ax.set_ylim(min(labels) - 0.8, 0.8 + 0.4 * labels[0].count("\n"))
    ax.set_yticks([*labels], labels.values())
    ax.get_yticklabels()[0].set_fontweight("bold")


def draw_legend(figure: PanelFigure, axes: Any) -> None:
    """Draw the marks that are in any panel, in black, in the order of `MARKS`."""
    drawn = {label for ax in axes.flat for label in ax.get_legend_handles_labels()[1]}
    style = {"color": "black", "linestyle": "", "markersize": 5}
    handles = [
        Line2D([], [], marker=marker, markerfacecolor="black" if filled else "white", label=label, **style)
        for marker, filled, label in MARKS.values()
        if label in drawn
    ]
    legend_below(figure, axes, handles)


learning = read_table_of_group(snakemake.input.contrasts_while_learning)
moments = {
    "while the set is learned": learning.assign(weights="final"),
    "at the end": read_table_of_group(snakemake.input.contrasts),
}
# One index over both, so that the rows of a contrast stand side by side.
table = pd.concat([last_set(rows).assign(moment=moment) for moment, rows in moments.items()], ignore_index=True)
table = table[table["metric"] == "accuracy"]
models = [(rows, *lay_out(rows)) for _, rows in table.groupby("model", sort=False)]
numbers = sorted({table["num_seeds"].min(), table["num_seeds"].max()})
pairs = f"{' to '.join(map(str, numbers))} pairs"
panel_heights = [max(1.1, 0.21 * (2 - min(labels))) for *_, labels in models]
# Each model has a scale of its own.
figure, axes = new_figure(len(models), len(moments), width=2.6, height=panel_heights, sharex="row")
for row, (rows, heights, labels) in zip(axes, models, strict=True):
    for ax, moment in zip(row, moments, strict=True):
        draw_contrasts(ax, rows[rows["moment"] == moment], heights)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    limit_to_differences(row[0], rows)
    label_rows(row[0], labels)
for ax, moment in zip(axes[0], moments, strict=True):
    ax.set_title(moment)
for ax in axes[-1]:
    ax.set_xlabel(f"difference of accuracy\n(mean and 95 % interval of {pairs})")
figure.suptitle(title_of_figure(snakemake, "Differences from a reference on the last set, paired by seed"))
draw_legend(figure, axes)
save_figure(figure, snakemake)
