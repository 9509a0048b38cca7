"""Sidecars, the trace of a figure, and tables that are damaged."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, Named, copy_repository, snakemake

from memorization.figures.drawing import new_figure, save_figure
from memorization.storage import commit, provenance
from memorization.storage.cache import DamagedTableError, read_pickle, read_table, write_pickle, write_table
from memorization.storage.provenance import (
    PARTS,
    RECORDED_VARIABLES,
    machine,
    machines_of,
    name_of_machine,
    processor,
    read_provenance,
    sha256,
    write_provenance,
)
from memorization.storage.unpickling import DamagedPickleError, UnsafePickleError
from memorization.tables.registry import read_table_of_group

SCRIPTS = REPOSITORY / "workflow" / "scripts"


def job(folder, rule, inputs, output, **params):
    """What a script sees as ``snakemake``; its output is written."""
    path = folder / output
    path.write_text(rule)
    return SimpleNamespace(
        rule=rule,
        input=Named(**{f"input_{i}": str(folder / name) for i, name in enumerate(inputs)}),
        output=Named(output=str(path)),
        params=Named(**params),
    )


def test_a_sidecar_says_what_a_result_was_made_by_and_from(tmp_path):
    (tmp_path / "in").write_text("input")
    write_provenance(job(tmp_path, "train", ["in"], "out.pkl", settings={"lr": 0.1}, code="abc"))
    sidecar = json.loads((tmp_path / "out.pkl.provenance.json").read_text())
    assert sidecar["rule"] == "train"
    assert sidecar["params"] == {"settings": {"lr": 0.1}, "code": "abc"}
    assert sidecar["inputs"] == {str(tmp_path / "in"): sha256(tmp_path / "in")}
    assert sidecar["sha256"] == sha256(tmp_path / "out.pkl")
    assert sidecar["code"].keys() == {"commit", "dirty", "edited"}
    assert sidecar["libraries"]["torch"].startswith("2.13.0")
    assert sidecar["processor"]


def test_an_environment_without_a_library_has_provenance_too(tmp_path, monkeypatch):
    """The environment of a rule has what its scripts import, and no more."""
    (tmp_path / "in").write_text("input")
    monkeypatch.setattr(provenance, "LIBRARIES", ("numpy", "a library that is not there"))
    write_provenance(job(tmp_path, "plot", ["in"], "out.png"))
    libraries = json.loads((tmp_path / "out.png.provenance.json").read_text())["libraries"]
    assert libraries == {"numpy": np.__version__, "a library that is not there": None}


# The instructions and the threads that libraries have chosen, in a process of its own.
MACHINE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import torch
from memorization.storage.provenance import write_provenance
torch.set_num_threads(2)
write_provenance(SimpleNamespace(rule="train", params={}, input=[], output=[sys.argv[1]]))
"""


def test_a_sidecar_says_which_instructions_and_threads_were_used_and_not_only_asked_for(tmp_path):
    of_a_shell = {name: value for name, value in os.environ.items() if name not in RECORDED_VARIABLES}

    def said(**variables):
        (tmp_path / "run.pkl").write_text("")
        call = [sys.executable, "-c", MACHINE, tmp_path / "run.pkl"]
        subprocess.run(call, cwd=SCRIPTS, env=of_a_shell | variables, check=True)
        return read_provenance(tmp_path / "run.pkl")

    usual = said()
    found = usual["instructions_of_numpy"]
    other = {"ATEN_CPU_CAPABILITY": "default"} | ({"NPY_DISABLE_CPU_FEATURES": found[-1]} if found else {})
    slower = said(**other, OMP_THREAD_LIMIT="1")
    assert (usual["environment"], slower["environment"]) == ({}, other)
    assert (usual["threads_of_torch"], slower["threads_of_torch"]) == (2, 1)
    assert slower["instructions_of_torch"] == "DEFAULT"
    assert slower["instructions_of_numpy"] == found[:-1]
    assert usual["python"] == platform.python_version()
    names = machines_of([str(tmp_path / "run.pkl")])
    assert names == [f"{processor()} under {' '.join(f'{name}={value}' for name, value in other.items())}"]


# The commit.


def git(folder, *arguments):
    call = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def repository(folder, of=commit.__file__):
    """A repository with this one file of the code, committed; and the commit."""
    copy = folder / "workflow" / "scripts" / "memorization" / "storage" / "commit.py"
    copy.parent.mkdir(parents=True)
    shutil.copy(of, copy)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "all")
    return git(folder, "rev-parse", "HEAD")


