"""Where the checkpoint of a training lies."""

from collections.abc import Iterable
from pathlib import Path

from .file_system import remove_if_possible


def checkpoint_of(result: str | Path) -> Path:
    """Return the path of the checkpoint of the training that makes ``result``."""
    result = Path(result)
    return result.with_name(f"{result.stem}.checkpoint.pkl")


def remove_checkpoints(results: Iterable[str | Path]) -> None:
    """Remove the checkpoints of the trainings whose results are there."""
    for result in results:
        if Path(result).exists():
            remove_if_possible(checkpoint_of(result))
