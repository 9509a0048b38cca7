"""The tables of an experiment, and those that each figure is drawn from.

The workflow's plan is made with this module, in whatever Python Snakemake runs, perhaps without NumPy.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("loss", "accuracy")
# What was measured, and what the ideal observer has on the same sequences.
WITH_IDEAL = (*METRICS, "ideal_loss", "ideal_accuracy")
# The means over sequences in which each counts by the probability that it is drawn.
WEIGHTED = tuple(f"weighted_{metric}" for metric in WITH_IDEAL)
RANK_BAND = ("rank_low", "rank_high")
PARTS = ("mean", "low", "high")
STATISTICS_OF_PAIRS = (
    *(f"difference_{part}" for part in PARTS),
    "p_value",
    "p_holm",
    "p_equivalent",
    "seeds_for_80_percent",
    "reference",
)
FORMS_OF_FORGETTING = (
    "exponential",
    "power_law",
    "stretched_exponential",
    "exponential_with_floor",
    "stretched_exponential_with_floor",
)


@dataclass(frozen=True)
class Table:
    """One table of an experiment.

    The function of the same name in `aggregation` computes it for each run, or for all runs (see `across`).
    """

    source: str
    """The table of a run that it is computed from: ``<run>_<source>.parquet``."""
    keys: tuple[str, ...]
    """The columns that, after those of the condition, tell its rows apart."""
    metrics: tuple[str, ...] = (*WITH_IDEAL, "fraction_of_ideal")
    """The numbers of a run, which are averaged over seeds."""
    statistics: tuple[str, ...] | None = None
    """The columns over seeds, if they are others than the mean and the interval of each metric.

    `aggregation.aggregate` names the function that makes them.
    """
    columns: tuple[str, ...] | None = None
    """The columns of the source that it needs; None: all. At the reference scale a source has 20 million rows."""
    across: bool = False
    """Whether its function takes all runs of the experiment at once, because it compares them.

    It takes a list of (source table, resolved settings, condition), one for each run, and returns a list of the
    runs' rows in the same order.
    """
    paired: bool = False
    """Whether it compares the conditions of a model with one of them, the reference."""
    of_every_group: bool = False
    """Whether every experiment has it. Other tables are made only if a figure is drawn from them."""

    @property
    def columns_over_seeds(self) -> tuple[str, ...]:
        """The columns that follow the keys and ``num_seeds`` at least."""
        means = tuple(f"{metric}_{part}" for metric in self.metrics for part in PARTS)
        return means if self.statistics is None else self.statistics


TABLES = {
    "by_epoch": Table(
        source="epochs",
        keys=("epoch", "iter", "current_set", "sequence_set"),
        metrics=(*WITH_IDEAL, "fraction_of_ideal", *WEIGHTED),
        columns=("epoch", "iter", "current_set", "sequence_set", "sequence_rank", *WITH_IDEAL),
        of_every_group=True,
    ),
    "by_rank": Table(
        source="evaluation",
        keys=("weights", "sequence_set", *RANK_BAND),
        columns=("weights", "sequence_set", "sequence_rank", *WITH_IDEAL),
        of_every_group=True,
    ),
    "by_appearances": Table(
        source="evaluation",
        keys=("weights", "sequence_set", "appearances_low", "appearances_high"),
        columns=("weights", "sequence_set", "num_appearances", *WITH_IDEAL),
        of_every_group=True,
    ),
    "by_weights": Table(
        source="evaluation",
        keys=("weights", "sequence_set", "num_parameters"),
        metrics=(*WITH_IDEAL, "fraction_of_ideal", *WEIGHTED),
        columns=("weights", "sequence_set", "sequence_rank", *WITH_IDEAL),
        of_every_group=True,
    ),
    "contrasts": Table(
        source="evaluation",
        keys=("weights", "sequence_set", "metric"),
        metrics=("value", "seed"),
        statistics=STATISTICS_OF_PAIRS,
        columns=("weights", "sequence_set", "sequence_rank", *WITH_IDEAL),
        paired=True,
    ),
    "contrasts_while_learning": Table(
        source="epochs",
        keys=("sequence_set", "metric"),
        metrics=("value", "seed"),
        statistics=STATISTICS_OF_PAIRS,
        columns=("iter", "current_set", "sequence_set", "sequence_rank", *WITH_IDEAL),
        paired=True,
    ),
    "by_position": Table(source="positions", keys=("weights", "sequence_set", "position")),
    "attention_maps": Table(
        source="attention",
        keys=("weights", "layer", "head", "predicted_position", "key_position", "query_bit", "key_bit"),
        metrics=("attention",),
    ),
    "attention_similarity": Table(source="attention", keys=("layer", "heads"), metrics=("similarity",)),
    "occupancy": Table(
        source="evaluation",
        keys=("weights", "sequence_set", "sequence_rank", "occupancy"),
        metrics=(*WITH_IDEAL, "fraction_of_ideal", "queue_ideal_recall"),
        columns=("weights", "sequence_set", "sequence_rank", *WITH_IDEAL),
    ),
    "retrieval": Table(
        source="evaluation",
        keys=("weights", "sequence_set"),
        metrics=("accuracy", "ideal_accuracy", "closed_form"),
        columns=("weights", "sequence_set", *WITH_IDEAL),
    ),
    "forgetting": Table(
        source="epochs",
        keys=("sequence_set", "iters_since_switch", "draws_since_switch"),
        metrics=(*WITH_IDEAL, "recall", "occupancy", "queue_ideal_recall"),
        columns=("iter", "sequence_set", "sequence_rank", *WITH_IDEAL),
    ),
    "forgetting_curves": Table(
        source="epochs",
        keys=("iters_since_switch",),
        metrics=("recall", "ideal_recall", *FORMS_OF_FORGETTING),
        columns=("iter", "sequence_set", "accuracy", "ideal_accuracy"),
    ),
    "forgetting_fits": Table(
        source="epochs",
        keys=("form",),
        metrics=("amplitude", "tau", "beta", "floor", "left_out_error", "excess_error"),
        columns=("iter", "sequence_set", "accuracy", "ideal_accuracy"),
        across=True,
    ),
    "half_life": Table(
        source="epochs",
        keys=("sequence_set",),
        metrics=(
            "recall_at_switch",
            "half_life_iters",
            "half_life_draws",
            "lr_times_half_life",
            "reached",
            "queue_half_life_draws",
        ),
        columns=("iter", "sequence_set", "sequence_rank", "accuracy"),
    ),
    "iterations_to_accuracy": Table(
        source="epochs",
        keys=("sequence_set", "threshold"),
        metrics=("iterations", "trained_iterations", "ideal_accuracy"),
        statistics=(
            "median_iterations",
            "median_low",
            "median_high",
            "reached",
            "trained_iterations",
            "ideal_accuracy",
        ),
        columns=("iter", "current_set", "sequence_set", "accuracy", "ideal_accuracy"),
    ),
    "model_comparison": Table(
        source="predictions",
        keys=("weights", "iter", "sequence_set", "candidate"),
        metrics=("kl", "explained", "parameter", "coin_share"),
        across=True,
    ),
    "capacity": Table(
        source="evaluation",
        keys=(
            "weights",
            "sequence_set",
            "num_parameters",
            "sequence_length",
            "embedding_dimension",
            "queue_capacity",
        ),
        metrics=("bits", "bits_per_parameter", "ideal_bits"),
        columns=("weights", "sequence_set", "loss", "ideal_loss"),
    ),
    "capacity_by_epoch": Table(
        source="epochs",
        keys=("sequence_set", "iter"),
        metrics=("bits", "most_bits", "last_quarter"),
        columns=("iter", "current_set", "sequence_set", "loss"),
    ),
}
# The columns of a condition are those before the first of these: no setting may have the name of a key.
KEYS = frozenset(key for table in TABLES.values() for key in table.keys)


def numbers_of_table(table: str) -> dict[str, tuple[str, ...]]:
    """Return the numbers that a table has in every row, each with its columns.

    They are the value and the bounds of its interval, which follow it, or a single column. A mean has the name of
    what was averaged.
    """
    numbers: dict[str, tuple[str, ...]] = {}
    for column in ("num_seeds", *TABLES[table].columns_over_seeds):
        if column.endswith(("_low", "_high")):
            value, columns = numbers.popitem()
            numbers[value] = (*columns, column)
        else:
            numbers[column.removesuffix("_mean")] = (column,)
    return numbers


class FigureScriptError(ValueError):
    """The workflow cannot read the script of a figure.

    The message is one line with its name and what is wrong.
    """


def name_of_figure(script: Path) -> str:
    """Return the name of the figure that a script draws.

    Raises `FigureScriptError` if Snakemake may not be able to use it in the names of files and rules. A forgotten
    copy may have such a name: ``plot_by_rank-copy{1}.py``.
    """
    name = script.stem.removeprefix("plot_")
    if not re.fullmatch("[a-z0-9_]+", name):
        raise FigureScriptError(
            f"{script.name!r}: a figure's name has small letters, digits and _ alone; rename or remove the script"
        )
    return name


def needs_of_figure(script: Path) -> tuple[str, ...]:
    """Return the properties of an experiment that the script of a figure needs.

    They are its constant ``NEEDS``. Raises `FigureScriptError` if that is not a tuple of texts.
    """
    for node in _tree(script).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NEEDS":
            try:
                needs = ast.literal_eval(node.value)
            except ValueError:
                needs = None
            if not isinstance(needs, tuple) or not all(isinstance(need, str) for need in needs):
                raise FigureScriptError(f'{script.name}: NEEDS is not a tuple of texts such as ("a switch",)')
            return needs
    return ()


def tables_of_figure(script: Path) -> tuple[str, ...]:
    """Return the tables that the script of a figure looks up in ``snakemake.input``.

    Raises `FigureScriptError` if it looks up something else, or nothing.
    """
    names = {
        node.attr
        for node in ast.walk(_tree(script))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "snakemake.input"
    }
    for name in sorted(names - TABLES.keys()) or ([] if names else ["<table>"]):
        raise FigureScriptError(
            f"{script.name}: snakemake.input.{name} is not one of the tables {', '.join(sorted(TABLES))}"
        )
    return tuple(table for table in TABLES if table in names)


def _tree(script: Path) -> ast.Module:
    try:
        return ast.parse(script.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise FigureScriptError(f"{script.name}: line {error.lineno}: {error.msg}") from error


def read_table_of_group(path: str | Path) -> "pd.DataFrame":
    """Read a table of an experiment.

    Raises `cache.DamagedTableError`, with the command that makes it again, if it cannot be read or lacks a column.
    """
    # The plan does without pandas.
    from ..storage.cache import read_table

    name = Path(path).stem
    numbers = [column for columns in numbers_of_table(name).values() for column in columns]
    return read_table(path, needed=["model", *TABLES[name].keys, *numbers])
