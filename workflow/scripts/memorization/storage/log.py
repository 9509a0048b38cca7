"""The log file of a job."""

import logging
import sys
from typing import IO


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
