"""The names of a group's tables, and which of them a figure is drawn from."""

import ast
from pathlib import Path

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


OF_EVERY_GROUP = ("by_epoch", "by_rank", "by_appearances", "by_weights")
"""The tables that a group has whatever its figures; others are made where a figure is drawn from them."""


def needs_of_figure(script: Path) -> tuple[str, ...]:
    """Return what the script of a figure says that it needs of an experiment: its constant ``NEEDS``."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NEEDS":
            return ast.literal_eval(node.value)
    return ()


def tables_of_figure(script: Path) -> tuple[str, ...]:
    """Return the tables that the script of a figure reads: the names that it looks up in ``snakemake.input``."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "snakemake.input"
    }
    return tuple(table for table in SOURCES if table in names)
