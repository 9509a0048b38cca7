"""Comparing the files of a run with a record, and the command that does."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, copy_repository

from memorization.storage.cache import write_pickle, write_table
from memorization.storage.verification import DIFFERENT, IDENTICAL, WITHIN_TOLERANCE, compare, record

FILES = ("run.pkl", "sequences.pkl", "table.parquet", "table.csv", "figure.png")


def contents():
    """The contents of a run's files, as small as they can be."""
    generator = np.random.default_rng(0)
    losses = np.linspace(0.7, 0.5, 6)
    table = pd.DataFrame({"accuracy": generator.random(30), "rank": np.arange(30), "weights": "final"})
    table.loc[3, "accuracy"] = np.nan
    return {
        "run.pkl": {
            "args": {"model": "gpt", "optimizer": "adam", "lr": 1e-8, "betas": (0.9, 0.999), "empty": []},
            "logs": [{"iter": i, "loss": float(loss), "nothing": None} for i, loss in enumerate(losses)],
            "weights": torch.tensor(generator.normal(size=(4, 5)), dtype=torch.float32),
            "large": generator.normal(size=2000),
        },
        "sequences.pkl": {"sequences": generator.integers(2, size=(20, 10)), "appearances": np.arange(20)},
        "table.parquet": table,
        "table.csv": table.copy(),
        "figure.png": b"picture",
    }


def write(contents, folder):
    """Write the files of a run to ``folder``."""
    results = folder / "results_smoke"
    results.mkdir(parents=True)
    for name, content in contents.items():
        if isinstance(content, bytes):
            (results / name).write_bytes(content)
        elif isinstance(content, pd.DataFrame):
            write_table(content, results / name)
        else:
            write_pickle(content, results / name)
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    files = record(write(contents(), tmp_path_factory.mktemp("recorded")))
    # As the command reads it.
    return json.loads(json.dumps(files))


def found(recorded, folder):
    return {name.split("/")[-1]: (kind, what) for name, kind, what in compare(recorded, folder)}


def test_the_same_files_are_identical(recorded, tmp_path):
    assert found(recorded, write(contents(), tmp_path)) == dict.fromkeys(FILES, (IDENTICAL, ""))


def test_floats_that_are_rounded_otherwise_are_equal_within_tolerance(recorded, tmp_path):
    changed = contents()
    for key in ("weights", "large"):
        changed["run.pkl"][key] = changed["run.pkl"][key] * (1 + 1e-6)
    changed["run.pkl"]["logs"][2]["loss"] *= 1 - 1e-6
    for name in ("table.parquet", "table.csv"):
        # A csv has six digits: noise shows in few of them.
        changed[name]["accuracy"] *= 1 + 1e-6
    kinds = found(recorded, write(changed, tmp_path))
    assert kinds.pop("figure.png") == kinds.pop("sequences.pkl") == (IDENTICAL, "")
    assert set(kinds.values()) == {(WITHIN_TOLERANCE, "")}


def reverse_losses(run):
    losses = [entry["loss"] for entry in run["logs"]]
    for entry, loss in zip(run["logs"], reversed(losses), strict=True):
        entry["loss"] = loss


def set_at(*keys, to):
    """Return a change of what is at ``keys``: to a value, or to what a function makes of it."""

    def change(content):
        *outer, last = keys
        for key in outer:
            content = content[key]
        content[last] = to(content[last]) if callable(to) else to

    return change


