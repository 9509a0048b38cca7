"""One run in a folder at a time, by a lock that dies with its process."""

import os

import pytest

from memorization.storage.folder_lock import FolderInUseError, hold_folder


def in_a_process(action):
    """Do something in a process of its own and return its status."""
    process = os.fork()
    if process == 0:
        try:
            action()
            os._exit(0)
        except FolderInUseError:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_a_lock_is_refused_while_another_process_holds_it_and_free_when_that_has_died(tmp_path):
    path = tmp_path / "running"
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    holder = os.fork()
    if holder == 0:
        hold_folder(path)
        os.write(from_child, b"x")
        os.read(to_child, 1)
        os._exit(0)
    os.read(to_parent, 1)
    with pytest.raises(FolderInUseError, match="another run of the workflow is going on in this folder"):
        hold_folder(path)
    os.kill(holder, 9)
    os.waitpid(holder, 0)
    assert in_a_process(lambda: hold_folder(path)) == 0
    assert in_a_process(lambda: hold_folder(path)) == 0
    os.close(from_parent)