def asked(folder):
    """The code of a folder as its own module asks git for it; the module."""
    path = folder / "workflow" / "scripts" / "memorization" / "storage" / "commit.py"
    spec = importlib.util.spec_from_file_location("commit_of_another_folder", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


UNKNOWN = {"commit": "unknown", "dirty": None}


def test_tests_leave_the_repository_of_the_caller_alone(tmp_path):
    """A hook of git, for example, calls the tests with the variables of its repository."""
    git(tmp_path, "init", "-q", "ours")
    code = "import conftest, subprocess; subprocess.run(['git', 'rev-parse', '--git-dir'], cwd='ours', check=True)"
    variables = {"GIT_DIR": f"{tmp_path}/theirs", "PYTHONPATH": str(REPOSITORY / "tests")}
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True)
    assert done.stdout == ".git\n", done.stderr


def test_the_commit_is_that_of_the_repository_and_changes_of_its_code_are_told(tmp_path):
    head = repository(tmp_path)
    (tmp_path / "notes.txt").write_text("not code")
    code_in_git = asked(tmp_path).code_in_git
    assert code_in_git() == {"commit": head, "dirty": False}
    # A user who does not want to see new files in `git status` has changes by them all the same.
    git(tmp_path, "config", "status.showUntrackedFiles", "no")
    (tmp_path / "workflow" / "scripts" / "new.py").write_text("")
    assert code_in_git() == {"commit": head, "dirty": True}


def test_the_commit_of_another_repository_is_not_that_of_this_one(tmp_path, monkeypatch):
    ours, other = tmp_path / "ours", tmp_path / "other"
    head = repository(ours)
    repository(other)
    git(other, "commit", "--allow-empty", "-qm", "another")
    # The files alone, in a folder of the other repository, committed there or not.
    export = shutil.copytree(ours / "workflow", other / "export" / "workflow").parent
    assert asked(export).code_in_git() == UNKNOWN
    git(other, "add", ".")
    git(other, "commit", "-qm", "export")
    assert asked(export).code_in_git() == UNKNOWN
    git(ours, "worktree", "add", "-q", tmp_path / "worktree")
    git(other, "submodule", "add", "-q", ours, "submodule")
    for name, value in (("GIT_DIR", other / ".git"), ("GIT_WORK_TREE", other), ("GIT_INDEX_FILE", "no")):
        monkeypatch.setenv(name, str(value))
    for folder in (ours, tmp_path / "worktree", other / "submodule"):
        assert asked(folder).code_in_git() == {"commit": head, "dirty": False}
    assert asked(export).code_in_git() == UNKNOWN


@pytest.mark.parametrize("program", [None, "exit 128", "sleep 9", "echo; echo"])
def test_without_an_answer_of_git_the_commit_is_unknown(program, tmp_path, monkeypatch):
    repository(tmp_path)
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "bin" / "git").chmod(0o755)
    module = asked(tmp_path)
    monkeypatch.setattr(module, "SECONDS_FOR_GIT", 0.1 if program == "sleep 9" else 10)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep * bool(program)}{'/bin' if program else ''}")
    assert module.code_in_git() == UNKNOWN


def test_asking_git_neither_waits_for_a_lock_nor_takes_one(tmp_path):
    head = repository(tmp_path)
    index = tmp_path / ".git" / "index"
    before = index.read_bytes()
    # Files that are as they were, at another time: git would write the index anew, to know it the next time.
    for path in (tmp_path / "workflow").rglob("*.py"):
        os.utime(path, (1, 1))
    (tmp_path / ".git" / "index.lock").write_text("")
    assert asked(tmp_path).code_in_git() == {"commit": head, "dirty": False}
    (tmp_path / ".git" / "index.lock").unlink()
    assert asked(tmp_path).code_in_git() == {"commit": head, "dirty": False}
    assert index.read_bytes() == before


def test_a_job_says_that_the_code_was_edited_after_the_workflow_had_started(tmp_path, monkeypatch):
    head = repository(tmp_path)
    module = asked(tmp_path)
    monkeypatch.setenv(module.VARIABLE, "")
    assert module.code_of_job() == UNKNOWN | {"edited": None}
    module.tell_jobs_the_code()
    assert module.code_of_job() == {"commit": head, "dirty": False, "edited": False}
    script = tmp_path / "workflow" / "scripts" / "train.py"
    script.write_text("")
    assert module.code_of_job() == {"commit": head, "dirty": False, "edited": True}
    module.tell_jobs_the_code()
    assert module.code_of_job() == {"commit": head, "dirty": True, "edited": False}


