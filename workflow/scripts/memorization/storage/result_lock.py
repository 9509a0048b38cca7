"""A lock that allows one job at a time to make a result.

It holds on all machines that share the file system, and needs nothing that a network file system may lack: only a
file that is created if it is absent, and the date of that file, by which its holder shows that it is alive.
"""

import errno
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .file_system import UNSUPPORTED, errors_name, remove_if_possible

# Seconds from one sign of life of a holder to the next, and from one look of a waiting job to the next. A holder
# counts as dead after so many looks without a sign. Looks are counted, since a job that waits may be suspended.
SECONDS = 5.0
LOOKS = 12
# Some file systems let nobody set the date of a file.
UNSUPPORTED_FOR_DATES = UNSUPPORTED | {errno.EPERM}

logger = logging.getLogger(__name__)


@contextmanager
def hold_result(result: str | Path) -> Iterator[None]:
    """Hold the lock of the file ``result`` that a job makes.

    It is ``<stem>.lock`` beside the file. If another job holds it, the log says which one, and this job waits. It
    takes the lock over if the other is dead: its process on this machine has ended, or it gives no sign of life
    for a minute. A holder that finds its lock taken over (it was suspended, say) ends at once and writes nothing.
    """
    path = _lock_of(result)
    # At each try, since it says when the lock was taken.
    while not _created(path, content := json.dumps(this_job())):
        _wait_for_release(path, Path(result).name)
    ended = threading.Event()
    thread = threading.Thread(target=_show_life, args=(path, content, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        # If it cannot be read, it stays; the result is made all the same.
        with suppress(OSError):
            if _read(path) == content:
                remove_if_possible(path)


def end_if_taken_over(result: str | Path) -> None:
    """End this process at once if another job holds the lock of ``result``.

    A job that was suspended asks this before it writes: its thread may not have looked yet. (It may still be
    suspended between this and the write.) If the lock cannot be read, or nobody holds it, the job goes on.
    """
    with suppress(OSError):
        _end_if_of_another(_lock_of(result), _parsed(_read(_lock_of(result))))


def _end_if_of_another(path: Path, holder: dict[str, Any]) -> None:
    """Kill this process if the lock has another holder.

    A signal that it heeds would let it write once more. The name of a machine may change while a job runs.
    """
    mine = {key: value for key, value in this_job().items() if key not in ("since", "host")}
    if holder and any(holder.get(key) != value for key, value in mine.items()):
        logger.warning("another job has taken the lock over, this one ends: %s", _name(holder, path))
        os.kill(os.getpid(), signal.SIGKILL)


def _lock_of(result: str | Path) -> Path:
    return Path(result).with_name(f"{Path(result).stem}.lock")


def this_job() -> dict[str, Any]:
    """Return what tells this job from others, and what a person needs to find it."""
    return {
        "host": socket.gethostname(),
        "boot": _boot(),
        "pid_namespace": _pid_namespace(),
        "process": os.getpid(),
        "process_start": _start_of(os.getpid()),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_node": os.environ.get("SLURMD_NODENAME"),
        "since": time.strftime("%Y-%m-%d %H:%M"),
    }


def _boot() -> str:
    """Return what tells this start of this machine from others; empty without /proc.

    Nodes may share a host name, and outside containers the PID namespace has the same number on every machine.
    """
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _pid_namespace() -> str | None:
    """Return within which processes the number of this one holds; None without /proc."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return None


def _name(holder: dict[str, Any], path: Path) -> str:
    """Return the name of a holder for a person, and since when it holds the lock."""
    if not holder:
        return f"another job ({path})"
    host = holder["slurm_node"] or holder["host"]
    process = f"SLURM job {holder['slurm_job']}" if holder["slurm_job"] else f"process {holder['process']}"
    return f"{process} on {host} since {holder['since']} ({path})"


def _created(path: Path, content: str) -> bool:
    """Create the lock with this content, or return false if it is there already."""
    with errors_name(path):
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(file, content.encode())
        except OSError:
            remove_if_possible(path)
            raise
        finally:
            os.close(file)
    return True


def _wait_for_release(path: Path, result: str) -> None:
    """Wait until the lock is released, or remove it if its holder is dead."""
    seen, looks, told = None, 0, False
    while (now := _sign_when_answered(path)) is not None:
        content = now[0]
        holder = _parsed(content)
        looks = looks + 1 if now == seen and not _is_seen_alive(holder) else 0
        seen = now
        if _is_dead(holder) or looks > LOOKS:
            logger.info("the job that made %s is dead: %s", result, _name(holder, path))
            with errors_name(path):
                # Unless another job that waits has been faster.
                if _read(path) == content:
                    path.unlink(missing_ok=True)
            return
        if not told:
            logger.info("%s is made by %s: waiting until it ends", result, _name(holder, path))
            told = True
        time.sleep(SECONDS)


def _sign_when_answered(path: Path) -> tuple[str, int] | None:
    """Return `_sign_of` the lock, as soon as the file system answers.

    Raises `OSError` with the name of the lock if it does not answer for a minute.
    """
    for _ in range(LOOKS):
        with suppress(OSError):
            return _sign_of(path)
        time.sleep(SECONDS)
    with errors_name(path):
        return _sign_of(path)


def _is_dead(holder: dict[str, Any]) -> bool:
    """Tell whether the holder is known to be dead.

    That is so only if its process, were it alive, could be seen from here.
    """
    if not _is_here(holder) or _is_of_another_user(holder["process"]):
        return False
    return _start_of(holder["process"]) != holder["process_start"]


def _is_seen_alive(holder: dict[str, Any]) -> bool:
    """Tell whether the holder's process can be seen from here.

    It is then alive, whatever sign it gives.
    """
    return _is_here(holder) and _start_of(holder["process"]) == holder["process_start"]


def _is_here(holder: dict[str, Any]) -> bool:
    """Tell whether the holder's process runs, or ran, where this one can look.

    Two containers on a machine may have one host name.
    """
    me = this_job()
    same = holder and all(holder.get(key) == me[key] for key in ("host", "boot", "pid_namespace"))
    return bool(same) and holder["process_start"] is not None


def _is_of_another_user(process: int) -> bool:
    """Tell whether a process is there that belongs to another user: /proc may hide it."""
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _start_of(process: int) -> str | None:
    """Return when a process started, in ticks since the machine did.

    Numbers of processes are used again, but not with the same start. None if there is no such process, and on
    systems without /proc.
    """
    try:
        # The name, in parentheses, may hold spaces.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # A zombie has ended.
    return None if fields[0] == "Z" else fields[19]


def _show_life(path: Path, content: str, ended: threading.Event) -> None:
    """Change the date of the lock every few seconds, as long as it is this job's."""
    while not ended.wait(SECONDS):
        # A file system that does not answer now may do so at the next look.
        with suppress(OSError):
            now = _read(path)
            if now == content:
                _change_date(path, content)
            elif now is None:
                # Somebody has deleted it by hand. If another job is faster, the next look tells.
                _created(path, content)
            else:
                _end_if_of_another(path, _parsed(now))


def _change_date(path: Path, content: str) -> None:
    """Change the date of the lock, which has this content."""
    try:
        os.utime(path)
    except OSError as error:
        if error.errno not in UNSUPPORTED_FOR_DATES:
            raise
        # In the same open file: by now, the name may be that of another job's lock.
        with open(path, "r+") as file:
            if file.read() == content:
                file.seek(0)
                file.write(content)


def _read(path: Path) -> str | None:
    """Return the content of the lock, or None if there is none."""
    sign = _sign_of(path)
    return sign and sign[0]


def _sign_of(path: Path) -> tuple[str, int] | None:
    """Return the content and the date of the lock, or None if there is none.

    The file is opened first: a network file system then asks the server for the date.
    """
    try:
        with open(path) as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _parsed(content: str | None) -> dict[str, Any]:
    """Return what is known of a holder: nothing while it is still writing."""
    try:
        return json.loads(content or "")
    except ValueError:
        return {}
