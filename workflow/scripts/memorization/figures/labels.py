"""Words, colours and markers of the figures.

The same thing looks and is called the same in every figure. A model, a setting or a kind of weights that has no
entry here gets its own name and a spare look.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

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


@dataclass(frozen=True)
class Look:
    """How a figure shows one thing."""

    label: str
    colour: str
    marker: str


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
    "swap_memory": Look("at the end, memory swapped back", RED, "^"),
    "swap_A": Look("at the end, A swapped back", BLUE, "v"),
    "new_memory": Look("before the switch, next set in the memory", GREEN, "D"),
    "new_memory_final": Look("at the end, a new set in the memory", PURPLE, "P"),
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
# The words for a truth value that is false, if nothing else tells a condition from the others.
_FALSE_SETTINGS = {
    "reset_optimizer_at_switch": "optimiser kept",
    "reset_model_at_switch": "weights kept",
    "attention_trainable": "attention not trained",
    "mlp_trainable": "MLP not trained",
    "A_and_B_trainable": "A and B not trained",
}
AXIS_LABELS = {"accuracy": "accuracy", "loss": "loss (nats per bit)"}
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


def look_of_heads(initial_heads: str, trained: bool) -> dict[str, Any]:
    """Return how a figure draws a DAM with these initial heads, trained or not.

    The words are arguments of ``drawing.draw_points``. The markers of untrained models are hollow.
    """
    colour, marker = {"one_bit": (RED, "o"), "random": (ORANGE, "D")}[initial_heads]
    words = {"one_bit": "one-bit heads", "random": "random heads"}[initial_heads]
    label = f"{words}, {'trained' if trained else 'untrained'}"
    return {"color": colour, "marker": marker, "label": label} | ({} if trained else {"markerfacecolor": "white"})


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

    A setting that is the same throughout ``table``, that the model lacks, or that is false goes unsaid.
    """
    told = {
        name: value
        for name, value in condition.items()
        if not pd.isna(value) and table[name].nunique(dropna=False) > 1
    }
    words = []
    for name, value in told.items():
        if isinstance(value, bool | np.bool_):
            words += [setting_label(name)] if value else []
        elif name == "model":
            words.append(look_of_model(value).label)
        else:
            shown = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
            words.append(f"{setting_label(name)}: {shown}")
    # With truth values alone, all of them false, nothing has been said yet.
    return ", ".join(words or [_FALSE_SETTINGS.get(name, f"not {setting_label(name)}") for name in told])


def set_label(sequence_set: int) -> str:
    """Return what a figure calls a sequence set, seen from the first switch."""
    if sequence_set < 0:
        return "held out"
    return f"set {sequence_set} ({'pre' if sequence_set < 1 else 'post'}-switch)"


def lines(*parts: str) -> str:
    """Return the parts of a label that are not empty, one below the other."""
    return "\n".join(filter(None, parts))
