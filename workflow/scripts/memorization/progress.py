"""How a job says how far it is: a bar on a terminal, plain lines in its log file."""

import logging
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


def start_log(path: str) -> IO[str]:
    """Send the messages of the library to the log file at ``path`` and return it.

    What ends the job goes there too, whole; the terminal gets one line of it.
    """

    def log_whole_and_show_line(kind, error, traceback):
        logging.critical("the job failed", exc_info=(kind, error, traceback))
        first_line = next(iter(str(error).splitlines()), "")
        print(f"{kind.__name__}: {first_line} (more in {path})", file=sys.stderr)

    # The log may be the first that cannot be written.
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    sys.excepthook = log_whole_and_show_line
    log = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - open until the job ends
    logging.basicConfig(
        stream=log, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    # A full disk ends the job by what it writes, not by what it says of it.
    logging.raiseExceptions = False
    return log


def progress_to(log: IO[str], name: str) -> Callable[[range], Iterable[int]]:
    """Return what shows the progress, with an ETA, through a range of iterations."""
    if sys.stderr.isatty():
        return partial(tqdm, desc=name, unit="it", leave=False, dynamic_ncols=True)
    return partial(_ProgressLines, file=log, mininterval=SECONDS_BETWEEN_LINES, unit="it", ascii=True, ncols=80)


class _ProgressLines(tqdm):
    """A progress bar of which each state is a line of its own, for files."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        self.fp.write(f"{self}\n" if msg is None else f"{msg}\n")
