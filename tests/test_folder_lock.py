"""One call at a time that writes in a folder, by a lock that dies with its process."""

import errno
import fcntl
import os
import signal
import sys

import pytest
from conftest import REPOSITORY
from snakemake.api import DAGApi
from snakemake.cli import main

from memorization.storage.folder_lock import IN_USE, WRITING, FolderInUseError, hold_folder

LOCK = ".snakemake/running"
SNAKEFILE = f"""
import sys
sys.path.insert(0, {str(REPOSITORY / "workflow" / "scripts")!r})
from memorization.storage.folder_lock import keep_calls_apart
keep_calls_apart(workflow)
rule all:
    output: "made", temp("temporary")
    shell: "touch {{output}}"
"""
WRITING_CALLS = [
    "--cores 1 --forceall",
    "--cores 1 --forceall --no-hooks",
    "--cores 1 --touch",
    "--cores 1 --batch all=1/1",
    "--delete-all-output",
    "--delete-temp-output",
    "--cleanup-metadata made",
    "--cleanup-shadow",
    "--unlock",
    "--generate-unit-tests",
    "--conda-cleanup-envs",
]
READING_CALLS = [
    "-n --forceall",
    "--delete-all-output -n",
    "--summary",
    "--detailed-summary",
    "--list-rules",
    "--list-untracked",
    "--list-changes code",
    "--dag",
    "--rulegraph",
    "--filegraph",
    "--d3dag",
    "--print-compilation",
    "--report report.html",
]
# The methods of the workflow that the calls go through which only read, or write a file of their own.
READING = {
    "archive",
    "conda_list_envs",
    "containerize",
    "create_report",
    "export_to_cwl",
    "list_changes",
    "list_untracked",
    "printd3dag",
    "printdag",
    "printfilegraph",
    "printrulegraph",
    "summary",
}


def in_a_process(action, *arguments):
    """Do something in a process of its own and return its status."""
    process = os.fork()
    if process == 0:
        try:
            action(*arguments)
            os._exit(0)
        except FolderInUseError:
            os._exit(7)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr, flush=True)
            os._exit(end.code if isinstance(end.code, int) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def answer(number):
    """A call of the operating system that ends with this error."""

    def call(*arguments):
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture(params=["flock", "no flock"])
def path(request, tmp_path, monkeypatch):
    """The path of a lock, in a file system with and without locks."""
    if request.param == "no flock":
        monkeypatch.setattr(fcntl, "flock", answer(errno.ENOLCK))
    return tmp_path / "running"


def test_a_lock_is_refused_while_another_process_holds_it_and_free_when_that_has_died(path):
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    holder = os.fork()
    if holder == 0:
        with hold_folder(path):
            os.write(from_child, b"x")
            os.read(to_child, 1)
            os._exit(0)
    os.read(to_parent, 1)
    with pytest.raises(FolderInUseError, match="another run of the workflow is going on in this folder"):
        hold_folder(path)
    with hold_folder(path.with_name("another")):
        pass
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    assert in_a_process(hold_folder, path) == 0
    assert in_a_process(hold_folder, path) == 0
    os.close(from_parent)


def test_a_lock_is_free_when_its_holder_is_closed(path):
    for _ in range(2):
        with hold_folder(path):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_in_one_line(number, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fcntl, "flock", answer(number))
    with hold_folder(tmp_path / "running"):
        (line,) = capsys.readouterr().err.splitlines()
    reason = f"this file system has no locks ({os.strerror(number)})"
    assert line == f"{tmp_path}/running: {reason}: only the runs of this machine are kept apart in this folder"


def test_a_lock_that_fails_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", answer(errno.EIO))
    with pytest.raises(OSError, match=f"Input/output error: '{tmp_path}/running'"):
        hold_folder(tmp_path / "running")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A folder in which a small workflow has made its file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    assert in_a_process(main, ["--cores", "1", "--quiet", "all", "--notemp"]) == 0
    return tmp_path


def called(arguments, capfd):
    """Call snakemake in a process of its own; return its status and the lines of its errors."""
    capfd.readouterr()
    status = in_a_process(main, arguments.split())
    return status, capfd.readouterr().err.splitlines()


@pytest.mark.slow
def test_calls_that_write_or_delete_are_kept_apart_from_a_run_and_those_that_read_are_not(made, capfd):
    before = {name: os.stat(name).st_mtime_ns for name in ("made", "temporary")}
    with hold_folder(LOCK):
        for call in WRITING_CALLS:
            status, said = called(call, capfd)
            assert (status, said[-1]) == (1, IN_USE), call
            assert "Traceback" not in "".join(said)
        for call in READING_CALLS:
            status, said = called(call, capfd)
            assert status == 0, said
        assert {name: os.stat(name).st_mtime_ns for name in before} == before
    for call in ("--cores 1 --forceall", "--unlock", "--delete-all-output"):
        assert called(call, capfd)[0] == 0
    assert not (made / "made").exists()


@pytest.mark.slow
def test_a_workflow_with_two_modules_that_are_this_one_holds_the_lock_once(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    after = 'keep_calls_apart(workflow, after=lambda: print("ended well", file=sys.stderr))'
    inner = SNAKEFILE.replace('"made", temp("temporary")', '"made"').replace("keep_calls_apart(workflow)", after)
    (tmp_path / "inner.smk").write_text(inner)
    used = (
        f'module {name}:\n    snakefile: "inner.smk"\n    prefix: "{name}"\nuse rule * from {name} as {name}_*\n'
        for name in ("a", "b")
    )
    (tmp_path / "Snakefile").write_text("".join(used))
    status, said = called("--cores 1 --no-hooks a/made b/made", capfd)
    assert (status, said.count("ended well")) == (0, 2)
    with hold_folder(LOCK):
        assert called("--delete-all-output a/made b/made", capfd)[1][-1] == IN_USE
    assert (tmp_path / "a" / "made").exists()


def test_every_call_that_snakemake_has_is_known_to_read_or_to_write():
    calls = {name for name in vars(DAGApi) if not name.startswith("_")}
    assert calls - {"execute_workflow"} | {"execute"} == READING | set(WRITING)
