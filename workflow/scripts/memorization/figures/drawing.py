"""The look that all figures share: sizes, colours, chance, bands of confidence."""

import math
import textwrap
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ..storage.cache import write_figure
from ..storage.provenance import write_provenance

matplotlib.use("agg")
# Not what a matplotlibrc of the user or of the folder says.
matplotlib.rcdefaults()
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
    ("freeze", "A"): BLUE,
    ("freeze", "both"): PURPLE,
    ("clear_memory_at_switch", True): ORANGE,
    ("reset_model_at_switch", True): SKY,
    ("reset_optimizer_at_switch", False): BLACK,
    ("reset_optimizer_at_switch", True): ORANGE,
    ("model", "one_layer_attention"): BLACK,
    ("model", "gpt"): BLUE,
    ("model", "dam"): ORANGE,
}
WEIGHTS_COLOURS = {
    "pre_switch_1": ORANGE,
    "final": BLACK,
    "swap_mlp": RED,
    "swap_attention": BLUE,
    "swap_memory": RED,
    "swap_A": BLUE,
}
WEIGHTS_MARKERS = {
    "pre_switch_1": "o",
    "final": "s",
    "swap_mlp": "^",
    "swap_attention": "v",
    "swap_memory": "^",
    "swap_A": "v",
}
SPARE_COLOURS = [BLACK, BLUE, RED, GREEN, ORANGE, PURPLE, SKY, YELLOW]

WEIGHTS_LABELS = {
    "pre_switch_1": "just before the switch",
    "final": "at the end",
    "swap_mlp": "at the end, MLP swapped back",
    "swap_attention": "at the end, attention swapped back",
    "swap_memory": "at the end, memory swapped back",
    "swap_A": "at the end, A swapped back",
}
SETTING_LABELS = {
    "sequence_sampling_distribution": "sampling",
    "num_heads": "heads",
    "num_hidden_features": "features a head",
    "num_mlp_layers": "MLP layers",
    "clear_memory_at_switch": "memory cleared at the switch",
    "reset_model_at_switch": "from scratch",
    "reset_optimizer_at_switch": "optimiser reset",
    "attention_init": "initial attention",
    "attention_init_std": "std",
    "attention_trainable": "attention trained",
    "num_layers": "layers",
    "num_parameters": "parameters",
    "eta": "η",
}

# Of a truth value that is false, where a condition has nothing else to be told by.
FALSE_LABELS = {"reset_optimizer_at_switch": "optimiser kept", "attention_trainable": "attention not trained"}

MIN_WIDTH = 3.4

MODEL_LABELS = {"one_layer_attention": "one-layer attention", "gpt": "GPT", "dam": "DAM"}

CHANCE = {"accuracy": 0.5, "loss": math.log(2), "recall": 0.0}
FORM_LABELS = {
    "exponential": "exponential",
    "power_law": "power law",
    "stretched_exponential": "stretched exponential",
}
AXIS_LABELS = {"accuracy": "accuracy", "loss": "loss (nats a bit)"}


def new_figure(
    rows: int,
    columns: int,
    width: float,
    height: float,
    sharex: str | bool = True,
    sharey: str | bool = "row",
) -> tuple[Figure, Any]:
    """Return a figure of ``rows`` × ``columns`` panels of ``width`` × ``height`` inches, and its axes."""
    # No narrower than a legend below it.
    figure = Figure(figsize=(max(columns * width, MIN_WIDTH), rows * height))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)
    return figure, axes


def ordered_colours(number: int) -> list[Any]:
    """Return so many colours from dark to bright; the brightest fifth of the map is hard to see on white."""
    return [matplotlib.colormaps["viridis"](0.8 * i / max(number - 1, 1)) for i in range(number)]


def save_figure(figure: Figure, job: Any) -> None:
    """Write a figure to each output of a job (the object ``snakemake`` of its script), with its provenance."""
    for path in job.output:
        write_figure(figure, path)
    write_provenance(job)


