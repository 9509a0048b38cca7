"""The pieces that several figures draw.

These are panels, means with their intervals, chance, switches and legends.
"""

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from ..storage.cache import write_figure
from ..storage.provenance import write_provenance
from .labels import AXIS_LABELS, Look, lines
from .layout import (
    PAGE,
    ROOM_OF_LEGEND,
    ROOM_OF_TITLE,
    SMALLEST_PANEL,
    PanelFigure,
    font_size,
    grid_columns,
    wrapped,
)
from .selection import by_model, conditions

# Also if it was imported before this room was.
matplotlib.use("agg")
# A matplotlibrc of the user, or of the folder, changes no figure.
matplotlib.rcdefaults()
matplotlib.style.use(Path(__file__).with_name("memorization.mplstyle"))

# A line through as few points would claim a course between them that nobody measured.
FEWEST_OF_A_LINE = 4
# Values of which the largest is so many times the least lie on a logarithmic axis.
WIDE = 4
# The label of a row is wrapped to this width, in inches.
MAX_LABEL = 2.4
# A line has its interval at so many points, if there are not too many lines.
NUM_BARS = 4
MOST_WITH_BARS = 8
# Accuracies that lie closer together are drawn as far apart as this: less is noise.
MIN_SPAN = 0.02
# The marks of an interval that goes on beyond the panel: to the left and right, below and above.
EDGES = ("<>", "v^")
CUT = Line2D([], [], color="0.4", linestyle="", marker="^", markersize=3)
CHANCE = {"accuracy": 0.5, "loss": math.log(2), "recall": 0.0}
# Lines that are neither measured nor fitted: chance, the ideal observer, a ceiling, a law.
IDEAL = {"color": "0.45", "linewidth": 1, "linestyle": (0, (4, 2)), "zorder": 0.5}
REFERENCE = {"color": "0.55", "linewidth": 0.8, "linestyle": (0, (1, 2)), "zorder": 0}
THEORY = {"color": "0.3", "linewidth": 1}
STORED = THEORY | {"linestyle": (0, (5, 1, 1, 1)), "linewidth": 0.8}


def new_figure(
    rows: int,
    columns: int,
    width: float,
    height: float | list[float],
    sharex: str | bool = True,
    sharey: str | bool = "row",
) -> tuple[PanelFigure, Any]:
    """Return a figure of ``rows`` × ``columns`` panels, and its axes.

    A panel is ``width`` × ``height`` inches, without its labels, or smaller if the page has no room for it. Each
    row can have a height of its own.
    """
    heights = height if isinstance(height, list) else [height] * rows
    figure = PanelFigure(columns, width, heights)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey, height_ratios=heights)
    figure.panels = list(axes.flat)
    return figure, axes


def save_figure(figure: PanelFigure, job: Any) -> None:
    """Write a figure to each output of a job, with its provenance.

    The job is the object ``snakemake`` of its script.
    """
    if any([mark_cut_intervals(ax) for ax in figure.panels]):
        figure.legend_entries |= {"interval goes on beyond the panel": CUT}
    figure.fit()
    for path in job.output:
        write_figure(figure, path)
    write_provenance(job)


def condition_panels(
    table: pd.DataFrame, width: float, height: float
) -> tuple[PanelFigure, list[tuple[Axes, pd.DataFrame]]]:
    """Return a figure of accuracies with a panel for each condition of a table.

    Returns the figure, and what to draw in which panel. Each model begins a row, and has as many as it needs.
    """
    of_models = [(model, conditions(rows)) for model, rows in by_model(table)]
    numbers = [len(of_model) for _, of_model in of_models]
    columns = grid_columns(numbers, width)
    rows_of = [math.ceil(number / columns) for number in numbers]
    figure, axes = new_figure(sum(rows_of), columns, width, height, sharey=True)
    panels = []
    for i, (model, of_model) in enumerate(of_models):
        places = axes[sum(rows_of[:i]) : sum(rows_of[: i + 1])]
        for row in places:
            row[0].set_ylabel(lines(model, AXIS_LABELS["accuracy"]))
        for ax, (label, _, rows) in zip(places.flat, of_model, strict=False):
            title_panel(ax, label)
            draw_chance(ax, "accuracy")
            panels.append((ax, rows))
        for ax in places.flat[len(of_model) :]:
            ax.set_visible(False)
    return figure, panels


