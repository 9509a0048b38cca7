"""The look that all figures share: sizes, colours, chance, bands of confidence."""

import math
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

matplotlib.use("agg")
matplotlib.rcParams |= {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}

# Okabe and Ito's palette, which stays apart for every kind of colour vision.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = [
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
]
CONDITION_COLOURS = {
    ("freeze", "none"): BLACK,
    ("freeze", "attention"): BLUE,
    ("freeze", "mlp"): RED,
    ("freeze", "embeddings"): GREEN,
    ("sequence_sampling_distribution", "zipf"): PURPLE,
    ("sequence_sampling_distribution", "uniform"): SKY,
}
WEIGHTS_COLOURS = {
    "pre_switch_1": ORANGE,
    "final": BLACK,
    "swap_mlp": RED,
    "swap_attention": BLUE,
}
SPARE_COLOURS = [BLACK, BLUE, RED, GREEN, ORANGE, PURPLE, SKY, YELLOW]

WEIGHTS_LABELS = {
    "pre_switch_1": "just before the switch",
    "final": "at the end",
    "swap_mlp": "at the end, MLP swapped back",
    "swap_attention": "at the end, attention swapped back",
}
SETTING_LABELS = {"sequence_sampling_distribution": "sampling"}

CHANCE = {"accuracy": 0.5, "loss": math.log(2)}
AXIS_LABELS = {"accuracy": "accuracy", "loss": "loss (nats a bit)"}


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` × ``columns`` panels of ``width`` × ``height`` inches, and its axes."""
    figure = Figure(figsize=(columns * width, rows * height))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    return figure, axes


def condition_columns(table: pd.DataFrame, first_key: str) -> list[str]:
    """Return the swept settings of a table: the columns before its first key."""
    return list(table.columns[: table.columns.get_loc(first_key)])


def conditions(table: pd.DataFrame, first_key: str) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the label, the colour and the rows of each condition of a table, in its order."""
    columns = condition_columns(table, first_key)
    if not columns:
        return [("", BLACK, table)]
    found = []
    for i, (values, rows) in enumerate(table.groupby(columns, sort=False, dropna=False)):
        label = ", ".join(
            f"{SETTING_LABELS.get(name, name.replace('_', ' '))}: {value}"
            for name, value in zip(columns, values, strict=True)
        )
        named = CONDITION_COLOURS.get((columns[0], values[0])) if len(columns) == 1 else None
        found.append((label, named or SPARE_COLOURS[i % len(SPARE_COLOURS)], rows))
    return found


def draw_mean(axes: Axes, rows: pd.DataFrame, x: str, metric: str, **style: Any) -> None:
    """Draw the mean of ``metric`` over seeds against ``x``, with its 95 % confidence band."""
    (line,) = axes.plot(rows[x], rows[f"{metric}_mean"], **style)
    axes.fill_between(
        rows[x],
        rows[f"{metric}_low"],
        rows[f"{metric}_high"],
        color=line.get_color(),
        alpha=0.18,
        linewidth=0,
    )


def draw_points(axes: Axes, x: Any, rows: pd.DataFrame, metric: str, **style: Any) -> None:
    """Draw the means of ``metric`` over seeds as points at ``x``, with their 95 % confidence intervals."""
    mean = rows[f"{metric}_mean"]
    interval = [mean - rows[f"{metric}_low"], rows[f"{metric}_high"] - mean]
    axes.errorbar(x, mean, interval, elinewidth=1, **style)


def limit_to_means(axes: Axes, means: pd.Series) -> None:
    """Let the axis show all ``means``; an interval that is far wider is cut."""
    margin = 0.15 * (means.max() - means.min())
    axes.set_ylim(means.min() - margin, means.max() + margin)


def draw_chance(axes: Axes, metric: str) -> None:
    """Draw what guessing gives: accuracy 0.5, loss log 2."""
    axes.axhline(CHANCE[metric], color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)


def band_centre(rows: pd.DataFrame, name: str, offset: int) -> pd.Series:
    """Return the geometric centre of each band of ``name``, counted from ``offset``, for a log axis."""
    return ((rows[f"{name}_low"] + offset) * (rows[f"{name}_high"] + offset)) ** 0.5


def set_label(sequence_set: int, switched_to: int = 1) -> str:
    """Return what a figure calls a sequence set, seen from the first switch."""
    if sequence_set < 0:
        return "held out"
    return f"set {sequence_set} ({'pre' if sequence_set < switched_to else 'post'}-switch)"
