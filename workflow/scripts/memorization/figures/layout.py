"""The size of a figure, of its panels and of its legend.

They follow from the number of panels and from the measured width of the texts.
"""

import math
import textwrap
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import AutoLocator, FixedFormatter, FixedLocator

# The largest figure, in inches: a page.
PAGE = (12.6, 14.0)
# A panel that is smaller cannot be read, in inches.
SMALLEST_PANEL = 1.0
# A title or a legend needs this width, in inches.
MIN_WIDTH = 4.0
# Room for the numbers beside a panel, its title, and the legend, in inches, before they are measured.
ROOM_OF_NUMBERS, ROOM_OF_TITLE, ROOM_OF_LEGEND = 0.35, 0.6, 1.5
# The parts of a legend, in multiples of its font's size.
HANDLE, GAP, MARGIN = 2.9, 2.0, 2.0
# A legend with more rows is higher than its panels: the figure becomes wider instead.
MOST_ROWS = 12
# The legend depends on the width, and the height on the legend.
PASSES = 3


class PanelFigure(Figure):
    """A figure of panels, as large as they ask for, up to a page.

    `fit` is called once, when everything is drawn.
    """

    def __init__(self, columns: int, width: float, heights: list[float]):
        # Until its texts are measured it has room for all of them.
        super().__init__(figsize=PAGE)
        FigureCanvasAgg(self)
        # Many panels in a row share the width of a page.
        self.get_layout_engine().set(wspace=0, w_pad=0.02 if columns > 6 else 0.04)
        self.columns = columns
        self.panel_width = width
        self.panel_sizes = columns * width, sum(heights)
        self.panels: list[Any] = []
        self.legend_entries: dict[str, Any] = {}
        self._legend_below: Any = None

    def fit(self) -> None:
        """Give the figure its size, and lay out its texts.

        The title is wrapped, the legend has its columns, and numbers that would overlap are left out.
        """
        for _ in range(PASSES):
            self._lay_out()
            boxes = [ax.get_window_extent() for ax in self.panels]
            measured = [
                sum(box.width for box in boxes[: self.columns]) / self.dpi,
                sum(box.height for box in boxes[:: self.columns]) / self.dpi,
            ]
            size = self.get_size_inches() + self.panel_sizes - measured
            labels = list(self.legend_entries)
            least = legend_width(labels, math.ceil(len(labels) / MOST_ROWS)) + 0.3 if labels else 0
            fitting = min(max(size[0], MIN_WIDTH, least), PAGE[0]), min(size[1], PAGE[1])
            if np.allclose(fitting, self.get_size_inches(), rtol=0, atol=0.005):
                break
            self.set_size_inches(fitting)
        # The numbers at ticks follow from the height of a panel, and the height from the room for numbers.
        # From now on they stay.
        for axis in [ax.yaxis for ax in self.panels if isinstance(ax.yaxis.get_major_locator(), AutoLocator)]:
            axis.set_major_locator(FixedLocator(axis.get_majorticklocs()))
        self._lay_out()
        for ax in self.axes:
            for axis in (ax.xaxis, ax.yaxis):
                _thin_out_numbers(axis)

    def _lay_out(self) -> None:
        """Wrap the title, lay out the legend, and place the panels between them."""
        width = self.get_figwidth() - 0.2
        if title := self.get_suptitle():
            self.suptitle(wrapped(" ".join(title.split()), width, self._suptitle.get_fontsize()))
        if self._legend_below:
            self._legend_below.remove()
        if self.legend_entries:
            labels = [wrapped(label, width - 0.5, font_size("legend.fontsize")) for label in self.legend_entries]
            columns = legend_columns(labels, width)
            self._legend_below = self.legend(
                self.legend_entries.values(), labels, loc="outside lower center", ncols=columns
            )
        self.get_layout_engine().execute(self)


def grid_columns(numbers: list[int], width: float) -> int:
    """Return the columns of a grid of panels, so that a page has room for all.

    A panel is ``width`` inches wide. ``numbers`` are the panels of each group; a group begins a row. Many panels
    become narrower.
    """
    most = max(numbers)
    columns = max(1, min(most, int(PAGE[0] / (width + ROOM_OF_NUMBERS))))
    rows = (PAGE[1] - ROOM_OF_LEGEND) // (SMALLEST_PANEL + ROOM_OF_TITLE)
    while sum(math.ceil(number / columns) for number in numbers) > rows and columns < most:
        columns += 1
    return math.ceil(most / math.ceil(most / columns))


def text_width(text: str, size: float) -> float:
    """Return the width of the longest line of a text, in inches.

    ``size`` is that of its font, in points.
    """
    return max(_line_width(line, size) for line in text.split("\n"))


@cache
def _line_width(line: str, size: float) -> float:
    if not line.strip():
        return 0.0
    return TextPath((0, 0), line, size, prop=FontProperties()).get_extents().width / 72


def wrapped(text: str, width: float, size: float) -> str:
    """Return a text in lines of at most ``width`` inches, as far as its words allow.

    A value stays in the line of its setting.
    """
    needed = text_width(text, size)
    if needed <= width:
        return text
    together = text.replace(": ", ":\u00a0")
    return textwrap.fill(together, max(10, int(0.95 * len(text) * width / needed)), break_long_words=False)


def legend_width(labels: list[str], columns: int) -> float:
    """Return the width of a legend with these labels in so many columns, in inches."""
    size = font_size("legend.fontsize")
    widths = np.array([text_width(label, size) for label in labels]) + HANDLE * size / 72
    of_columns = [column.max() for column in np.array_split(widths, columns)]
    return sum(of_columns) + (GAP * (columns - 1) + MARGIN) * size / 72


def legend_columns(labels: list[str], width: float) -> int:
    """Return in how many columns a legend with these labels is laid out.

    It is at most ``width`` inches wide, if one column is. It has as few rows as fit, and then as few columns.
    """
    fitting = max(n for n in range(1, len(labels) + 1) if n == 1 or legend_width(labels, n) <= width)
    return math.ceil(len(labels) / math.ceil(len(labels) / fitting))


def font_size(setting: str) -> float:
    """Return a size that the style sheet sets, such as ``legend.fontsize``, in points."""
    return FontProperties(size=matplotlib.rcParams[setting]).get_size_in_points()


def _thin_out_numbers(axis: Axis) -> None:
    """Leave out the numbers at ticks that would overlap the one before.

    Names at ticks stay.
    """
    if isinstance(axis.get_major_formatter(), FixedFormatter):
        return
    axis.get_majorticklabels()  # places the ticks
    ticks = axis.get_major_ticks()
    low, high = sorted(axis.get_view_interval())
    shown = [tick for tick in ticks if tick.label1.get_visible() and low <= tick.get_loc() <= high]
    kept: list[Any] = []
    for tick in sorted((tick for tick in shown if tick.label1.get_text()), key=lambda tick: tick.get_loc()):
        if not kept or not kept[-1].label1.get_window_extent().padded(1).overlaps(tick.label1.get_window_extent()):
            kept.append(tick)
    if len(kept) < sum(bool(tick.label1.get_text()) for tick in shown):
        texts = [tick.label1.get_text() if tick in kept else "" for tick in shown]
        axis.set_ticks([tick.get_loc() for tick in shown], labels=texts)
