"""The log file of a job."""

import atexit
import faulthandler
import gc
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO

from .file_system import remove_if_possible

# The open log of this job, and where in it this attempt begins.
_log_of_this_job: tuple[IO[str], int] | None = None
# The messages of every module of it are told.
_LIBRARY = __name__.partition(".")[0]
_logger = logging.getLogger(__name__)


def start_log(path: str) -> IO[str]:
    """Send the messages of the library, and all warnings, to the log file at ``path``.

    Returns the open file. It keeps what earlier attempts wrote that failed or were killed, above a line. An error
    that ends the job is logged with its traceback, and the terminal shows one line of it. A job calls this first,
    before it imports anything slow or anything that its environment may lack.
    """
    # First without a file, since the log itself may be what cannot be written.
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)
    sys.excepthook = partial(_log_whole_and_show_line, path)
    log = _open_after_earlier_attempts(Path(path))
    logging.basicConfig(
        stream=log, level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    # Of other libraries only warnings: fontTools has sixty lines to say of each figure.
    logging.getLogger(_LIBRARY).setLevel(logging.INFO)
    logging.captureWarnings(True)
    # A library that crashes in its own code leaves at least the lines of Python that led there.
    faulthandler.enable(log)
    # On a full disk the job fails in its own write, not in logging.
    logging.raiseExceptions = False
    _collect_seldom()
    return log


def _open_after_earlier_attempts(path: Path) -> IO[str]:
    """Open a log to append to what earlier attempts wrote.

    Snakemake deletes the log before each attempt. So the file has a second name as long as no attempt has ended
    well, or for longer (`keep_attempts`). On a file system without such links, it has only what the last attempt
    wrote.
    """
    global _log_of_this_job
    second = second_name_of(path)
    log = open(second, "a+", encoding="utf-8", buffering=1)  # noqa: SIM115 - open until the job ends
    if log.tell():
        log.write(f"\n{time.strftime('---- another attempt, %Y-%m-%d %H:%M:%S ----')}\n")
    _log_of_this_job = log, log.tell()
    path.unlink(missing_ok=True)
    try:
        os.link(second, path)
    except OSError:
        os.replace(second, path)
    # Not after an error, nor if the job is killed.
    atexit.register(remove_if_possible, second)
    return log


def second_name_of(log: Path) -> Path:
    """Return the name under which a log outlives an attempt."""
    return log.with_name(f"{log.name}.attempts")


def keep_attempts() -> None:
    """Let the log keep its second name, even if this attempt ends well.

    A training asks for it. Snakemake may remove its log and result again, and the next attempt only takes the
    result from the checkpoint. The second name is removed with the checkpoint.
    """
    atexit.unregister(remove_if_possible)


def forget_earlier_attempts() -> None:
    """Remove from the log what earlier attempts wrote, since they made something else."""
    if _log_of_this_job is None:
        return
    log, start = _log_of_this_job
    log.seek(start)
    of_this_attempt = log.read()
    log.truncate(0)
    log.write(of_this_attempt)


def _log_whole_and_show_line(
    path: str, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    atexit.unregister(remove_if_possible)
    logging.critical("the job failed", exc_info=(kind, error, traceback))
    # The message of an import that fails can begin with empty lines.
    first_line = next(filter(None, map(str.strip, str(error).splitlines())), "")
    print(f"{kind.__name__}: {first_line} (more in {path})", file=sys.stderr)


def _collect_seldom() -> None:
    """Make Python look less often for objects that nothing uses any more.

    An import makes a hundred thousand objects that stay. Python would visit them in many collections meanwhile and
    once more when it ends, for a tenth of the time of the imports.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


@contextmanager
def cpu_time_logged(what: str) -> Iterator[None]:
    """Log the CPU time that ``what`` takes, of all threads of the job.

    It is not logged after an error.
    """
    start = time.process_time()
    yield
    _logger.info("%s took %.3f s of CPU time", what, time.process_time() - start)


def logged_cpu_time(path: str | Path) -> float:
    """Return the sum of the CPU times, in seconds, that are logged at ``path``."""
    text = Path(path).read_text(encoding="utf-8")
    return sum(map(float, re.findall(r" took ([\d.]+) s of CPU time$", text, re.MULTILINE)))