def by_model(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the name and the rows of each model of a table; without a name where there is only one."""
    if "model" not in table or table["model"].nunique() <= 1:
        return [("", table)]
    return [(MODEL_LABELS[model], rows) for model, rows in table.groupby("model", sort=False)]


def condition_panels(
    table: pd.DataFrame, first_key: str, width: float, height: float
) -> tuple[Figure, Any, list[tuple[Axes, str, pd.DataFrame]]]:
    """Return a figure with a panel for each condition of a table: the figure, all axes, what to draw in which.

    One model: a column a condition, accuracy above loss. Several: a row a model, a column each of its
    conditions, accuracy alone.
    """
    models = by_model(table)
    metrics = tuple(AXIS_LABELS) if len(models) == 1 else ("accuracy",)
    found = [(model, conditions(rows, first_key)) for model, rows in models]
    columns = max(len(of_model) for _, of_model in found)
    figure, axes = new_figure(len(found) * len(metrics), columns, width, height, sharex="row")
    panels = []
    for i, (model, of_model) in enumerate(found):
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
    """Label the x axis of the lower of the panels that `condition_panels` draws of a condition."""
    lowest = panels[-1][1]
    for ax, metric, _ in panels:
        if metric == lowest:
            ax.set_xlabel(label)
        else:
            ax.tick_params(labelbottom=False, which="both")


def draw_sets_before_and_after(
    ax: Axes, metric: str, rows: pd.DataFrame, x: Callable[[pd.DataFrame], pd.Series]
) -> None:
    """Draw a metric of the first two sets just before the first switch and at the end, against ``x`` of rows."""
    for (weights, sequence_set), line in rows.groupby(["weights", "sequence_set"], sort=False):
        draw_points(
            ax,
            x(line),
            line,
            metric,
            color=WEIGHTS_COLOURS[weights],
            linestyle="-" if sequence_set == 0 else "--",
            marker="o" if sequence_set == 0 else "s",
            markersize=3,
            label=f"{set_label(sequence_set)}, {WEIGHTS_LABELS[weights]}",
        )


def before_and_after(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `draw_sets_before_and_after` draws of a table."""
    moments = table["weights"].isin(["pre_switch_1", "final"])
    return table[moments & table["sequence_set"].isin([0, 1])]


def condition_columns(table: pd.DataFrame, first_key: str) -> list[str]:
    """Return the swept settings of a table: the columns before its first key."""
    return list(table.columns[: table.columns.get_loc(first_key)])


def _of_condition(column: pd.Series, table: pd.DataFrame, first_key: str) -> Any:
    """Return a column grouped by the conditions of its table."""
    columns = condition_columns(table, first_key)
    return column.groupby([table[key] for key in columns] or np.zeros(len(table)), dropna=False)


def just_trained(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the weights just before the first switch, at the end where a condition has none."""
    before = table["weights"] == "pre_switch_1"
    switched = _of_condition(before, table, "weights").transform("any")
    return table[before | (~switched & (table["weights"] == "final"))]


def last_set(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the final weights on the set that each condition was trained on last."""
    last = _of_condition(table["sequence_set"], table, "weights").transform("max")
    return table[(table["weights"] == "final") & (table["sequence_set"] == last)]


def first_condition(rows: pd.DataFrame, first_key: str) -> pd.DataFrame:
    """Return the rows of the first condition of a table."""
    columns = condition_columns(rows, first_key)
    first = rows[columns].iloc[0]
    return rows[((rows[columns] == first) | (rows[columns].isna() & first.isna())).all(axis=1)]


def lines(*parts: str) -> str:
    """Return the parts of a label that are not empty, below one another."""
    return "\n".join(filter(None, parts))


def conditions(
    table: pd.DataFrame, first_key: str, whole: pd.DataFrame | None = None
) -> list[tuple[str, Any, pd.DataFrame]]:
    """Return the label, the colour and the rows of each condition of a table, in its order.

    A condition that is one number has its colour from an ordered map, a condition with a colour of its
    own that one everywhere, and the others the next of the palette. A table that was selected from a
    ``whole`` one has the labels and colours of that.
    """
    whole = table if whole is None else whole
    columns = condition_columns(whole, first_key)
    if not columns:
        return [("", BLACK, table)]
    found = list(whole.groupby(columns, sort=False, dropna=False))
    ordered = len(columns) == 1 and pd.api.types.is_numeric_dtype(whole[columns[0]].infer_objects())
    ordered = ordered and whole[columns[0]].dtype != bool
    spare = SPARE_COLOURS * len(found)
    result, used = [], set()
    for i, (values, rows) in enumerate(found):
        told = dict(zip(columns, values, strict=True))
        if ordered:
            colour = ordered_colours(len(found))[i]
        else:
            named = [CONDITION_COLOURS[pair] for pair in reversed(told.items()) if pair in CONDITION_COLOURS]
            colour = next((c for c in [*named, *spare] if c not in used), BLACK)
            used.add(colour)
        selected = table[table.index.isin(rows.index)]
        if len(selected):
            result.append((condition_label(told, whole), colour, selected))
    return result


def condition_label(condition: dict[str, Any], table: pd.DataFrame) -> str:
    """Return a condition in words: what is the same throughout ``table``, absent or false is not said."""
    words = []
    for name, value in condition.items():
        if pd.isna(value) or table[name].nunique(dropna=False) == 1:
            continue
        label = SETTING_LABELS.get(name, name.replace("_", " "))
        if isinstance(value, bool | np.bool_):
            words += [label] if value else []
        elif name == "model":
            words.append(MODEL_LABELS[value])
        else:
            words.append(f"{label}: {value:g}" if isinstance(value, float) else f"{label}: {value}")
    if not words:
        # Only truth values, none of them true.
        words = [
            FALSE_LABELS.get(name, f"not {SETTING_LABELS.get(name, name.replace('_', ' '))}")
            for name, value in condition.items()
            if not pd.isna(value) and table[name].nunique(dropna=False) > 1
        ]
    return ", ".join(words)


def recall(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``rows`` with the accuracy rescaled from [0.5, 1] to [0, 1], as ``recall``."""
    columns = {f"recall_{bound}": 2 * rows[f"accuracy_{bound}"] - 1 for bound in ("mean", "low", "high")}
    return rows.assign(**columns)


def draw_mean(axes: Axes, rows: pd.DataFrame, x: str, metric: str, **style: Any) -> None:
    """Draw the mean of ``metric`` over seeds against ``x``, with its 95 % confidence band."""
    # A line through one point would not be seen.
    marker = {"marker": "o", "markersize": 3} if len(rows) == 1 else {}
    (line,) = axes.plot(rows[x], rows[f"{metric}_mean"], **marker | style)
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


def log_axis(axis: Axis) -> None:
    """Make an axis logarithmic, with plain numbers: at 1, 2, 5, 10, … where it has few decades.

    Linear from 0 to the least positive number where there is a 0.
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


def log_spaced(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return about ``number`` of the rows, as far apart on a logarithmic axis as can be told from one another."""
    places = np.unique(np.geomspace(1, len(rows), number).astype(int)) - 1 if len(rows) else []
    return rows.iloc[places]


def limit_to_means(axes: Axes, means: pd.Series) -> None:
    """Let the axis show all ``means``; an interval that is far wider is cut."""
    margin = 0.15 * (means.max() - means.min())
    axes.set_ylim(means.min() - margin, means.max() + margin)


def draw_chance(axes: Axes, metric: str) -> None:
    """Draw what guessing gives: accuracy 0.5, loss log 2."""
    axes.axhline(CHANCE[metric], color="0.55", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)


def legend_below(figure: Figure, axes: Any) -> None:
    """Draw one legend below the panels ``axes`` with every label that is in any of them, once."""
    handles = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    width = figure.get_figwidth()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2 if width > 5 else 1)


def share_trunk(conditions_rows: list[pd.DataFrame]) -> bool:
    """Tell whether several conditions are the same, epoch by epoch, until they leave the first set."""
    first, *others = [rows[rows["current_set"] == 0] for rows in conditions_rows]
    if not others or first["iter"].max() == conditions_rows[0]["iter"].max():
        return False
    columns = ["iter", "accuracy_mean", "loss_mean"]
    return all(np.array_equal(first[columns], other[columns]) for other in others)


def draw_switches(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a line at each switch of any condition of a table with the columns ``iter`` and ``current_set``."""
    for _, _, rows in conditions(table, "epoch"):
        for switch in rows.groupby("current_set")["iter"].max().iloc[:-1]:
            axes.axvline(switch, color="0.8", linewidth=0.8, zorder=0)


def band_centre(rows: pd.DataFrame, name: str, offset: int) -> pd.Series:
    """Return the geometric centre of each band of ``name``, counted from ``offset``, for a log axis."""
    return ((rows[f"{name}_low"] + offset) * (rows[f"{name}_high"] + offset)) ** 0.5


def three_bands(rows: pd.DataFrame) -> list[tuple[int, int]]:
    """Return the bounds of the most frequent tested sequence, the middle of the ranks, and the rarest band."""
    bands = sorted(set(zip(rows["rank_low"], rows["rank_high"], strict=True)))
    return [bands[0], bands[len(bands) // 2], bands[-1]] if len(bands) > 3 else bands


def ranks_label(low: int, high: int) -> str:
    """Return what a figure calls a band of ranks."""
    return f"rank {low}" if low == high else f"ranks {low} – {high}"


def set_label(sequence_set: int, switched_to: int = 1) -> str:
    """Return what a figure calls a sequence set, seen from the first switch."""
    if sequence_set < 0:
        return "held out"
    return f"set {sequence_set} ({'pre' if sequence_set < switched_to else 'post'}-switch)"
