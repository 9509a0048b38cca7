"""Words, colours and markers of the figures.

The same thing looks and is called the same in every figure. A model, a setting or a kind of weights that has no
entry here gets its own name and a spare look.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from ..number_texts import distinct_texts

# Okabe and Ito's palette, whose colours stay apart for every kind of colour vision.
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
SPARE_COLOURS = [BLACK, BLUE, RED, GREEN, ORANGE, PURPLE, SKY, YELLOW]
MARKERS = "osD^vP*X"
# As many as there are markers: a condition beyond the palette has the next of both.
LINESTYLES = (
    "-",
    (0, (4, 1.5)),
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (8, 2)),
    (0, (2, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 3)),
)


@dataclass(frozen=True)
class Look:
    """How a figure shows one thing."""

    label: str
    colour: Any
    marker: str
    linestyle: Any = "-"

    @property
    def line(self) -> dict[str, Any]:
        """The arguments that draw it as a line."""
        return {"color": self.colour, "linestyle": self.linestyle}

    @property
    def points(self) -> dict[str, Any]:
        """The arguments that draw it as points."""
        return {"color": self.colour, "marker": self.marker}


_MODELS = {
    "one_layer_attention": Look("one-layer attention", BLACK, "o"),
    "gpt": Look("GPT", BLUE, "s"),
    "dam": Look("DAM", ORANGE, "D"),
}
_WEIGHTS = {
    "pre_switch_1": Look("just before the switch", ORANGE, "o"),
    "final": Look("at the end", BLACK, "s"),
    "swap_mlp": Look("at the end, MLP swapped back", RED, "^"),
    "swap_attention": Look("at the end, attention swapped back", BLUE, "v"),
    "swap_memory": Look("at the end, memory swapped back", GREEN, "D"),
    "swap_A": Look("at the end, A swapped back", PURPLE, "P"),
}
# When a set is tested, seen from its training.
MOMENTS = {
    "just_trained": Look("first set, just after its training", ORANGE, "o"),
    "left": Look("first set, at the end", BLACK, "s"),
    "last": Look("last set, at the end", BLUE, "^"),
}
# The theories of `model_comparison` that figures show, in the order of the legend. The ideal observers of the
# current set alone are left out: they are special cases of that of the last draws, and hardly differ from it.
CANDIDATES = {
    "other_weights": Look("the transformer from other initial weights", "0.45", "s"),
    "prefix_tree": Look("smoothed prefix tree", GREEN, "^"),
    "ideal_last_draws": Look("ideal observer of the last draws", BLUE, "o"),
    "dam": Look("DAM, trained", ORANGE, "D"),
    "dam_one_bit": Look("DAM, one-bit heads, untrained", RED, "X"),
    "occupancy": Look("occupancy of a queue", PURPLE, "v"),
}
CONDITION_COLOURS = {
    ("freeze", "none"): BLACK,
    ("freeze", "attention"): BLUE,
    ("freeze", "mlp"): RED,
    ("freeze", "embeddings"): GREEN,
    ("sequence_sampling_distribution", "zipf"): PURPLE,
    ("sequence_sampling_distribution", "uniform"): SKY,
    ("freeze", "A"): BLUE,
    ("freeze", "B"): RED,
    ("freeze", "both"): PURPLE,
    ("clear_memory_at_switch", True): ORANGE,
    ("reset_model_at_switch", True): SKY,
    ("reset_optimizer_at_switch", False): BLACK,
    ("reset_optimizer_at_switch", True): ORANGE,
    **{("model", model): look.colour for model, look in _MODELS.items()},
}
_SETTINGS = {
    "sequence_sampling_distribution": "sampling",
    "num_heads": "heads",
    "num_hidden_features": "features per head",
    "num_mlp_layers": "MLP layers",
    "clear_memory_at_switch": "memory cleared at the switch",
    "reset_model_at_switch": "from scratch",
    "reset_optimizer_at_switch": "optimiser reset",
    "attention_init": "initial attention",
    "attention_init_std": "std",
    "attention_trainable": "attention trained",
    "mlp_trainable": "MLP trained",
    "mlp_init_std": "std of the MLP",
    "num_layers": "layers",
    "num_parameters": "parameters",
    "eta": "η",
    "A_and_B_trainable": "A and B trained",
    "lr": "learning rate",
    "lr_after_switch": "learning rate",
    "batch_size_after_switch": "batch",
}
# A value in words, if "setting: value" reads badly.
_VALUES = {
    ("freeze", "none"): "nothing frozen",
    ("freeze", "attention"): "attention frozen",
    ("freeze", "mlp"): "MLP frozen",
    ("freeze", "embeddings"): "embeddings frozen",
    ("freeze", "A"): "A frozen",
    ("freeze", "B"): "B frozen",
    ("freeze", "both"): "A and B frozen",
    ("sequence_sampling_distribution", "zipf"): "Zipf sampling",
    ("sequence_sampling_distribution", "uniform"): "uniform sampling",
    ("attention_init", "zero"): "uniform initial attention",
    ("attention_init", "normal"): "random initial attention",
    ("attention_trainable", True): "attention trained",
    ("attention_trainable", False): "attention never trained",
    ("mlp_trainable", True): "MLP trained",
    ("mlp_trainable", False): "MLP never trained",
    ("A_and_B_trainable", True): "A and B trained",
    ("A_and_B_trainable", False): "A and B never trained",
    ("clear_memory_at_switch", True): "memory cleared",
    ("clear_memory_at_switch", False): "memory kept",
    ("reset_model_at_switch", True): "from scratch",
    ("reset_model_at_switch", False): "weights kept",
    ("reset_optimizer_at_switch", True): "optimiser reset",
    ("reset_optimizer_at_switch", False): "optimiser kept",
}
# What goes without saying, unless nothing else is said of a condition. So does any other value that is false.
_PLAIN = {
    ("freeze", "none"),
    ("attention_trainable", True),
    ("mlp_trainable", True),
    ("A_and_B_trainable", True),
}
AXIS_LABELS = {"accuracy": "accuracy", "loss": "loss (nats per bit)"}
OVER_UNIFORM_LABEL = "n · attention − 1\n(n positions; 0: uniform)"
RECALL_LABEL = "recall (2 · accuracy − 1)"


def ordered_colours(number: int) -> list[Any]:
    """Return ``number`` colours from dark to bright.

    The brightest fifth of the map is left out, because it is hard to see on white.
    """
    return [matplotlib.colormaps["viridis"](0.8 * i / max(number - 1, 1)) for i in range(number)]


def look_of_model(model: str) -> Look:
    """Return how a figure shows a model."""
    return _MODELS.get(model) or _spare_look(model, model)


def look_of_weights(weights: str) -> Look:
    """Return how a figure shows a kind of weights of a run.

    A kind is for example ``final`` or ``swap_<part>``.
    """
    part = weights.removeprefix("swap_")
    label = weights if part == weights else f"at the end, {part} swapped back"
    return _WEIGHTS.get(weights) or _spare_look(weights, label)


def look_of_heads(initial_heads: str, trained: bool | str) -> dict[str, Any]:
    """Return how a figure draws a DAM with these initial heads, trained or not.

    The words are arguments of ``drawing.draw_points``. The markers of untrained models are hollow. An empty text
    stands for a setting that an experiment does not vary: the label leaves it out.
    """
    looks = {"one_bit": (RED, "o", "one-bit heads"), "random": (ORANGE, "D", "random heads"), "": (BLACK, "o", "")}
    colour, marker, heads = looks[initial_heads]
    told = [heads, {True: "trained", False: "untrained", "": ""}[trained]]
    label = ", ".join(filter(None, told)) or "measured"
    face = {"markerfacecolor": "white"} if trained is False else {}
    return {"color": colour, "marker": marker, "label": label} | face


def _spare_look(name: str, label: str) -> Look:
    """Return a colour and a marker that follow from a name.

    They are therefore the same in every figure.
    """
    number = zlib.crc32(name.encode())
    marker = MARKERS[number // len(SPARE_COLOURS) % len(MARKERS)]
    return Look(label.replace("_", " "), SPARE_COLOURS[number % len(SPARE_COLOURS)], marker)


def setting_label(setting: str) -> str:
    """Return what a figure calls a setting."""
    return _SETTINGS.get(setting, setting.replace("_", " "))


def condition_label(condition: dict[str, Any], table: pd.DataFrame) -> str:
    """Return a condition in words.

    A setting that is the same throughout ``table``, that the model lacks, or that is plain goes unsaid. If all are
    plain, they are said, or that nothing is frozen. Two values of a setting in ``table`` have different words.
    """
    said, plain = [], []
    for name, value in condition.items():
        if pd.isna(value) or table[name].nunique(dropna=False) <= 1:
            continue
        is_plain = (name, value) in _PLAIN or (_is_truth(value) and not value and not name.endswith("_trainable"))
        (plain if is_plain else said).append(_value_label(name, value, table[name]))
    nothing_frozen = _VALUES["freeze", "none"]
    return ", ".join(said or ([nothing_frozen] if nothing_frozen in plain else plain))


def _value_label(name: str, value: Any, among: pd.Series) -> str:
    """Return a setting with its value in words.

    No other value ``among`` those of the setting has the same words.
    """
    if name == "model":
        return look_of_model(value).label
    if (name, value) in _VALUES:
        return _VALUES[name, value]
    if _is_truth(value):
        return setting_label(name) if value else f"not {setting_label(name)}"
    shown = number_labels(among)[value] if isinstance(value, float) else str(value).replace("_", " ")
    return f"{setting_label(name)}: {shown}"


def number_labels(values: Iterable[Any]) -> dict[float, str]:
    """Return the text of each number among the swept ``values`` of a setting."""
    numbers = (value for value in set(values) if isinstance(value, int | float | np.number))
    return distinct_texts(value for value in numbers if np.isfinite(value))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def set_label(sequence_set: int) -> str:
    """Return what a figure calls a sequence set, seen from the first switch."""
    if sequence_set < 0:
        return "held out"
    return f"set {sequence_set} ({'pre' if sequence_set < 1 else 'post'}-switch)"


def lines(*parts: str) -> str:
    """Return the parts of a label that are not empty, one below the other."""
    return "\n".join(filter(None, parts))
