"""The names of a group's tables, what is in them, and which of them a figure is drawn from."""

import ast
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

SOURCES = {
    "by_epoch": "epochs",
    "by_rank": "evaluation",
    "by_appearances": "evaluation",
    "by_weights": "evaluation",
    "by_position": "positions",
    "diagnostics": "diagnostics",
    "attention_maps": "attention",
    "occupancy": "evaluation",
    "forgetting": "epochs",
    "iterations_to_accuracy": "epochs",
    "forgetting_curves": "epochs",
    "forgetting_fits": "epochs",
    "capacity": "evaluation",
    "attention_similarity": "attention",
}
"""Which of a run's tables each table of a group is made from: ``<run>_<source>.parquet``."""


_RANK_BAND = ("rank_low", "rank_high")
_METRICS = ("loss", "accuracy")

KEYS_AND_METRICS = {
    "by_epoch": (("epoch", "iter", "current_set", "sequence_set"), _METRICS),
    "by_rank": (("weights", "sequence_set", *_RANK_BAND), _METRICS),
    "by_appearances": (("weights", "sequence_set", "appearances_low", "appearances_high"), _METRICS),
    "by_weights": (("weights", "sequence_set", "num_parameters"), _METRICS),
    "by_position": (("weights", "sequence_set", "position"), _METRICS),
    # With what the model logs of itself.
    "diagnostics": (("epoch", "iter", "current_set"), ("train_loss",)),
    "attention_maps": (
        ("weights", "layer", "head", "predicted_position", "key_position", "query_bit", "key_bit"),
        ("attention",),
    ),
    "occupancy": (("weights", "sequence_set", "sequence_rank", "occupancy"), _METRICS),
    "forgetting": (("sequence_set", "iters_since_switch", *_RANK_BAND), (*_METRICS, "occupancy")),
    "iterations_to_accuracy": (("sequence_set", "threshold"), ("iterations", "reached")),
    "forgetting_curves": (
        (*_RANK_BAND, "iters_since_switch"),
        ("recall", "exponential", "power_law", "stretched_exponential"),
    ),
    "forgetting_fits": ((*_RANK_BAND, "form"), ("amplitude", "tau", "beta", "aic", "delta_aic")),
    "capacity": (
        ("weights", "sequence_set", "num_parameters", "sequence_length", "embedding_dimension"),
        ("bits", "bits_per_parameter"),
    ),
    "attention_similarity": (("layer", "heads"), ("similarity",)),
}
"""Of each table of a group: what tells its rows apart, beside the condition, and what is averaged over seeds."""

OF_EVERY_GROUP = ("by_epoch", "by_rank", "by_appearances", "by_weights")
"""The tables that a group has whatever its figures; others are made where a figure is drawn from them."""


class FigureScriptError(ValueError):
    """The script of a figure is not what the workflow can read: one line with its name and what is wrong."""


def needs_of_figure(script: Path) -> tuple[str, ...]:
    """Return what the script of a figure says that it needs of an experiment: its constant ``NEEDS``.

    Raises `FigureScriptError` where that is no tuple of texts.
    """
    for node in _tree(script).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NEEDS":
            try:
                needs = ast.literal_eval(node.value)
            except ValueError:
                needs = None
            if not isinstance(needs, tuple) or not all(isinstance(need, str) for need in needs):
                raise FigureScriptError(f'{script.name}: NEEDS is not a tuple of texts, as ("a switch",) is')
            return needs
    return ()


def tables_of_figure(script: Path) -> tuple[str, ...]:
    """Return the tables that the script of a figure reads: the names that it looks up in ``snakemake.input``.

    Raises `FigureScriptError` where it looks up something else, or nothing.
    """
    names = {
        node.attr
        for node in ast.walk(_tree(script))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "snakemake.input"
    }
    for name in sorted(names - SOURCES.keys()) or ([] if names else ["<table>"]):
        raise FigureScriptError(
            f"{script.name}: snakemake.input.{name} is not one of the tables {', '.join(sorted(SOURCES))}"
        )
    return tuple(table for table in SOURCES if table in names)


def _tree(script: Path) -> ast.Module:
    try:
        return ast.parse(script.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise FigureScriptError(f"{script.name}: line {error.lineno}: {error.msg}") from error


def read_table_of_group(path: str | Path) -> "pd.DataFrame":
    """Read a table of a group.

    Raises `cache.DamagedTableError`, with the command that makes it again, where it is none or lacks a column.
    """
    # The workflow's plan is made by whatever Python Snakemake is in, perhaps without NumPy.
    from ..storage.cache import read_table

    keys, metrics = KEYS_AND_METRICS[Path(path).stem]
    means = [f"{metric}_{part}" for metric in metrics for part in ("mean", "low", "high")]
    return read_table(path, needed=[*keys, "num_seeds", *means])
