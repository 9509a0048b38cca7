"""The log file of a job."""

import gc
import logging
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def start_log(path: str) -> IO[str]:
    """Send the messages of the library to the log file at ``path``.

    Returns the open file. An error that ends the job is logged with its traceback, and the terminal shows its
    first line. A job calls this first, after its imports.
    """
    # The objects of the imported libraries last as long as the job. Otherwise Python visits all of them in later
    # collections and when it ends, for a tenth of the time of the imports.
    gc.freeze()

    def log_whole_and_show_line(kind, error, traceback):
        logging.critical("the job failed", exc_info=(kind, error, traceback))
        first_line = next(iter(str(error).splitlines()), "")
        print(f"{kind.__name__}: {first_line} (more in {path})", file=sys.stderr)

    # First without a file, since the log itself may be what cannot be written.
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    sys.excepthook = log_whole_and_show_line
    log = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 - open until the job ends
    logging.basicConfig(
        stream=log, level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    # On a full disk the job fails in its own write, not in logging.
    logging.raiseExceptions = False
    return log


@contextmanager
def cpu_time_logged(what: str) -> Iterator[None]:
    """Log the CPU time that ``what`` takes, of all threads of the job.

    It is not logged after an error.
    """
    start = time.process_time()
    yield
    logging.info("%s took %.3f s of CPU time", what, time.process_time() - start)


def logged_cpu_time(path: str | Path) -> float:
    """Return the sum of the CPU times, in seconds, that are logged at ``path``."""
    text = Path(path).read_text(encoding="utf-8")
    return sum(map(float, re.findall(r" took ([\d.]+) s of CPU time$", text, re.MULTILINE)))
