"""Where the checkpoint of a training lies."""

import os
from collections.abc import Iterable
from pathlib import Path

from .file_system import remove_if_possible
from .log import second_name_of


def checkpoint_of(result: str | Path) -> Path:
    """Return the path of the checkpoint of the training that makes ``result``."""
    result = Path(result)
    return result.with_name(f"{result.stem}.checkpoint.pkl")


def remove_checkpoints(results: Iterable[str | Path]) -> None:
    """Remove the checkpoints of the trainings whose results are there.

    What keeps the logs of their attempts is removed too.
    """
    for result in map(Path, results):
        # Unlike the method of a path, it answers for any file that cannot be looked at.
        if os.path.exists(result):
            remove_if_possible(checkpoint_of(result))
            remove_if_possible(second_name_of(result.with_name(f"{result.stem}.log")))