@pytest.mark.slow
def test_a_workflow_asks_git_once_and_tells_all_of_its_jobs(tmp_path, monkeypatch):
    folder = copy_repository(tmp_path / "folder")
    dam = {"model": "dam", "N": 10, "H": 4, "M": 50, "K": 20, "batch_size": 8, "num_iters_per_set": 20}
    experiments = {"memory": dam | {"num_iters_per_epoch": 20, "seeds": 2, "figures": []}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump({"experiments": experiments}))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "all")
    (tmp_path / "git").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexec {shutil.which("git")} "$@"\n')
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    runs = [f"cache/memory/dam_seed_{seed}/dam_seed_{seed}_sequences.pkl" for seed in (0, 1)]
    snakemake(folder, "--cores", "2", *runs)
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
    code = {"commit": git(folder, "rev-parse", "HEAD"), "dirty": False, "edited": False}
    assert [read_provenance(folder / run)["code"] for run in runs] == [code] * 2


def test_a_figure_is_saved_to_each_output_with_its_provenance(tmp_path):
    (tmp_path / "table.parquet").write_text("table")
    drawing, _ = new_figure(rows=1, columns=1, width=2, height=2)
    outputs = Named(png=str(tmp_path / "figure.png"), pdf=str(tmp_path / "figure.pdf"))
    inputs = Named(table=str(tmp_path / "table.parquet"))
    save_figure(drawing, SimpleNamespace(rule="plot", input=inputs, output=outputs, params=Named()))
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    for name in ("figure.png", "figure.pdf"):
        sidecar = json.loads((tmp_path / f"{name}.provenance.json").read_text())
        assert sidecar["sha256"] == sha256(tmp_path / name)


def trace(*arguments, cwd=None, **variables):
    call = [sys.executable, SCRIPTS / "trace.py", *arguments]
    done = subprocess.run(call, cwd=cwd, capture_output=True, text=True, env=os.environ | variables)
    return (done.stdout + done.stderr).splitlines()


def test_a_figure_is_traced_to_its_runs_and_what_changed_since_is_said(tmp_path):
    (tmp_path / "sequences.pkl").write_text("input")
    write_provenance(job(tmp_path, "train", ["sequences.pkl"], "run.pkl", settings={"lr": 0.1}))
    write_provenance(job(tmp_path, "aggregate", ["run.pkl"], "table.parquet"))
    write_provenance(job(tmp_path, "plot", ["table.parquet"], "figure.png"))
    lines = trace(tmp_path / "figure.png")
    assert [line.split(":")[0].strip() for line in lines] == [
        str(tmp_path / name) for name in ("figure.png", "table.parquet", "run.pkl")
    ] + ["settings", "machine", str(tmp_path / "sequences.pkl")]
    assert "lr=0.1" in lines[3]
    assert processor() in lines[4]
    assert not any("CHANGED" in line for line in lines)
    (tmp_path / "run.pkl").write_text("another")
    (line,) = [line for line in trace(tmp_path / "figure.png") if "CHANGED" in line]
    assert "run.pkl" in line
    assert "since it was used" in line


def test_a_figure_is_traced_from_any_folder(tmp_path, monkeypatch):
    """Its inputs are named from the folder of the workflow."""
    (tmp_path / "results" / "freeze").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    monkeypatch.chdir(tmp_path)
    write_provenance(job(Path("cache"), "train", [], "run.pkl"))
    write_provenance(job(Path(), "plot", ["cache/run.pkl"], "results/freeze/figure.png"))
    here = trace("results/freeze/figure.png")
    assert [line.split(":")[0] for line in here] == ["results/freeze/figure.png", "  cache/run.pkl"]
    there = trace("freeze/figure.png", cwd=tmp_path / "results")
    assert [line.split(":")[0] for line in there] == ["freeze/figure.png", f"  {tmp_path}/cache/run.pkl"]
    (tmp_path / "elsewhere").mkdir()
    assert len(trace("../results/freeze/figure.png", cwd=tmp_path / "elsewhere")) == 2


HALF_MERGED = '{\n<<<<<<< HEAD\n "rule": "a"\n=======\n "rule": "b"\n>>>>>>> other\n}'


