"""The identity of a run: those of its settings that decide whether it must be computed again.

A setting that was added after the first release is no part of the identity while it has its neutral value, with
which the results are what they were before the setting existed. Adding a setting therefore computes no finished
run again.
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
"""The settings of each model in the first release, which always count. A new setting does not belong here: the
runs computed before it would be computed again."""


@cache
def neutral_values(model: str) -> dict[str, Any]:
    """Return the settings added to a model after the first release, each with its neutral value.

    A setting that must be given has none, and is not among them.
    """
    fields = SETTINGS_OF_MODEL[model].model_fields
    return {
        key: field.json_schema_extra.get("neutral", field.default)
        for key, field in fields.items()
        if key not in FIRST_SETTINGS.get(model, ()) and not field.is_required()
    }


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
