"""The identity of a run: the settings that decide if it is computed again.

A setting that was added later is no part of the identity while it has its neutral value, with which the results
are what they were before the setting existed. Adding a setting therefore computes no finished run again.
"""

from functools import cache
from typing import Any

from .settings import SETTINGS_OF_MODEL

_EVERY_MODEL = {
    "K", "batch_size", "device", "freeze", "lr", "model", "num_held_out", "num_iters_per_epoch",
    "num_iters_per_set", "num_switches", "num_threads", "optimizer", "reset_model_at_switch",
    "reset_optimizer_at_switch", "seed", "sequence_sampling_distribution", "test_earlier_sets", "weight_decay",
    "zipf_exponent",
}  # fmt: skip
_TRANSFORMERS = {"len_context", "num_heads", "num_hidden_features", "num_layers", "vocab_size"}
FIRST_SETTINGS: dict[str, set[str]] = {
    "one_layer_attention": _EVERY_MODEL
    | _TRANSFORMERS
    | {
        "attention_init", "attention_init_std", "attention_trainable", "num_hidden_features_mlp", "num_mlp_layers"
    },
    "gpt": _EVERY_MODEL | _TRANSFORMERS,
    "dam": _EVERY_MODEL | {"H", "M", "N", "clear_memory_at_switch", "eta"},
}  # fmt: skip
"""The settings of each model in the first release. A setting that is added to one says its neutral value."""


@cache
def neutral_values(model: str) -> dict[str, Any]:
    """Return the neutral value of each setting that was added to a model later."""
    fields = SETTINGS_OF_MODEL[model].model_fields
    extras = {key: field.json_schema_extra or {} for key, field in fields.items()}
    return {key: extra["neutral"] for key, extra in extras.items() if "neutral" in extra}


def settings_without_neutral_value() -> list[str]:
    """Return a line for each later setting that lacks a neutral value.

    Only settings with a default are checked. If the default of such a setting were taken for its neutral value, a
    change of the default would go unseen: the runs with the old one would be taken for runs with the new one.
    """
    return [
        f"settings.py: {key} of {model} is newer than the first release: give neutral, the value with which "
        f"results are as without it: _setting(..., default={field.default!r}, neutral={field.default!r})"
        for model, first in FIRST_SETTINGS.items()
        for key, field in SETTINGS_OF_MODEL[model].model_fields.items()
        if key not in first and not field.is_required() and key not in neutral_values(model)
    ]


def identity(resolved: dict[str, Any]) -> dict[str, Any]:
    """Return those of the ``resolved`` settings that identify a run, sorted by name.

    A later setting is left out if its neutral value would resolve to the same. Values derived from other
    settings are kept: a change in how they are derived is another identity.
    """
    later = neutral_values(resolved["model"])
    settings_type = SETTINGS_OF_MODEL[resolved["model"]]
    given = {key: resolved[key] for key in settings_type.model_fields}
    neutral = settings_type(**given | later).resolved() if later else {}
    return {key: resolved[key] for key in sorted(resolved) if key not in later or resolved[key] != neutral[key]}
