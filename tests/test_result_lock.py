"""One job at a time makes a result, on all machines of a shared file system."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import REPOSITORY

from memorization.storage import result_lock
from memorization.storage.result_lock import hold_result, this_job


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A holder counts as dead after two seconds, so that no test takes long."""
    monkeypatch.setattr(result_lock, "SECONDS", 0.1)
    monkeypatch.setattr(result_lock, "LOOKS", 20)


def held_by(folder, **changed):
    """Write the lock of a job with these entries, and return its path."""
    path = folder / "run.lock"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(this_job() | changed))
    return path


def seconds_to_take(folder):
    start = time.monotonic()
    with hold_result(folder / "run.pkl"):
        return time.monotonic() - start


def test_a_lock_is_there_as_long_as_it_is_held(tmp_path):
    with pytest.raises(ValueError), hold_result(tmp_path / "run.pkl"):
        assert json.loads((tmp_path / "run.lock").read_text())["process"] == os.getpid()
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "holder",
    [{"process_start": "1"}, {"process": 2**22 + 1}],
    ids=["another process has its number", "its process has ended"],
)
def test_a_lock_whose_holder_is_known_to_be_dead_is_taken_at_once(holder, tmp_path):
    held_by(tmp_path, **holder)
    assert seconds_to_take(tmp_path) < 1.9


def refuse(*call):
    raise PermissionError


