"""Comparing the files of a run with a record, and the command that does."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import verify
from conftest import REPOSITORY, copy_repository, snakemake

from memorization.storage.cache import key_columns, write_pickle, write_table
from memorization.storage.provenance import library_versions, machine, sha256
from memorization.storage.verification import COMPARED, DIFFERENT, IDENTICAL, WITHIN_TOLERANCE, compare, record

FILES = ("run.pkl", "sequences.pkl", "table.parquet", "table.csv", "claims.csv", "figure.png")
HERE = machine() | {"libraries": library_versions()}
ELSEWHERE = HERE | {"processor": "another"}
OTHER_INSTRUCTIONS = HERE | {"environment": {"ATEN_CPU_CAPABILITY": "default"}}


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
            "pre_switch": [{"bias": generator.normal(size=3)}, {"bias": generator.normal(size=3)}],
            "parts": [np.arange(3.0), np.arange(4.0)],
            # The biases of two queries, two keys and two values.
            "model": {"h.0.attn.c_attn.bias": generator.normal(size=6)},
        },
        "sequences.pkl": {"sequences": generator.integers(2, size=(20, 10)), "appearances": np.arange(20)},
        "table.parquet": table,
        "table.csv": table.copy(),
        "claims.csv": pd.DataFrame({"reason": ["the cost is 0.251637, not below 0", "holds for set_1"]}),
        "figure.png": b"picture",
    }


def write(contents, folder, code="a"):
    """Write the files of a run to ``folder``; pictures are drawn from the table by a ``code``."""
    results = folder / "results_smoke"
    results.mkdir(parents=True)
    for name, content in contents.items():
        if isinstance(content, bytes):
            (results / name).write_bytes(content)
            table = "results_smoke/table.parquet"
            drawn = {"rule": "plot_figure", "params": {"code": code}, "inputs": {table: sha256(folder / table)}}
            drawn |= {"sha256": sha256(results / name), "code": {}}
            (results / f"{name}.provenance.json").write_text(json.dumps(drawn | HERE))
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


def found(recorded, folder, made_by=HERE):
    answers = compare(recorded, folder, made_by)
    return {name.split("/")[-1]: (answer, difference) for name, answer, difference in answers}


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
    changed["claims.csv"].loc[0, "reason"] = "the cost is 0.251638, not below 0"
    kinds = found(recorded, write(changed, tmp_path))
    assert kinds.pop("figure.png") == kinds.pop("sequences.pkl") == (IDENTICAL, "")
    assert set(kinds.values()) == {(WITHIN_TOLERANCE, "")}


def test_the_keys_of_a_csv_are_written_exactly(tmp_path):
    table = pd.DataFrame({"lr": [0.0316227766], "num_seeds": 2, "accuracy_mean": 1 / 3})

    def folder_with(name, exact):
        folder = write({"table.parquet": table}, tmp_path / name)
        write_table(table, folder / "results_smoke" / "table.csv", exact)
        return folder

    files = record(folder_with("recorded", key_columns(table)))
    assert found(files, folder_with("same", ["lr"]))["table.csv"] == (IDENTICAL, "")
    assert found(files, folder_with("six digits", []))["table.csv"] == (
        DIFFERENT,
        "is not the text of table.parquet",
    )


def test_a_bias_of_keys_may_be_any_number_because_nothing_depends_on_it(recorded, tmp_path):
    changed = contents()
    changed["run.pkl"]["model"]["h.0.attn.c_attn.bias"][2:4] += 1
    assert found(recorded, write(changed, tmp_path))["run.pkl"] == (WITHIN_TOLERANCE, "")


@pytest.mark.parametrize(
    ("factor", "code", "made_by", "answer", "reason"),
    [
        (1, "a", ELSEWHERE, WITHIN_TOLERANCE, "other bytes, drawn from table.parquet: identical"),
        (1, "a", OTHER_INSTRUCTIONS, WITHIN_TOLERANCE, "other bytes, drawn from table.parquet: identical"),
        (1, "a", HERE, DIFFERENT, "drawn from table.parquet: identical, but it has other bytes on the same"),
        (1 + 1e-6, "a", HERE, WITHIN_TOLERANCE, "other bytes, drawn from table.parquet: equal within tolerance"),
        (1.01, "a", ELSEWHERE, DIFFERENT, "drawn from table.parquet: different"),
        (1, "b", ELSEWHERE, DIFFERENT, "drawn_by: "),
    ],
)
def test_a_picture_with_other_bytes_is_as_near_as_the_table_that_it_is_drawn_from(
    factor, code, made_by, answer, reason, recorded, tmp_path
):
    changed = contents() | {"figure.png": b"another"}
    changed["table.parquet"]["accuracy"] *= factor
    changed["table.csv"] = changed["table.parquet"]
    kind, why = found(recorded, write(changed, tmp_path, code), made_by)["figure.png"]
    assert kind == answer
    assert why.startswith(reason)


def test_a_picture_that_was_drawn_from_another_table_is_different(recorded, tmp_path):
    folder = write(contents() | {"figure.png": b"another"}, tmp_path)
    write_table(contents()["table.parquet"].assign(rank=1), folder / "results_smoke/table.parquet")
    kind, why = found(recorded, folder, ELSEWHERE)["figure.png"]
    assert (kind, why) == (DIFFERENT, "is drawn from another table.parquet than the one there")


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
        ("table.parquet", change_column("accuracy", 11, lambda x: x + 0.11), "accuracy: ['f8 .*', 0."),
        ("table.parquet", change_column("accuracy", 11, lambda x: x + 0.01), "accuracy: ['f8 .*', 0."),
        ("table.parquet", change_column("accuracy", 11, np.nan), "accuracy: ['f8 not finite .*"),
        ("table.parquet", change_column("accuracy", 3, 0.5), "accuracy: ['f8', .*] in place of ['f8 not finite"),
        ("table.parquet", change_column("rank", 7, 8), "rank: i8 .* in place of i8 .*"),
        ("table.parquet", set_at("weights", to="initial"), "weights: O .* in place of O .*"),
        ("table.parquet", set_at("more", to=1), "more: i8 .* in place of nothing"),
        ("table.parquet", lambda table: table.pop("rank"), "rank: nothing in place of i8 "),
        ("table.parquet", change_column("accuracy", 30, 0.5), "rows: 31 in place of 30 (and 3 more)"),
        ("table.csv", change_column("accuracy", 11, lambda x: x + 0.11), "is not the text of table.parquet"),
        ("sequences.pkl", set_at("appearances", 5, to=6), "appearances: i8[20] .* in place of i8[20] "),
        ("sequences.pkl", set_at("sequences", 2, to=lambda x: x[::-1].copy()), "sequences: i8[20,10] .* in place"),
        (
            "sequences.pkl",
            set_at("appearances", to=lambda x: x.astype(np.int32)),
            "appearances: i4[20] .* of i8[20] ",
        ),
        ("run.pkl", reverse_losses, "logs.loss: ['f8[6]', 0.6\\d*, .*] in place of ['f8[6]', 0.6"),
        (
            "run.pkl",
            set_at("weights", to=lambda x: x.flip(0)),
            "weights: ['f4[4,5]', .*] in place of ['f4[4,5]', ",
        ),
        (
            "run.pkl",
            set_at("weights", to=lambda x: x.reshape(5, 4)),
            "weights: ['f4[5,4]', .*] in place of ['f4[4,5]'",
        ),
        ("run.pkl", set_at("weights", (1, 2), to=np.nan), "weights: ['f4[4,5] not finite "),
        ("run.pkl", set_at("weights", (1, 2), to=-np.inf), "weights: ['f4[4,5] not finite "),
        ("run.pkl", set_at("large", 1234, to=lambda x: x + 0.1), "large: ['f8[2000]', "),
        ("run.pkl", set_at("pre_switch", 1, "bias", 0, to=lambda x: x + 0.1), "pre_switch.bias: ['f8[2,3]', "),
        ("run.pkl", set_at("pre_switch", 1, to={"bias": np.zeros(4)}), "pre_switch.bias: ['f8[7]', "),
        ("run.pkl", lambda run: run["pre_switch"].reverse(), "pre_switch.bias: ['f8[2,3]', "),
        ("run.pkl", set_at("parts", 1, 2, to=5.0), "parts: ['f8[7]', "),
        ("run.pkl", set_at("args", "model", to="dam"), "args.model: dam in place of gpt"),
        ("run.pkl", set_at("args", "lr", to=2e-8), "args.lr: 2e-08 in place of 1e-08"),
        ("run.pkl", set_at("args", "betas", to=(0.9, 0.99)), "args.betas: ['f8[2]', "),
        ("run.pkl", set_at("args", "empty", to={}), "args.empty: {} in place of []"),
        ("run.pkl", set_at("args", "empty", to=0), "args.empty: 0 in place of []"),
        ("run.pkl", set_at("args", "lr", to=0), "args.lr: 0 in place of 1e-08"),
        ("run.pkl", lambda run: run["logs"].pop(), "logs.iter: i8[5] .* in place of i8[6] .* (and 2 more)"),
        ("run.pkl", set_at("model", "h.0.attn.c_attn.bias", 1, to=5.0), "model.h.0.attn.c_attn.bias: ['f8[4]', "),
        ("run.pkl", set_at("model", "h.0.attn.c_attn.bias", 4, to=5.0), "model.h.0.attn.c_attn.bias: ['f8[4]', "),
        ("claims.csv", change_column("reason", 0, "the cost is 0.253, not below 0"), "reason: ['O "),
        ("claims.csv", change_column("reason", 1, "holds for set_2"), "reason: ['O "),
    ],
)
def test_a_change_is_named_with_its_place_and_both_summaries(name, change, place, recorded, tmp_path):
    changed = contents()
    change(changed[name])
    if name == "table.parquet":
        changed["table.csv"] = changed[name]
    answers = found(recorded, write(changed, tmp_path))
    answer, difference = answers.pop(name)
    assert answer == DIFFERENT
    pattern = re.escape(place).replace(r"\.\*", ".*").replace(r"\\d\*", r"\d*")
    assert re.match(pattern, difference), difference
    if name == "table.parquet":
        assert answers.pop("table.csv") == (DIFFERENT, difference)
    assert set(answers.values()) == {(IDENTICAL, "")}


@pytest.mark.parametrize("size", [1, 7, 100])
def test_the_summary_of_floats_tells_a_change_of_any_value_from_rounding(size, tmp_path):
    generator = np.random.default_rng(size)
    values = generator.normal(1, 1, size)

    def answers(changed):
        """The answer for each of several arrays that take the place of ``values``."""
        name = f"{generator.integers(1 << 40)}"
        files = record(
            write({f"{i}.pkl": {"values": values} for i in range(len(changed))}, tmp_path / f"{name}_0")
        )
        contents = {f"{i}.pkl": {"values": array} for i, array in enumerate(changed)}
        return {answer for _, answer, _ in compare(files, write(contents, tmp_path / f"{name}_1"), HERE)}

    one_changed = [values + 0.05 * (np.arange(size) == i) for i in range(size)]
    assert answers(one_changed) == {DIFFERENT}
    if size > 1:
        assert answers([generator.permutation(values) for _ in range(20)]) == {DIFFERENT}
    rounded = [values * (1 + 1e-4 * generator.uniform(-1, 1, size)) for _ in range(20)]
    shifted = [values * (1 + shift) for shift in (1e-4, -1e-4)]
    assert answers(rounded + shifted) == {WITHIN_TOLERANCE}


def write_with(name, content, folder):
    """Write the files of a run with another ``content`` (bytes) of one of them."""
    write(contents(), folder)
    (folder / "results_smoke" / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("name", ["run.pkl", "table.parquet", "table.csv", "claims.csv"])
def test_a_file_that_cannot_be_read_is_different(name, recorded, tmp_path):
    kind, what = found(recorded, write_with(name, b"", tmp_path))[name]
    assert kind == DIFFERENT
    assert what.startswith("cannot be read: " if name != "table.csv" else "is not the text of table.parquet")


@pytest.fixture
def call_verify(monkeypatch, capsys):
    """Call the command; return its status and the lines that it prints."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["verify.py", *map(str, arguments)])
        try:
            verify.main()
            status = 0
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out.splitlines()

    return call


