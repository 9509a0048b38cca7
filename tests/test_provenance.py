"""Sidecars, the trace of a figure, and tables that are damaged."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, Named, copy_repository

from memorization.figures.drawing import new_figure, save_figure
from memorization.storage import provenance
from memorization.storage.cache import DamagedTableError, read_pickle, read_table, write_pickle, write_table
from memorization.storage.provenance import sha256, write_provenance
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
    assert re.fullmatch("[0-9a-f]{40}|unknown", sidecar["code"]["commit"])
    assert sidecar["libraries"]["torch"].startswith("2.13.0")
    assert sidecar["processor"]


def test_an_environment_without_a_library_has_provenance_too(tmp_path, monkeypatch):
    """The environment of a rule has what its scripts import, and no more."""
    (tmp_path / "in").write_text("input")
    monkeypatch.setattr(provenance, "LIBRARIES", ("numpy", "a library that is not there"))
    write_provenance(job(tmp_path, "plot", ["in"], "out.png"))
    libraries = json.loads((tmp_path / "out.png.provenance.json").read_text())["libraries"]
    assert libraries == {"numpy": np.__version__, "a library that is not there": None}


def test_code_that_git_does_not_know_is_said_to_be_there(tmp_path):
    folder = copy_repository(tmp_path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*git, "add", *provenance.CODE_PATHS], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "all"], cwd=folder, check=True)
    call = [sys.executable, "-c", "from memorization.storage.provenance import CODE; print(CODE['dirty'])"]

    def dirty():
        return subprocess.run(
            call, cwd=folder / "workflow" / "scripts", capture_output=True, text=True, check=True
        ).stdout.strip()

    (folder / "notes.txt").write_text("not code")
    assert dirty() == "False"
    (folder / "workflow" / "scripts" / "memorization" / "new.py").write_text("")
    assert dirty() == "True"


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


def trace(path):
    done = subprocess.run([sys.executable, SCRIPTS / "trace.py", path], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_figure_is_traced_to_its_runs_and_what_changed_since_is_said(tmp_path):
    (tmp_path / "sequences.pkl").write_text("input")
    write_provenance(job(tmp_path, "train", ["sequences.pkl"], "run.pkl", settings={"lr": 0.1}))
    write_provenance(job(tmp_path, "aggregate", ["run.pkl"], "table.parquet"))
    write_provenance(job(tmp_path, "plot", ["table.parquet"], "figure.png"))
    lines = trace(tmp_path / "figure.png")
    assert [line.split(":")[0].strip() for line in lines] == [
        str(tmp_path / name) for name in ("figure.png", "table.parquet", "run.pkl")
    ] + ["settings", str(tmp_path / "sequences.pkl")]
    assert "lr=0.1" in lines[3]
    assert not any("CHANGED" in line for line in lines)
    (tmp_path / "run.pkl").write_text("another")
    (line,) = [line for line in trace(tmp_path / "figure.png") if "CHANGED" in line]
    assert "run.pkl" in line
    assert "since it was used" in line


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