def test_a_damaged_sidecar_is_one_line_and_the_other_files_are_traced(tmp_path, caplog):
    other_kind = json.dumps({part: kind() for part, kind in PARTS.items()} | {"environment": 3})
    damages = ["", HALF_MERGED, "[1, 2]", "null", '{"rule": "plot"}', other_kind, "\udcff", "[" * 10**5]
    for i in range(len(damages) + 1):
        write_provenance(job(tmp_path, "aggregate", [], f"{i}.parquet"))
    write_provenance(job(tmp_path, "plot", [f"{i}.parquet" for i in range(len(damages) + 1)], "figure.png"))
    for i, content in enumerate(damages):
        (tmp_path / f"{i}.parquet.provenance.json").write_text(content, errors="surrogateescape")
    _, *damaged, sound = trace(tmp_path / "figure.png")
    for i, line in enumerate(damaged):
        assert line.startswith(f"  {tmp_path}/{i}.parquet: its provenance is damaged; make it again: snakemake")
    assert sound.startswith(f"  {tmp_path}/{len(damages)}.parquet: aggregate, code ")
    assert machines_of([str(tmp_path / "figure.png")]) == [name_of_machine(machine())]
    assert caplog.text.count("its provenance is damaged") == len(damages)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("results", "results is a folder; give one file in it"),
        ("results/no/figure.png", "there is no file results/no/figure.png in "),
        ("table.csv", "table.csv: has no provenance"),
        ("", "give one file: python workflow/scripts/trace.py "),
    ],
)
def test_what_cannot_be_traced_is_one_line(given, line, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "table.csv").write_text("a")
    (said,) = trace(given, cwd=tmp_path)
    assert said.startswith(line)


def test_a_name_that_no_file_or_no_terminal_can_have_is_one_line(tmp_path):
    names = ["zero\0byte", "x" * 300, "half \ud800 a character", "\xe9"]
    write_provenance(job(tmp_path, "plot", [], "figure.png"))
    sidecar = tmp_path / "figure.png.provenance.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"inputs": dict.fromkeys(names, "")}))
    # Nor does a folder without its own scripts on the path of Python fail.
    _, *lines = trace("figure.png", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONSAFEPATH="1")
    assert all(line.startswith("  ") for line in lines)
    ends = ["embedded null byte", "File name too long", "surrogates not allowed", "no longer exists"]
    assert [line[-len(end) :] for line, end in zip(lines, ends, strict=True)] == ends


def line_about(path, read, error):
    """The one line of the error that reading a file raises, with how to make it again; and the error."""
    with pytest.raises(error) as caught:
        read(path)
    (line,) = str(caught.value).splitlines()
    assert f"make it again: snakemake --cores 2 --force {path} (with --configfile" in line
    return line, caught.value


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"", lambda content: b"x" * 50])
def test_a_damaged_table_is_named_with_the_command_that_makes_it_again(damage, tmp_path):
    path = tmp_path / "table.parquet"
    write_table(pd.DataFrame({"a": [1.0]}), path)
    path.write_bytes(damage(path.read_bytes()))
    line, _ = line_about(path, read_table, DamagedTableError)
    assert line.startswith(f"{path} is damaged")


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"\x80\x05cos\nsystem\n."])
def test_a_damaged_pickle_is_named_with_the_command_that_makes_it_again(damage, tmp_path):
    path = tmp_path / "run.pkl"
    write_pickle({"a": list(range(1000))}, path)
    path.write_bytes(damage(path.read_bytes()))
    line, error = line_about(path, read_pickle, DamagedPickleError)
    assert line.startswith(f"{path}: ")
    assert isinstance(error, UnsafePickleError) == ("system" in line)


def test_a_table_that_lacks_a_column_is_named_with_the_command_that_makes_it_again(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(pd.DataFrame({"a": [1.0]}), path)
    with pytest.raises(DamagedTableError, match="make it again"):
        read_table(path, columns=["a", "loss"])


def test_a_table_of_a_group_that_lacks_a_column_of_a_figure_is_named(tmp_path):
    keys = {"retrieval": ("weights", "sequence_set"), "iterations_to_accuracy": ("sequence_set", "threshold")}
    of_seeds = {
        "retrieval": ("accuracy", "ideal_accuracy", "closed_form"),
        "iterations_to_accuracy": ("median_iterations", "median_low", "median_high", "reached",
                                   "trained_iterations", "ideal_accuracy"),
    }  # fmt: skip
    of_seeds["retrieval"] = [
        f"{name}_{part}" for name in of_seeds["retrieval"] for part in ("mean", "low", "high")
    ]
    for name, columns in of_seeds.items():
        path = tmp_path / f"{name}.parquet"
        complete = pd.DataFrame([dict.fromkeys(["model", *keys[name], "num_seeds", *columns], 1.0)])
        write_table(complete, path)
        assert read_table_of_group(path).equals(complete)
        lacking = [keys[name][1], columns[1]]
        write_table(complete.drop(columns=lacking), path)
        with pytest.raises(DamagedTableError, match=rf"no column {', '.join(lacking)}.*make it again"):
            read_table_of_group(path)