def row_panels(
    shown: list[tuple[str, list[tuple[str, Any, pd.DataFrame]]]], width: float, lines_per_row: int = 1
) -> tuple[PanelFigure, list[Axes]]:
    """Return a figure with a panel for each model, and the panels.

    A panel has a row for each condition of its model. ``shown`` are the models, each with its `conditions`. A
    row has room for ``lines_per_row`` points, one below the other, and for its label.
    """
    size = font_size("ytick.labelsize")
    labels = [[wrapped(label, MAX_LABEL, size) for label, _, _ in of_model] for _, of_model in shown]
    lines_of = max([lines_per_row * 0.75, *(1 + label.count("\n") for of_model in labels for label in of_model)])
    room = (PAGE[1] - ROOM_OF_LEGEND - ROOM_OF_TITLE * len(shown)) / sum(map(len, labels))
    height = min(0.1 + lines_of * 1.2 * size / 72, room)
    heights = [max(SMALLEST_PANEL, height * len(of_model)) for of_model in labels]
    figure, axes = new_figure(len(shown), 1, width, heights, sharex=True, sharey=False)
    for ax, (title, _), of_model in zip(axes[:, 0], shown, labels, strict=True):
        ax.set_title(title)
        ax.set_yticks(range(len(of_model)), of_model)
        ax.set_ylim(len(of_model) - 0.5, -0.5)
    return figure, list(axes[:, 0])


def title_panel(ax: Axes, title: str) -> None:
    """Write a title above a panel, in lines as wide as the panel."""
    figure = ax.get_figure()
    width = min(figure.panel_width, PAGE[0] / figure.columns - 0.3)
    ax.set_title(wrapped(title, width, font_size("axes.titlesize")))


def label_lowest(figure: PanelFigure, label: str) -> None:
    """Label the x axis of the lowest panel of each column.

    The axis has its numbers there alone.
    """
    for column in range(figure.columns):
        of_column = [ax for ax in figure.panels[column :: figure.columns] if ax.get_visible()]
        for ax in of_column[:-1]:
            ax.tick_params(labelbottom=False, which="both")
        for ax in of_column[-1:]:
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(label)


def draw_mean(axes: Axes, rows: pd.DataFrame, x: str, metric: str, **style: Any) -> None:
    """Draw the mean of ``metric`` over seeds against ``x``.

    The band is its 95 % confidence interval. Few points are drawn as points.
    """
    if len(rows) < FEWEST_OF_A_LINE:
        draw_points(axes, rows[x], rows, metric, **style | {"linestyle": ""})
        return
    (line,) = axes.plot(rows[x], rows[f"{metric}_mean"], **style)
    low, high = rows[f"{metric}_low"], rows[f"{metric}_high"]
    axes.fill_between(rows[x], low, high, color=line.get_color(), alpha=0.18, linewidth=0)


