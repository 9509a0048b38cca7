"""A lock that allows one call of Snakemake at a time to write in a folder.

It dies with the process that holds it.
"""

import errno
import fcntl
import functools
import hashlib
import os
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .file_system import UNSUPPORTED, errors_name

# The methods of Snakemake's workflow that write or delete, by their names. A call on the command line or of the
# API goes through one of them, after the Snakefile has been read and before anything is done.
WRITING = (
    "execute",  # also with --touch
    "delete_output",
    "cleanup_metadata",
    "cleanup_shadow",
    "unlock",
    "conda_create_envs",
    "conda_cleanup_envs",
    "container_cleanup_images",
    "generate_unit_tests",
)
# Some network file systems have locks only if a service runs.
UNSUPPORTED_FOR_LOCKS = UNSUPPORTED | {errno.ENOLCK}
IN_USE = "another run of the workflow is going on in this folder: wait for it to end, or run in another folder"


class FolderInUseError(RuntimeError):
    """Another run of the workflow is using this folder."""


def keep_calls_apart(
    workflow: Any,
    path: str | Path = ".snakemake/running",
    before: Callable[[Any], None] = lambda executor: None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Let each call of Snakemake that writes or deletes hold the lock ``path``.

    ``workflow`` is the object of this name in a Snakefile. A call that finds the lock held ends in one line, with
    nothing changed. A call with the lock calls ``before`` first, with Snakemake's plugin for jobs if it runs some,
    and a run that has ended well calls ``after``. Calls that only read, and the jobs of a run, do not ask for the
    lock. Snakemake's `onstart` and `onsuccess` would not do: they are not called with --no-hooks or in a module,
    nor is the first before a deletion.
    """
    if not workflow.is_main_process:
        return
    # Two modules of a workflow can be this one: there is one lock, but each has its own ``after``.
    if WRITING[0] not in vars(workflow):
        for name in WRITING:
            setattr(workflow, name, _holding(path, getattr(workflow, name), before))
    workflow.execute.after.append(after)


def _holding(path: str | Path, method: Callable, before: Callable[[Any], None]) -> Callable:
    """Return ``method`` so that it holds the lock ``path`` while it runs.

    What is in the list ``after`` of the returned function is called when it has ended well.
    """

    @functools.wraps(method)
    def held(*args: Any, **kwargs: Any) -> Any:
        executor = kwargs.get("executor_plugin")
        if kwargs.get("dryrun") or (executor and executor.common_settings.dryrun_exec):
            return method(*args, **kwargs)
        try:
            lock = hold_folder(path)
        except (FolderInUseError, OSError) as error:
            # Exits without the traceback and the banner of an exception.
            raise SystemExit(str(error)) from None
        with lock:
            before(executor)
            result = method(*args, **kwargs)
            # Snakemake returns false if files that it was to wait for did not come.
            if result is not False:
                for action in held.after:
                    action()
            return result

    held.after = []
    return held


def hold_folder(path: str | Path) -> AbstractContextManager:
    """Take the lock ``path`` and return what holds it.

    It is held until that is closed or the process ends, even if it is killed. If the file system has no locks, one
    of this machine keeps its processes apart, and a line says so. Raises `FolderInUseError` if another process
    holds the lock, and `OSError` with the name of the lock if it cannot be taken.
    """
    path = Path(path)
    with errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - held by the caller
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                raise FolderInUseError(IN_USE) from None
            if error.errno not in UNSUPPORTED_FOR_LOCKS:
                raise
            return _hold_on_this_machine(path, error.strerror)
    return file


def _hold_on_this_machine(path: Path, reason: str) -> AbstractContextManager:
    """Take the name of a socket that stands for the lock ``path``.

    One process of a machine at a time can have it, and it needs no file system.
    """
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    holder = socket.socket(socket.AF_UNIX)
    apart = "only the runs of this machine are kept apart in this folder"
    try:
        # Linux keeps a name that begins with a zero byte out of the file system.
        holder.bind(f"\0{name}")
    except OSError as error:
        holder.close()
        if error.errno == errno.EADDRINUSE:
            raise FolderInUseError(IN_USE) from None
        apart = "two runs in this folder are not kept apart"
    print(f"{path}: this file system has no locks ({reason}): {apart}", file=sys.stderr)
    return holder
