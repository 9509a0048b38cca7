"""A lock that allows one run of the workflow in a folder at a time.

It dies with the process that holds it.
"""

import fcntl
from pathlib import Path
from typing import IO


class FolderInUseError(RuntimeError):
    """Another run of the workflow is using this folder."""


# The lock is held as long as the file is open.
_held: list[IO[str]] = []


def hold_folder(path: str | Path) -> None:
    """Take the lock ``path`` and hold it until the process ends, even if it is killed.

    Raises `FolderInUseError` if another process holds the lock.
    """
    file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - open until the process ends
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise FolderInUseError(
            "another run of the workflow is going on in this folder: wait for it to end, or run in another folder"
        ) from None
    _held.append(file)