def draw_line_with_bars(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    metric: str,
    look: Look,
    place: int = 0,
    of_all: int = 1,
    log: bool = False,
) -> None:
    """Draw the mean of ``metric`` over seeds as a line with intervals at a few points.

    They are 95 % confidence intervals. The line is the one at ``place`` of ``of_all``, each of which has its
    intervals at other points, evenly spread over an axis that is logarithmic if ``log``. Many lines have none,
    and few points are drawn as points.
    """
    style = {"zorder": 3 - place / 1000}
    if len(rows) < FEWEST_OF_A_LINE:
        draw_points(axes, rows[x], rows, metric, **look.points, **style)
        return
    axes.plot(rows[x], rows[f"{metric}_mean"], **look.line, **style, linewidth=1.2)
    if of_all <= MOST_WITH_BARS:
        number = min(NUM_BARS, 1 + len(rows) // 8)
        shares = (np.arange(number) + (place + 1) / of_all) / number
        along = np.log1p(rows[x]) if log else rows[x]
        wanted = along.min() + shares * (along.max() - along.min())
        nearest = [int(np.abs(along - one).to_numpy().argmin()) for one in wanted]
        points = rows.iloc[sorted(set(nearest))]
        draw_points(axes, points[x], points, metric, **look.points, **style)


def condition_handles(of_models: list[list[tuple[str, Look, pd.DataFrame]]], *more: Look) -> list[Line2D]:
    """Return an entry of the legend for each look of the conditions of several models.

    ``of_models`` are the `conditions` of each model; ``more`` looks have an entry each. If conditions of two
    models look the same, the entry has the labels of both.
    """
    labels: dict[Any, list[str]] = {}
    for look in [*(look for _, look, _ in itertools.chain(*of_models)), *more]:
        of_look = labels.setdefault((look.colour, look.marker, look.linestyle), [])
        if look.label and look.label not in of_look:
            of_look.append(look.label)
    return [
        Line2D([], [], color=colour, marker=marker, linestyle=linestyle, label=" / ".join(of_look))
        for (colour, marker, linestyle), of_look in labels.items()
        if of_look
    ]


def draw_points(axes: Axes, x: Any, rows: pd.DataFrame, metric: str, **style: Any) -> None:
    """Draw the means of ``metric`` over seeds as points at ``x``.

    The bars are their 95 % confidence intervals. ``style`` are arguments of ``Axes.errorbar``; ``linestyle="-"``
    joins the points, unless they are few.
    """
    mean = rows[f"{metric}_mean"]
    interval = [mean - rows[f"{metric}_low"], rows[f"{metric}_high"] - mean]
    few = {"linestyle": ""} if mean.notna().sum() < FEWEST_OF_A_LINE else {}
    axes.errorbar(x, mean, interval, **{"marker": "o", "linestyle": "", "elinewidth": 1} | style | few)


def draw_across(ax: Axes, y: float, rows: pd.DataFrame, metric: str, **style: Any) -> None:
    """Draw the mean of ``metric`` over seeds in a row of a panel.

    The bar is its 95 % confidence interval.
    """
    mean = rows[f"{metric}_mean"]
    interval = [mean - rows[f"{metric}_low"], rows[f"{metric}_high"] - mean]
    ax.errorbar(mean, [y] * len(rows), xerr=interval, **{"linestyle": "", "elinewidth": 1} | style)


def draw_references_across(ax: Axes, y: float, rows: pd.DataFrame, metric: str) -> None:
    """Draw chance and the ideal observer in a row of a panel.

    The ideal observer is that of the sequences of ``rows``.
    """
    ax.vlines(CHANCE[metric], y - 0.5, y + 0.5, **REFERENCE, label="chance")
    ax.vlines(rows[f"ideal_{metric}_mean"].mean(), y - 0.5, y + 0.5, **IDEAL, label="ideal observer")


def draw_level(ax: Axes, rows: pd.DataFrame, metric: str, **style: Any) -> None:
    """Draw the one mean of ``rows`` over seeds as a level.

    The band is its 95 % confidence interval.
    """
    (mean,), (low,), (high,) = (rows[f"{metric}_{bound}"] for bound in ("mean", "low", "high"))
    ax.axhline(mean, **style)
    ax.axhspan(low, high, alpha=0.18, linewidth=0, **style)


def mark_cut_intervals(ax: Axes) -> bool:
    """Mark each interval that goes on beyond its panel with a triangle at the edge.

    Returns whether there is one. The band of a line has no mark.
    """
    limits = np.sort([ax.get_xlim(), ax.get_ylim()], axis=1)
    marks = []
    for bars in [bars for found in ax.containers if isinstance(found, ErrorbarContainer) for bars in found[2]]:
        for segment in filter(len, bars.get_segments()):
            along = int(segment[0, 0] == segment[1, 0])
            ends, (low, high), (before, after) = np.sort(segment[:, along]), limits[along], EDGES[along]
            for edge, marker, beyond in ((low, before, ends[0] < low), (high, after, ends[1] > high)):
                if beyond:
                    place = np.where([not along, along], edge, segment[0])
                    marks.append((place, marker, bars.get_color()[0]))
    for place, marker, colour in marks:
        ax.plot(*place, marker=marker, color=colour, markersize=3, clip_on=False)
    bands = [band for band in ax.collections if isinstance(band, PolyCollection)]
    heights = [path.vertices[:, 1] for band in bands for path in band.get_paths()]
    return bool(marks) or any(y.min() < limits[1, 0] or y.max() > limits[1, 1] for y in heights)


def draw_chance(axes: Axes, metric: str, label: str | None = "chance") -> None:
    """Draw what guessing gives: accuracy 0.5, loss log 2, recall 0."""
    axes.axhline(CHANCE[metric], **REFERENCE, label=label)


def draw_ideal(axes: Axes, rows: pd.DataFrame, x: Any, metric: str, label: str | None = "ideal observer") -> None:
    """Draw what the ideal observer has on the sequences of ``rows``, against ``x``.

    It is a mean over the seeds, and over rows with the same ``x``.
    """
    ideal = rows[f"ideal_{metric}_mean"].groupby(pd.Series(x, index=rows.index)).mean()
    if len(ideal) == 1:
        axes.axhline(ideal.iloc[0], **IDEAL, label=label)
    else:
        axes.plot(ideal.index, ideal, **IDEAL, label=label)


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


def log_axis(axis: Axis, limits: tuple[float, float] | None = None) -> None:
    """Make an axis logarithmic, with plain numbers.

    If it has few decades, the numbers are at 1, 2, 5, 10, … If the data contain a 0, the axis is linear from 0 to
    the least positive number. The axis shows all data, or what lies between the ``limits``.
    """
    low, high = limits or axis.get_data_interval()
    if low <= 0:
        set_scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
        set_scale("symlog", linthresh=axis.get_minpos())
        axis.axes.set(**{f"{axis.axis_name}lim": (min(low, -0.2 * axis.get_minpos()), 1.3 * high)})
        axis.set_major_locator(FixedLocator([tick for tick in axis.get_majorticklocs() if low <= tick <= high]))
        axis.set_major_formatter(FuncFormatter(plain_number))
        return
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    if limits:
        axis.axes.set(**{f"{axis.axis_name}lim": limits})
    elif low == high:
        axis.axes.set(**{f"{axis.axis_name}lim": (low / 2, high * 2)})
    few = high < 60 * low
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=6))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(plain_number))