def test_the_command_names_what_differs_and_ends_with_status_1(call_verify, tmp_path):
    path = tmp_path / "record.json"
    folder = write(contents(), tmp_path / "recorded")
    assert call_verify("--update", "--folder", folder, "--record", path) == (0, [f"6 files recorded in {path}"])
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["record.json"]
    assert call_verify("--folder", folder, "--record", path) == (
        0,
        ["6 identical, 0 equal within tolerance, 0 different"],
    )

    changed = contents()
    changed["sequences.pkl"]["appearances"][5] += 1
    changed["run.pkl"]["weights"] *= 1 + 1e-6
    changed["extra.csv"] = changed.pop("table.csv")
    status, lines = call_verify("--folder", write(changed, tmp_path / "changed"), "--record", path)
    assert status == 1
    assert lines[:2] + lines[3:5] == [
        "results_smoke/extra.csv: different: is not in the record",
        "results_smoke/run.pkl: equal within tolerance",
        "results_smoke/table.csv: different: is not made",
        "3 identical, 1 equal within tolerance, 3 different",
    ]
    assert lines[2].startswith("results_smoke/sequences.pkl: different: appearances: i8[20] ")


def test_the_command_says_that_a_picture_is_equal_because_its_table_is(call_verify, tmp_path):
    path = tmp_path / "record.json"
    call_verify("--update", "--folder", write(contents(), tmp_path / "recorded"), "--record", path)
    changed = contents() | {"figure.png": b"another"}
    changed["run.pkl"]["weights"] *= 1 + 1e-6
    changed["table.parquet"]["accuracy"] *= 1 + 1e-6
    changed["table.csv"] = changed["table.parquet"]
    status, lines = call_verify("--folder", write(changed, tmp_path / "noise"), "--record", path)
    assert status == 0
    assert lines[:2] == [
        "results_smoke/figure.png: equal within tolerance: "
        "other bytes, drawn from table.parquet: equal within tolerance",
        "results_smoke/run.pkl: equal within tolerance",
    ]
    assert (
        "of 1 pictures 0 have the recorded bytes, 1 are equal because the tables are that they are drawn from"
        in lines
    )


def test_the_record_has_one_line_for_each_file(call_verify, tmp_path):
    call_verify("--update", "--folder", write(contents(), tmp_path), "--record", tmp_path / "record.json")
    lines = (tmp_path / "record.json").read_text().splitlines()
    for name in FILES:
        (line,) = [line for line in lines if line.startswith(f'"{name}"')]
        assert re.match(rf'"{name}":\["[0-9a-f]{{16}}",', line)


@pytest.mark.slow
def test_the_record_is_of_the_files_that_the_smallest_configuration_makes(tmp_path):
    recorded = json.loads((REPOSITORY / "tests" / "verified.json").read_text())["files"]
    folder = copy_repository(tmp_path)
    listed = snakemake(folder, "-n", "--quiet", "--configfile", "config/smoke.yaml", "--summary").stdout
    made = {line.split("\t")[0] for line in listed.splitlines()[1:]}
    made = {
        path for path in made if path.startswith(("cache_smoke/", "results_smoke/")) and path.endswith(COMPARED)
    }
    assert made == {f"{parent}/{name}" for parent, files in recorded.items() for name in files}
