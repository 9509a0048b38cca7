"""The pieces that several figures draw.

These are panels, means with their intervals, chance, switches and legends.
"""

import math
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ..storage.cache import write_figure
from ..storage.provenance import write_provenance
from .labels import AXIS_LABELS, lines, look_of_weights, set_label
from .selection import by_model, conditions

matplotlib.use("agg")
# A matplotlibrc of the user, or of the folder, changes no figure.
matplotlib.rcdefaults()
matplotlib.style.use(Path(__file__).with_name("memorization.mplstyle"))

# A legend below a figure needs this width, in inches.
MIN_WIDTH = 3.4
CHANCE = {"accuracy": 0.5, "loss": math.log(2), "recall": 0.0}
# Lines that are neither measured nor fitted: chance, the ideal observer, a ceiling, a law.
IDEAL = {"color": "0.45", "linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 0.5}
REFERENCE = {"color": "0.55", "linewidth": 0.8, "linestyle": (0, (1, 2)), "zorder": 0}
THEORY = {"color": "0.3", "linewidth": 1}


def new_figure(
    rows: int,
    columns: int,
    width: float,
    height: float,
    sharex: str | bool = True,
    sharey: str | bool = "row",
) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` × ``columns`` panels, and its axes.

    A panel has ``width`` × ``height`` inches.
    """
    figure = Figure(figsize=(max(columns * width, MIN_WIDTH), rows * height))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, axes


def save_figure(figure: Figure, job: Any) -> None:
    """Write a figure to each output of a job, with its provenance.

    The job is the object ``snakemake`` of its script.
    """
    for path in job.output:
        write_figure(figure, path)
    write_provenance(job)


def condition_panels(
    table: pd.DataFrame, width: float, height: float
) -> tuple[Figure, Any, list[tuple[Axes, str, pd.DataFrame]]]:
    """Return a figure with a panel for each condition of a table.

    Returns the figure, all axes, and what to draw in which. With one model each condition has a column, accuracy
    above loss. With several, each model has a row of its conditions, accuracy alone.
    """
    models = by_model(table)
    metrics = tuple(AXIS_LABELS) if len(models) == 1 else ("accuracy",)
    conditions_of_models = [(model, conditions(rows)) for model, rows in models]
    columns = max(len(of_model) for _, of_model in conditions_of_models)
    figure, axes = new_figure(len(models) * len(metrics), columns, width, height, sharex="row")
    panels = []
    for i, (model, of_model) in enumerate(conditions_of_models):
        for j, metric in enumerate(metrics):
            row = axes[i * len(metrics) + j]
            row[0].set_ylabel(lines(model, AXIS_LABELS[metric]))
            for ax in row[len(of_model) :]:
                ax.set_visible(False)
            for ax, (label, _, rows) in zip(row, of_model, strict=False):
                if j == 0:
                    ax.set_title(textwrap.fill(label, 26))
                draw_chance(ax, metric)
                panels.append((ax, metric, rows))
    return figure, axes, panels


def label_below(panels: list[tuple[Axes, str, pd.DataFrame]], label: str) -> None:
    """Label the x axis of the lower panel of each condition.

    The panels are those that `condition_panels` made.
    """
    lowest = panels[-1][1]
    for ax, metric, _ in panels:
        if metric == lowest:
            ax.set_xlabel(label)
        else:
            ax.tick_params(labelbottom=False, which="both")


def draw_mean(axes: Axes, rows: pd.DataFrame, x: str, metric: str, **style: Any) -> None:
    """Draw the mean of ``metric`` over seeds against ``x``.

    The band is its 95 % confidence interval.
    """
    # A line through one point would not be seen.
    marker = {"marker": "o"} if len(rows) == 1 else {}
    (line,) = axes.plot(rows[x], rows[f"{metric}_mean"], **marker | style)
    low, high = rows[f"{metric}_low"], rows[f"{metric}_high"]
    axes.fill_between(rows[x], low, high, color=line.get_color(), alpha=0.18, linewidth=0)


def draw_points(axes: Axes, x: Any, rows: pd.DataFrame, metric: str, **style: Any) -> None:
    """Draw the means of ``metric`` over seeds as points at ``x``.

    The bars are their 95 % confidence intervals. ``style`` are arguments of ``Axes.errorbar``; ``linestyle="-"``
    joins the points.
    """
    mean = rows[f"{metric}_mean"]
    interval = [mean - rows[f"{metric}_low"], rows[f"{metric}_high"] - mean]
    axes.errorbar(x, mean, interval, **{"marker": "o", "linestyle": "", "elinewidth": 1} | style)


def draw_sets_before_and_after(
    ax: Axes, metric: str, rows: pd.DataFrame, x: Callable[[pd.DataFrame], pd.Series]
) -> None:
    """Draw a metric of the first two sets against ``x``.

    The rows are those that `selection.before_and_after` returns.
    """
    draw_ideal(ax, rows, x(rows), metric)
    for (weights, sequence_set), line in rows.groupby(["weights", "sequence_set"], sort=False):
        look = look_of_weights(weights)
        style = {"linestyle": "-", "marker": "o"} if sequence_set == 0 else {"linestyle": "--", "marker": "s"}
        label = f"{set_label(sequence_set)}, {look.label}"
        draw_points(ax, x(line), line, metric, color=look.colour, label=label, **style)


def draw_chance(axes: Axes, metric: str) -> None:
    """Draw what guessing gives: accuracy 0.5, loss log 2, recall 0."""
    axes.axhline(CHANCE[metric], **REFERENCE)


def draw_ideal(axes: Axes, rows: pd.DataFrame, x: Any, metric: str, label: str | None = "ideal observer") -> None:
    """Draw what the ideal observer has on the sequences of ``rows``, against ``x``.

    It is a mean over the seeds, and over rows with the same ``x``.
    """
    ideal = rows[f"ideal_{metric}_mean"].groupby(pd.Series(x, index=rows.index)).mean()
    # A line through one point would not be seen.
    marker = {"marker": "_", "markersize": 9} if len(ideal) == 1 else {}
    axes.plot(ideal.index, ideal, **IDEAL | marker, label=label)


def draw_ideal_recall(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the mean recall of the ideal observer that knows the set of ``rows``."""
    axes.axhline(2 * rows["ideal_accuracy_mean"].mean() - 1, **IDEAL, label="ideal observer")


def draw_switches(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a line at each switch of any condition of a table.

    The table has the columns ``iter`` and ``current_set``.
    """
    for _, _, rows in conditions(table):
        for switch in rows.groupby("current_set")["iter"].max().iloc[:-1]:
            axes.axvline(switch, color="0.8", linewidth=0.8, zorder=0)


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers.

    If it has few decades, the numbers are at 1, 2, 5, 10, … If the data contain a 0, the axis is linear from 0 to
    the least positive number.
    """
    low, high = axis.get_data_interval()
    if low <= 0:
        set_scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
        set_scale("symlog", linthresh=axis.get_minpos())
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    if low == high:
        axis.axes.set(**{f"{axis.axis_name}lim": (low / 2, high * 2)})
    few = high < 60 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"))


def log_axis_of(axis: Axis, values: Iterable[float]) -> None:
    """Make an axis logarithmic, with a number at each of the swept ``values`` alone."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(FixedLocator(sorted(set(values))))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def note(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why nothing is drawn in it."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4", fontsize=8)


def limit_to_means(axes: Axes, means: pd.Series) -> None:
    """Limit the y axis to the means; an interval that is far wider is cut off."""
    margin = 0.15 * (means.max() - means.min())
    axes.set_ylim(means.min() - margin, means.max() + margin)


def legend_below(figure: Figure, axes: Any) -> None:
    """Draw one legend below the panels ``axes``.

    It has every label that is in any of them, once.
    """
    handles = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width = figure.get_figwidth()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2 if width > 5 else 1)


def legend_beneath(ax: Axes, drop: float, handles: list[Any] | None = None, ncols: int = 1) -> None:
    """Draw the legend of one panel beneath it.

    It lies ``drop`` of the panel's height lower. There is none if nothing has a label.
    """
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -drop), ncols=ncols)