def plain_number(x: float, _: Any = None) -> str:
    """Return a number as an axis shows it: 1000 is 1k."""
    return f"{x / 1000:g}k" if x >= 1000 else f"{x:g}"


def log_axis_of(axis: Axis, values: Iterable[float]) -> None:
    """Make an axis logarithmic, with a number at each of the swept ``values`` alone."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(FixedLocator(sorted(set(values))))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def axis_of_values(axis: Axis, values: Iterable[float]) -> None:
    """Put a number at each of the swept ``values`` alone.

    If the values span a wide range, the axis is logarithmic.
    """
    low, high = min(values), max(values)
    if low > 0 and high >= WIDE * low:
        log_axis_of(axis, values)
        return
    axis.set_ticks(sorted(set(values)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def note(axes: Axes, text: str) -> None:
    """Say in the middle of a panel why nothing is drawn in it."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.4", fontsize=8)


def limit_to_means(axes: Axes, means: pd.Series, *bounds: pd.Series) -> None:
    """Limit the y axis to the means, and to their intervals as far as they have room.

    The intervals have a third of the range of the means on each side. `save_figure` marks the intervals that are
    cut off.
    """
    low, high = means.min(), means.max()
    reach = max(high - low, MIN_SPAN) / 3
    for values in bounds:
        low = min(low, max(values.min(), means.min() - reach))
        high = max(high, min(values.max(), means.max() + reach))
    margin = 0.06 * max(high - low, MIN_SPAN)
    axes.set_ylim(low - margin, high + margin)


def limit_to(axes: Axes, rows: pd.DataFrame, metric: str = "accuracy") -> None:
    """Limit the y axis to the means of ``rows``, the ideal observer and chance.

    The intervals have room as in `limit_to_means`.
    """
    means = pd.concat([rows[f"{metric}_mean"], rows[f"ideal_{metric}_mean"], pd.Series([CHANCE[metric]])])
    limit_to_means(axes, means, rows[f"{metric}_low"], rows[f"{metric}_high"])


def legend_below(figure: PanelFigure, axes: Any, handles: list[Any] | None = None) -> None:
    """Put one legend below the figure, in as many columns as fit.

    It has every label that is in any of the panels ``axes``, once, or the labels of ``handles``.
    """
    if handles is None:
        for ax in np.ravel(axes):
            for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
                figure.legend_entries.setdefault(label, handle)
    else:
        figure.legend_entries |= {handle.get_label(): handle for handle in handles}