def change_column(column, row, to):
    def change(table):
        table.loc[row, column] = to(table.loc[row, column]) if callable(to) else to

    return change


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        (
            "table.parquet",
            change_column("accuracy", 11, lambda x: x + 0.11),
            r"accuracy\[11\]: 0.\d+ is not 0.\d+",
        ),
        ("table.csv", change_column("accuracy", 11, lambda x: x + 0.11), r"accuracy\[11\]: 0.\d+ is not 0.\d+"),
        (
            "table.parquet",
            change_column("accuracy", 11, lambda x: x + 0.003),
            r"accuracy\[11\]: 0.\d+ is not 0.\d+",
        ),
        ("table.parquet", change_column("accuracy", 11, np.nan), r"accuracy\[11\]: nan is not 0.\d+"),
        ("table.parquet", change_column("accuracy", 3, 0.5), r"accuracy\[3\]: 0.5 is not nan"),
        ("table.parquet", change_column("rank", 7, 8), r"rank\[7\]: 8 is not 7"),
        (
            "table.parquet",
            set_at("weights", to="initial"),
            r"weights\[0\]: initial is not final \(and 29 more of 30\)",
        ),
        ("table.csv", change_column("weights", 4, "initial"), r"weights\[4\]: initial is not final"),
        ("table.parquet", set_at("more", to=1), "more: is not in the record"),
        ("table.csv", lambda table: table.pop("rank"), "rank: is missing"),
        ("table.csv", change_column("accuracy", 30, 0.5), r"accuracy: .*\[31\] is not .*\[30\]"),
        ("sequences.pkl", set_at("appearances", 5, to=6), r"appearances\[5\]: 6 is not 5"),
        (
            "sequences.pkl",
            set_at("sequences", 2, to=lambda x: x[::-1].copy()),
            r"sequences\[2\]\[\d\]: [01] is not",
        ),
        ("sequences.pkl", set_at("appearances", to=lambda x: x.astype(np.int32)), "appearances: int32 of shape"),
        ("run.pkl", reverse_losses, r"logs\[0\].loss: 0.5 is not 0.7"),
        (
            "run.pkl",
            set_at("weights", to=lambda x: x.flip(0)),
            r"weights\[0\]\[0\]: .* is not .*and 19 more of 20",
        ),
        ("run.pkl", set_at("weights", to=lambda x: x.reshape(5, 4)), r"weights: .*\[5, 4\] is not .*\[4, 5\]"),
        ("run.pkl", set_at("weights", (1, 2), to=np.nan), r"weights\[1\]\[2\]: nan is not"),
        ("run.pkl", set_at("weights", (1, 2), to=-np.inf), r"weights\[1\]\[2\]: -inf is not"),
        ("run.pkl", set_at("large", 1234, to=lambda x: x + 0.1), r"large\[1234\]: .* is not"),
        ("run.pkl", set_at("args", "model", to="dam"), "args.model: dam is not gpt"),
        ("run.pkl", set_at("args", "optimizer", to="sgd"), "args.optimizer: sgd is not adam"),
        ("run.pkl", set_at("args", "lr", to=2e-8), "args.lr: 2e-08 is not 1e-08"),
        ("run.pkl", set_at("args", "betas", to=(0.9, 0.99)), r"args.betas\[1\]: 0.99 is not 0.999"),
        ("run.pkl", set_at("args", "empty", to={}), r"args.empty: {} is not \[\]"),
        ("run.pkl", lambda run: run["logs"].pop(), r"logs\[5\].iter: is missing"),
        ("figure.png", None, "has other bytes, and no numbers to compare"),
    ],
)
def test_a_change_is_named_with_its_place_and_both_values(name, change, place, recorded, tmp_path):
    changed = contents()
    if change:
        change(changed[name])
    else:
        changed[name] = b"another"
    kinds = found(recorded, write(changed, tmp_path))
    kind, what = kinds.pop(name)
    assert kind == DIFFERENT
    assert re.match(place, what), what
    assert set(kinds.values()) == {(IDENTICAL, "")}


@pytest.mark.parametrize("name", ["run.pkl", "table.parquet", "table.csv"])
def test_a_file_that_cannot_be_read_is_different(name, recorded, tmp_path):
    kind, what = found(recorded, write(contents() | {name: b""}, tmp_path))[name]
    assert kind == DIFFERENT
    assert what.startswith("cannot be read: ")


def verify(*arguments):
    call = [sys.executable, REPOSITORY / "workflow" / "scripts" / "verify.py", *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_the_command_names_what_differs_and_ends_with_status_1(tmp_path):
    path = tmp_path / "record.json"
    folder = write(contents(), tmp_path / "recorded")
    assert verify("--update", "--folder", folder, "--record", path) == (0, [f"5 files recorded in {path}"])
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["record.json"]
    assert verify("--folder", folder, "--record", path) == (
        0,
        ["5 identical, 0 equal within tolerance, 0 different"],
    )

    changed = contents()
    changed["sequences.pkl"]["appearances"][5] += 1
    changed["run.pkl"]["weights"] *= 1 + 1e-6
    changed["extra.csv"] = changed.pop("table.csv")
    status, lines = verify("--folder", write(changed, tmp_path / "changed"), "--record", path)
    assert status == 1
    assert lines[:5] == [
        "results_smoke/extra.csv: different: is not in the record",
        "results_smoke/run.pkl: equal within tolerance",
        "results_smoke/sequences.pkl: different: appearances[5]: 6 is not 5",
        "results_smoke/table.csv: different: is not made",
        "2 identical, 1 equal within tolerance, 3 different",
    ]

    changed = contents()
    changed["run.pkl"]["weights"] *= 1 + 1e-6
    status, lines = verify("--folder", write(changed, tmp_path / "noise"), "--record", path)
    assert (status, lines[0]) == (0, "results_smoke/run.pkl: equal within tolerance")


@pytest.mark.slow
def test_the_record_is_of_the_files_that_the_smallest_configuration_makes(tmp_path):
    recorded = json.loads((REPOSITORY / "config" / "verified.json").read_text())["files"]
    folder = copy_repository(tmp_path)
    call = [sys.executable, "-m", "snakemake", "-n", "--quiet", "--configfile", "config/smoke.yaml", "--summary"]
    listed = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True).stdout
    made = {line.split("\t")[0] for line in listed.splitlines()[1:]}
    made = {path for path in made if path.startswith(("cache_smoke/", "results_smoke/"))}
    assert made == set(recorded)