@pytest.mark.parametrize(
    "holder",
    [
        {"pid_namespace": "pid:[1]", "process": 2**22 + 1},
        {"pid_namespace": "pid:[1]", "process_start": "1"},
        {"boot": "of another machine", "process": 2**22 + 1},
        {"of_another_user": True, "process": 2**22 + 1},
    ],
    ids=[
        "unseen in another container",
        "its number is another one's here",
        "on another machine with this one's name",
        "hidden, of another user",
    ],
)
def test_a_holder_that_cannot_be_seen_is_not_taken_for_dead(holder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    if holder.pop("of_another_user", False):
        monkeypatch.setattr(os, "kill", refuse)
    held_by(tmp_path, **holder)
    with caplog.at_level("INFO"):
        seconds_to_take(tmp_path)
    assert "waiting until it ends" in caplog.text


def test_a_lock_says_since_when_it_is_held_and_not_since_when_it_was_waited_for(tmp_path, monkeypatch):
    times = iter(["11:00", "12:00"])
    monkeypatch.setattr(time, "strftime", lambda format: next(times, "13:00"))
    held_by(tmp_path, process=2**22 + 1)
    with hold_result(tmp_path / "run.pkl"):
        assert json.loads((tmp_path / "run.lock").read_text())["since"] == "13:00"


def test_a_lock_of_another_machine_is_taken_when_it_gives_no_sign_of_life(tmp_path):
    path = held_by(tmp_path, host="elsewhere")
    alive = threading.Event()

    def live():
        for _ in range(30):
            time.sleep(0.1)
            os.utime(path)
        alive.set()

    thread = threading.Thread(target=live)
    thread.start()
    assert seconds_to_take(tmp_path) > 3
    assert alive.is_set()
    thread.join()


HOLDER = """
import logging, os, signal, sys, time
from memorization.storage import result_lock
result_lock.SECONDS = float(sys.argv[2])
logging.basicConfig()
# As a training that finishes its iteration and writes a checkpoint.
signal.signal(signal.SIGTERM, lambda number, frame: print("writes", flush=True))
with result_lock.hold_result(sys.argv[1]):
    print("holds", flush=True)
    sys.stdin.read()
    result_lock.end_if_taken_over(sys.argv[1])
    print("writes", flush=True)
"""


def start_holder(result, seconds):
    """Start a process that holds the lock, looks at it so often, and writes when its input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, result, str(seconds)],
        cwd=REPOSITORY / "workflow" / "scripts",
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert holder.stdout.readline() == "holds\n"
    return holder


@pytest.mark.parametrize("seconds", [0.01, 100], ids=["at the next look", "before the next look, when it writes"])
def test_a_holder_whose_lock_was_taken_over_ends_and_writes_nothing(seconds, tmp_path):
    holder = start_holder(tmp_path / "run.pkl", seconds)
    # In one step, as a lock is removed and created again.
    path = held_by(tmp_path / "other", host="elsewhere").replace(tmp_path / "run.lock")
    if seconds < 1:
        assert holder.wait(10) == -signal.SIGKILL
    written, said = holder.communicate(timeout=10)
    assert holder.returncode == -signal.SIGKILL
    assert written == ""
    assert "another job has taken the lock over, this one ends: process" in said
    assert json.loads(path.read_text())["host"] == "elsewhere"


@pytest.mark.parametrize("renamed", [False, True], ids=["as before", "another name of the machine"])
def test_a_holder_that_keeps_its_lock_writes(renamed, tmp_path):
    holder = start_holder(tmp_path / "run.pkl", 100)
    if renamed:
        path = tmp_path / "run.lock"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "as-it-was-called"}))
    assert holder.communicate(timeout=10)[0] == "writes\n"
    assert holder.returncode == 0


def test_a_lock_that_cannot_be_written_names_its_file(tmp_path):
    with pytest.raises(OSError, match=r"No such file.*absent/run\.lock"):
        seconds_to_take(tmp_path / "absent")


@contextmanager
def failing(monkeypatch, times):
    """Let the next reads of a lock fail, so often, as on a network file system; it yields the failures left."""
    left, real = [errno.ESTALE] * times, open

    def open_or_fail(path, *mode, **keywords):
        if str(path).endswith(".lock") and left:
            raise OSError(left.pop(), "Stale file handle")
        return real(path, *mode, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", open_or_fail)
        yield left


def wait_until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_holder_keeps_its_lock_if_that_cannot_be_read_for_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    path = tmp_path / "run.lock"
    with hold_result(tmp_path / "run.pkl"):
        with failing(monkeypatch, 5) as left:
            wait_until(lambda: not left)
        content, date = path.read_text(), path.stat().st_mtime_ns
        wait_until(lambda: path.stat().st_mtime_ns > date)
        assert path.read_text() == content
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_holder_shows_that_it_is_alive_where_no_date_can_be_set(number, tmp_path, monkeypatch):
    def unsupported(*call):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "utime", unsupported)
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    path = tmp_path / "run.lock"
    with hold_result(tmp_path / "run.pkl"):
        content, date = path.read_text(), path.stat().st_mtime_ns
        wait_until(lambda: path.stat().st_mtime_ns > date)
        assert path.read_text() == content


def test_a_holder_that_is_seen_alive_keeps_its_lock_without_a_sign(tmp_path, monkeypatch):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    holder = start_holder(tmp_path / "run.pkl", 100)
    threading.Timer(0.4, holder.stdin.close).start()
    assert seconds_to_take(tmp_path) > 0.4
    assert holder.wait(10) == 0


def test_a_holder_creates_a_lock_again_that_was_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    path = tmp_path / "run.lock"
    with hold_result(tmp_path / "run.pkl"):
        content = path.read_text()
        path.unlink()
        wait_until(lambda: path.exists() and path.read_text() == content)


def test_a_job_that_waits_goes_on_if_the_lock_cannot_be_read_for_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    path = held_by(tmp_path, process=2**22 + 1)
    with failing(monkeypatch, result_lock.LOOKS) as left:
        seconds_to_take(tmp_path)
        assert left == []
    assert not path.exists()


def test_a_lock_that_can_never_be_read_ends_the_job_and_names_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(result_lock, "SECONDS", 0.005)
    held_by(tmp_path)
    # A read more than it waits for, and no second round.
    with failing(monkeypatch, 1000) as left, pytest.raises(OSError, match=r"Stale file handle.*run\.lock"):
        seconds_to_take(tmp_path)
    assert 1000 - len(left) == result_lock.LOOKS + 1
