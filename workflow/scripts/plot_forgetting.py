"""Recall of earlier sets after they were left, beside fitted laws.

Each law's error on a seed that it was not fitted to stands beside it.
"""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    IDEAL,
    REFERENCE,
    draw_across,
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    log_axis,
    new_figure,
    note,
    save_figure,
)
from memorization.figures.labels import BLACK, BLUE, GREEN, RED, lines
from memorization.figures.selection import by_model, conditions, first_condition
from memorization.figures.titles import title_of_figure
from memorization.tables.registry import read_table_of_group

NEEDS = ("a switch", "tests of earlier sets")
# Of a colour are a law and the same law with a floor: solid, with filled markers.
LAWS = {
    "exponential": {"color": BLUE, "linestyle": ":", "marker": "o", "markerfacecolor": "white"},
    "power_law": {"color": RED, "linestyle": ":", "marker": "s", "markerfacecolor": "white"},
    "stretched_exponential": {"color": GREEN, "linestyle": ":", "marker": "^", "markerfacecolor": "white"},
    "exponential_with_floor": {"color": BLUE, "linestyle": "-", "marker": "o"},
    "stretched_exponential_with_floor": {"color": GREEN, "linestyle": "-", "marker": "^"},
}
LABELS = {law: law.replace("_with_", " + ").replace("_", " ") for law in LAWS}


def draw_curve(ax: Axes, rows: pd.DataFrame) -> None:
    """Draw the measured recall of one condition, and the laws fitted to it."""
    # The moment of the switch has no place on a logarithmic axis.
    rows = rows[rows["iters_since_switch"] > 0]
    x = rows["iters_since_switch"]
    draw_chance(ax, "recall")
    draw_ideal(ax, rows, x, "recall")
    for law, style in LAWS.items():
        ax.plot(x, rows[f"{law}_mean"], linewidth=1.2, color=style["color"], linestyle=style["linestyle"])
    draw_points(ax, x, rows, "recall", color=BLACK)
    log_axis(ax.xaxis)
    ax.set_ylim(-0.08, 1.02)


def draw_errors(ax: Axes, of_model: pd.DataFrame, labels: list[str]) -> None:
    """Draw the excess error of each law, with a row for each condition."""
    ax.axvline(0, **REFERENCE)
    for place, (_, _, rows) in enumerate(conditions(of_model)):
        for i, (law, style) in enumerate(LAWS.items()):
            row = rows[rows["form"] == law]
            style = style | {"linestyle": "", "elinewidth": 0.8, "capsize": 0}
            draw_across(ax, place + 0.15 * (i - 2), row, "excess_error", **style)
    ax.set_yticks(range(len(labels)) if any(labels) else [], labels if any(labels) else [])
    ax.set_ylim(len(labels) - 0.5, -0.5)
    if of_model["excess_error_mean"].isna().all():
        note(ax, "one seed, or too few tests:\nno error of a seed left out")


curves = by_model(read_table_of_group(snakemake.input.forgetting_curves))
fits = read_table_of_group(snakemake.input.forgetting_fits)
labels = [[label for label, _, _ in conditions(of_model)] for _, of_model in curves]
heights = [max(1.5, 0.3 * len(of_model)) for of_model in labels]
figure, axes = new_figure(len(curves), 2, width=2.8, height=heights, sharex="col", sharey=False)
for (model, of_model), of_labels, (left, right) in zip(curves, labels, axes, strict=True):
    draw_curve(left, first_condition(of_model))
    left.set_title(of_labels[0])
    left.set_ylabel(lines(model, "recall"))
    draw_errors(right, fits[fits["model"].isin(of_model["model"])], of_labels)
most = fits["excess_error_mean"].max()
if pd.notna(most):
    # An interval that is far wider than the means are apart is cut off.
    axes[0, 1].set_xlim(-0.35 * most, 1.4 * most)
axes[-1, 0].set_xlabel("iterations since the set was left")
axes[-1, 1].set_xlabel("excess error on a seed\nleft out of the fit (recall)")
title = title_of_figure(snakemake, "Recall of a set that was left, and how well laws predict it")
figure.suptitle(title)
legend_below(
    figure,
    axes,
    [
        Line2D([], [], color=BLACK, marker="o", linestyle="", label="measured"),
        Line2D([], [], **IDEAL, label="ideal observer"),
        Line2D([], [], **REFERENCE, label="chance; no excess error"),
        *(Line2D([], [], **style, label=LABELS[law]) for law, style in LAWS.items()),
    ],
)
save_figure(figure, snakemake)
