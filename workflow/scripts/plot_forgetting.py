"""Recall of earlier sets against the iterations since each was left.

Fitted laws stand beside it, and how well each predicts a seed that it was not fitted to.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.figures.drawing import (
    REFERENCE,
    draw_chance,
    draw_ideal,
    draw_points,
    legend_below,
    new_figure,
    save_figure,
)
from memorization.figures.labels import lines, ranks_label
from memorization.figures.selection import by_model, conditions, log_spaced, rank_bands
from memorization.storage.log import start_log
from memorization.tables.registry import FORMS_OF_FORGETTING, read_table_of_group

NEEDS = ("a switch", "tests of earlier sets")
# The number of measured points in a panel.
POINTS = 14
LABELS = [form.replace("_", " ") for form in FORMS_OF_FORGETTING]
MARKERS = dict(zip(FORMS_OF_FORGETTING, "os^", strict=True))
DASHES = dict(zip(FORMS_OF_FORGETTING, [(0, (1, 1)), (0, (4, 2)), "-"], strict=True))


def shown_bands(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the bands of rank of a model that are shown.

    These are all ranks, the most frequent tested sequence and the rarest band.
    """
    bands = rank_bands(rows)
    all_ranks = max(bands, key=lambda band: band[1] - band[0])
    single = [band for band in bands if band != all_ranks]
    return [all_ranks, *([single[0], single[-1]] if len(single) > 1 else [])]


def in_band(rows: pd.DataFrame, low: int, high: int) -> pd.DataFrame:
    """Return the rows of one band of rank."""
    return rows[(rows["rank_low"] == low) & (rows["rank_high"] == high)]


def draw_curves(ax: Axes, of_model: pd.DataFrame, low: int, high: int) -> None:
    """Draw the measured recall of each condition, and the laws fitted to it.

    Both are those in one band of rank.
    """
    for label, look, rows in conditions(of_model):
        rows = in_band(rows, low, high)
        rows = rows[rows["iters_since_switch"] > 0]
        draw_ideal(ax, rows, rows["iters_since_switch"], "recall")
        points = log_spaced(rows, POINTS)
        x = points["iters_since_switch"]
        draw_points(ax, x, points, "recall", color=look.colour, label=label or "measured")
        for form, dashes in DASHES.items():
            ax.plot(
                rows["iters_since_switch"], rows[f"{form}_mean"], color=look.colour, linewidth=1, linestyle=dashes
            )
    draw_chance(ax, "recall")
    ax.set_xscale("log")
    ax.set_ylim(-0.25, 1.05)
    ax.set_xlabel("iterations since the set was left")


def draw_errors(ax: Axes, of_model: pd.DataFrame, low: int, high: int) -> None:
    """Draw how much larger the left-out error of each law is than the best law's.

    Each condition is drawn, in one band of rank.
    """
    ax.axhline(0, **REFERENCE)
    for k, (_, look, rows) in enumerate(conditions(of_model)):
        rows = in_band(rows, low, high)
        for x, form in enumerate(FORMS_OF_FORGETTING):
            of_form = rows[rows["form"] == form]
            style = {"color": look.colour, "marker": MARKERS[form]}
            draw_points(ax, [x + 0.15 * k] * len(of_form), of_form, "above_best", **style)
    # An interval that is far wider than the means is cut off.
    most = in_band(of_model, low, high)["above_best_mean"].max()
    most = max(most, 0.015) if pd.notna(most) else 0.015
    ax.set_xticks(range(len(LABELS)), [label.replace(" ", "\n") for label in LABELS])
    ax.set_ylim(-1.1 * most, 1.6 * most)
    ax.set_xlim(-0.5, len(LABELS) - 0.2)


start_log(snakemake.log[0])
curves = by_model(read_table_of_group(snakemake.input.forgetting_curves))
fits = read_table_of_group(snakemake.input.forgetting_fits)
figure, axes = new_figure(2 * len(curves), 3, width=2.7, height=2.1, sharex=False, sharey=False)
for i, (model, curves_of_model) in enumerate(curves):
    # A curve of few points has no fit.
    fits_of_model = fits[fits["model"].isin(curves_of_model["model"])]
    for j, (low, high) in enumerate(shown_bands(curves_of_model)):
        draw_curves(axes[2 * i, j], curves_of_model, low, high)
        axes[2 * i, j].set_title("all ranks" if j == 0 else ranks_label(low, high))
        draw_errors(axes[2 * i + 1, j], fits_of_model, low, high)
    axes[2 * i, 0].set_ylabel(lines(model, "recall"))
    axes[2 * i + 1, 0].set_ylabel(lines(model, "error above the best"))
for label, dashes in zip(LABELS, DASHES.values(), strict=True):
    axes[0, 0].add_line(Line2D([], [], color="0.3", linewidth=1, linestyle=dashes, label=f"fit: {label}"))
legend_below(figure, axes)
save_figure(figure, snakemake)
