"""Calls that a file system may lack, told apart from calls that fail.

A file on NFS, Lustre, CIFS or FUSE is written as on a local disk, but not everything that makes it safer is there.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The answers to a call that the file system does not have.
UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY}
# Some file systems do not let a folder be opened, or flush only what is open for writing.
UNSUPPORTED_FOR_FOLDERS = UNSUPPORTED | {errno.EACCES, errno.EISDIR, errno.EBADF}


@contextmanager
def errors_name(path: str | Path) -> Iterator[None]:
    """Let every `OSError` name ``path``: that of a full disk names no file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def flush_file(descriptor: int) -> None:
    """Flush an open file to the disk, if its file system can do so.

    Raises `OSError` if the disk cannot take it.
    """
    with _lacking(UNSUPPORTED):
        os.fsync(descriptor)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, if its file system can do so.

    Raises `OSError` if the disk cannot take them.
    """
    with _lacking(UNSUPPORTED_FOR_FOLDERS):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_if_possible(path: Path) -> None:
    """Remove a file that is of no use any more; if it cannot be removed, it stays."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


@contextmanager
def _lacking(answers: set[int]) -> Iterator[None]:
    """Go on after an `OSError` with one of these ``answers``."""
    try:
        yield
    except OSError as error:
        if error.errno not in answers:
            raise
