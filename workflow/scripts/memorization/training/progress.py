"""Progress of a training: a bar on a terminal, plain lines in its log file."""

import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def progress_to(log: IO[str], name: str) -> Callable[[range], Iterable[int]]:
    """Return a wrapper of a range of iterations that shows the progress.

    The progress includes the time left. The wrapper draws a bar named ``name`` if stderr is a terminal, and
    writes lines to ``log`` if not.
    """
    if sys.stderr.isatty():
        return partial(tqdm, desc=name, unit="it", leave=False, dynamic_ncols=True)
    return partial(_ProgressLines, file=log, mininterval=SECONDS_BETWEEN_LINES, unit="it", ascii=True, ncols=80)


class _ProgressLines(tqdm):
    """A progress bar for files: each state of it is written as a line."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        self.fp.write(f"{self}\n" if msg is None else f"{msg}\n")
