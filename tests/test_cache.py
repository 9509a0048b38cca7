"""The files of the cache: what is in them, who can read them, their bytes, and how they are written."""

import errno
import mmap
import os
import pickle
import re
import resource
import signal
import stat
import subprocess
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from conftest import NUM_HELD_OUT, REPOSITORY, train_small_run, trained
from test_trunks import SETTINGS

from memorization.sequences import generate_sequence_set
from memorization.storage.cache import (
    _HOST,
    atomic_write,
    read_pickle,
    read_sequences,
    read_table,
    write_pickle,
    write_sequences,
    write_table,
)
from memorization.storage.unpickling import SafeUnpickler
from memorization.training.evaluation import evaluate_run

ARGS = {
    "model", "K", "len_context", "optimizer", "lr", "weight_decay", "batch_size", "num_iters",
    "num_iters_per_epoch", "sequence_sampling_distribution", "zipf_exponent", "freeze", "seed",
}  # fmt: skip
TRANSFORMER_ARGS = {"vocab_size", "num_heads", "num_hidden_features", "num_layers"}
ARGS_OF_MODEL = {
    "one_layer_attention": TRANSFORMER_ARGS | {"num_hidden_features_mlp", "num_mlp_layers"},
    "gpt": TRANSFORMER_ARGS,
    "dam": {"N", "H", "M", "eta", "clear_memory_at_switch"},
}
LOGGED = {
    "epoch": int, "iter": int, "sequence_set": int, "train_loss": float, "lr": float,
    "num_appearances": np.ndarray, "test_metrics": dict,
}  # fmt: skip
LOGGED_OF_DAM = {
    "loss": float, "accuracy": float, "sharpness": float, "head_correlation": float, "num_distinct_stored": int,
}  # fmt: skip
PARTS = {
    "one_layer_attention": {"mlp": ["linear_modules", "lm_head"], "attention": ["c_attn"]},
    "gpt": {"mlp": ["h.0.mlp", "h.1.mlp", "lm_head"], "attention": ["h.0.attn", "h.1.attn"]},
    "dam": {},
}


@pytest.fixture(scope="module")
def run_folder(small_run, tmp_path_factory):
    """A run's folder as the workflow leaves it, without tables and logs."""
    folder = tmp_path_factory.mktemp("group") / "small_run"
    folder.mkdir()
    results, sets = small_run
    write_pickle(results, folder / "small_run.pkl")
    write_sequences(sets, [0, 20], folder / "small_run_sequences.pkl")
    return folder


def load_plainly(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def load_as_in_the_notes(run_folder):
    """Read both pickles with the notes' snippet, as it stands, with `utils` imported from workflow/scripts."""
    snippet = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "import utils\n"
        "os.chdir(sys.argv[2]); dir_name = sys.argv[3]\n"
        "read = []\n"
        "for ending in ('.pkl', '_sequences.pkl'):\n"
        '    with open(f"{dir_name}/{dir_name}{ending}", "rb") as f:\n'
        "        data = utils.CPU_Unpickler(f).load()\n"
        "    read.append(data)\n"
        "import pickle; sys.stdout.buffer.write(pickle.dumps(read))\n"
    )
    scripts = REPOSITORY / "workflow" / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", snippet, scripts, run_folder.parent, run_folder.name],
        capture_output=True,
        cwd=scripts,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def same(one, other):
    """Whether two contents of a pickle are equal, in types, dtypes and values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_pickles_are_read_plainly_and_by_the_notes_snippet(run_folder):
    paths = [run_folder / "small_run.pkl", run_folder / "small_run_sequences.pkl"]
    plain = [load_plainly(path) for path in paths]
    assert same(plain, load_as_in_the_notes(run_folder))
    assert same(plain, [read_pickle(path) for path in paths])


def test_sequences_pickle_is_the_contract(run_folder):
    data = load_plainly(run_folder / "small_run_sequences.pkl")
    assert list(data) == ["sequences", "switch_start_iter"]
    assert data["switch_start_iter"] == [0, 20]
    assert [type(start) for start in data["switch_start_iter"]] == [int, int]
    assert len(data["sequences"]) == 2
    for sequences in data["sequences"]:
        assert sequences.shape == (30, 12)
        assert sequences.dtype == np.int64
        assert set(np.unique(sequences)) == {0, 1}


@pytest.mark.parametrize("protocol", [2, 5])
def test_sequences_come_back_in_an_eighth_of_the_memory(small_run, tmp_path, protocol):
    _, sets = small_run
    path = tmp_path / "sequences.pkl"
    wide = [sequences.astype(np.int64) for sequences in sets]
    path.write_bytes(pickle.dumps({"sequences": wide, "switch_start_iter": [0, 20]}, protocol))
    read, starts = read_sequences(path)
    assert starts == [0, 20]
    for sequences, expected in zip(read, sets, strict=True):
        assert sequences.dtype == np.int8
        assert np.array_equal(sequences, expected)


def test_not_more_than_one_set_is_in_memory_as_int64(tmp_path):
    path = tmp_path / "sequences.pkl"
    sets = [generate_sequence_set(0, s, 10_000, 50) for s in range(4)]
    as_int64, all_sets = 8 * sets[0].nbytes, 4 * sets[0].nbytes
    tracemalloc.start()
    write_sequences(sets, [0, 1, 2, 3], path)
    writing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read_sequences(path)
    reading = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert as_int64 < writing < 1.1 * as_int64
    assert as_int64 < reading < 1.1 * as_int64 + all_sets


@pytest.fixture(scope="module", params=SETTINGS)
def run_of_model(request, tmp_path_factory):
    """A small run of each model: the content of its pickle, and the path of its evaluation."""
    folder = tmp_path_factory.mktemp(request.param)
    results, sets = trained(SETTINGS[request.param]())
    write_pickle(results, folder / "run.pkl")
    write_table(evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"], folder / "run_evaluation.parquet")
    return load_plainly(folder / "run.pkl"), folder / "run_evaluation.parquet"


def test_args_of_the_results_pickle_are_the_contract(run_of_model):
    args = run_of_model[0]["args"]
    assert set(args) >= ARGS | ARGS_OF_MODEL[args["model"]]
    assert all(isinstance(value, int | float | str | bool | list) for value in args.values())
    assert (args["K"], args["len_context"], args["num_iters"]) == (30, 12, 40)
    assert args.get("num_hidden_features_mlp", 8) == 8


def test_logs_of_the_results_pickle_are_the_contract(run_of_model):
    data, _ = run_of_model
    logged = LOGGED | (LOGGED_OF_DAM if data["args"]["model"] == "dam" else {})
    assert len(data["logs"]) == 4
    for entry in data["logs"]:
        assert {key: type(value) for key, value in entry.items()} == logged
        assert (entry["num_appearances"].shape, entry["num_appearances"].dtype) == ((30,), np.int64)
        metrics = entry["test_metrics"]
        number = 3 * (entry["sequence_set"] + 1)
        assert {key: (values.dtype.name, values.shape) for key, values in metrics.items()} == {
            "sequence_set": ("int64", (number,)),
            "sequence_rank": ("int64", (number,)),
            "logsoftmaxloss": ("float32", (number,)),
            "accuracy": ("float32", (number,)),
        }


def test_states_of_the_results_pickle_are_the_contract(run_of_model):
    data, _ = run_of_model
    parts = PARTS[data["args"]["model"]]
    states = ["pre_switch_state_dict", "saved_state_dict", "model_state_dict"]
    assert list(data) == ["args", "logs", "tests_after_switch", *states, *(f"{part}_state_dict" for part in parts)]
    assert len(data["pre_switch_state_dict"]) == 1
    before, final = data["pre_switch_state_dict"][0], data["model_state_dict"]
    assert list(before) == list(final)
    for moment, state in (("pre_switch", before), ("post_switch", final)):
        for part, modules in parts.items():
            held = data[f"{part}_state_dict"][moment]
            assert list(held) == modules
            for module, entries in held.items():
                assert entries
                assert all(torch.equal(value, state[f"{module}.{name}"]) for name, value in entries.items())
        tensors = {name: value for name, value in state.items() if name not in ("memory", "memory_size")}
        assert {value.dtype for value in tensors.values()} == {torch.float32}


def test_the_memory_in_the_results_pickle_is_a_matrix_of_signs_and_the_number_of_its_rows(tmp_path):
    write_pickle(trained(SETTINGS["dam"](M=200))[0], tmp_path / "run.pkl")
    data = load_plainly(tmp_path / "run.pkl")
    # 20 batches of 8 before the switch, as many after it.
    for state, number in ((data["pre_switch_state_dict"][0], 160), (data["model_state_dict"], 200)):
        assert list(state) == ["A_logits", "B_logits", "memory", "memory_size"]
        assert (state["A_logits"].shape, state["B_logits"].shape) == ((12, 4, 12), (4, 12))
        assert (state["memory"].dtype, state["memory"].shape) == (torch.int8, (200, 12))
        assert (type(state["memory_size"]), state["memory_size"]) == (int, number)
        assert set(np.unique(state["memory"][:number])) == {-1, 1}
        assert not state["memory"][number:].any()


def test_columns_of_the_evaluation_are_the_contract(run_of_model):
    schema = pq.read_schema(run_of_model[1])
    types = {name: str(kind).removeprefix("large_") for name, kind in zip(schema.names, schema.types, strict=True)}
    assert types == {
        "weights": "string", "sequence_set": "int64", "sequence_rank": "int64", "num_appearances": "int64",
        "loss": "float", "accuracy": "float", "ideal_loss": "float", "ideal_accuracy": "float",
    }  # fmt: skip


def test_a_run_without_a_switch_has_no_earlier_part():
    results, _ = train_small_run(num_switches=0)
    assert results["pre_switch_state_dict"] == []
    assert results["mlp_state_dict"]["pre_switch"] is None
    assert set(results["mlp_state_dict"]["post_switch"]) == {"linear_modules", "lm_head"}


@pytest.mark.slow
def test_bytes_are_the_same_in_another_process_and_for_equal_objects(run_folder, tmp_path):
    write_pickle(load_plainly(run_folder / "small_run.pkl"), tmp_path / "again.pkl")
    assert (tmp_path / "again.pkl").read_bytes() == (run_folder / "small_run.pkl").read_bytes()
    again = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from conftest import train_small_run\n"
        "from memorization.storage.cache import write_pickle\n"
        "write_pickle(train_small_run()[0], sys.argv[3])\n"
    )
    folders = [REPOSITORY / "workflow" / "scripts", REPOSITORY / "tests"]
    path = tmp_path / "elsewhere.pkl"
    subprocess.run([sys.executable, "-c", again, *folders, path], check=True)
    assert path.read_bytes() == (run_folder / "small_run.pkl").read_bytes()


def test_every_write_goes_through_a_temporary_file_in_the_same_folder(tmp_path):
    with atomic_write(tmp_path / "file.pkl") as file:
        file.write(b"new")
        (name,) = os.listdir(tmp_path)
    assert re.fullmatch(rf"\.file\.pkl\.[0-9a-f]{{8}}\.{os.getpid()}\.tmp", name)
    assert os.listdir(tmp_path) == ["file.pkl"]


@pytest.mark.parametrize("error", [RuntimeError("in the middle"), OSError(28, "No space left on device")])
def test_a_failed_write_leaves_what_was_there_and_no_trace(error, tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(b"old")
    # A full disk does not name the file by itself.
    named = r"file\.pkl" if isinstance(error, OSError) else "in the middle"
    with pytest.raises(type(error), match=named), atomic_write(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.pkl"]


def test_what_a_killed_write_left_is_removed_by_the_next_and_what_is_being_written_is_not(tmp_path):
    for name in ("file.pkl", "other.pkl"):
        if (child := os.fork()) == 0:
            with atomic_write(tmp_path / name):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    with atomic_write(tmp_path / "file.pkl") as first:
        first.write(b"first")
        if (child := os.fork()) == 0:
            with atomic_write(tmp_path / "file.pkl") as second:
                second.write(b"second")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert (tmp_path / "file.pkl").read_bytes() == b"second"
    assert (tmp_path / "file.pkl").read_bytes() == b"first"
    assert [path.name.split(".")[1] for path in tmp_path.glob(".*.tmp")] == ["other"]


def answer(number, call=None, only=lambda *arguments: True):
    """A call of the operating system that ends with this error, for some arguments only."""

    def answering(*arguments, **options):
        if only(*arguments):
            raise OSError(number, os.strerror(number))
        return call(*arguments, **options)

    return answering


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def is_file(descriptor):
    return not is_folder(descriptor)


@pytest.mark.parametrize(
    ("name", "number", "only"),
    [
        ("fsync", errno.EINVAL, is_folder),
        ("fsync", errno.EBADF, is_folder),
        ("fsync", errno.EOPNOTSUPP, is_folder),
        ("fsync", errno.EINVAL, is_file),
        ("fsync", errno.ENOSYS, is_file),
        ("open", errno.EACCES, lambda path, *_: os.path.isdir(path)),
        ("unlink", errno.EPERM, lambda path: True),
    ],
)
def test_a_file_is_written_where_the_file_system_lacks_a_call(name, number, only, tmp_path, monkeypatch):
    left = tmp_path / f".file.pkl.{_HOST}.{2**31 - 1}.tmp"
    left.touch()
    monkeypatch.setattr(os, name, answer(number, getattr(os, name), only))
    with atomic_write(tmp_path / "file.pkl") as file:
        file.write(b"new")
    monkeypatch.undo()
    assert (tmp_path / "file.pkl").read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} - {left.name} == {"file.pkl"}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("only", [is_file, is_folder])
def test_a_disk_that_does_not_take_a_file_is_an_error_that_names_it(number, only, tmp_path, monkeypatch):
    path = tmp_path / "file.pkl"
    monkeypatch.setattr(os, "fsync", answer(number, os.fsync, only))
    with pytest.raises(OSError, match=f"{os.strerror(number)}: '{path}'") as error, atomic_write(path) as file:
        file.write(b"new")
    assert error.value.errno == number
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_not_of_a_killed_write_is_left_alone(tmp_path):
    other = tmp_path / f".file.pkl.{_HOST}.12 (copy).tmp"
    other.touch()
    with atomic_write(tmp_path / "file.pkl"):
        pass
    assert other.exists()


def test_pickles_are_read_where_files_cannot_be_mapped_into_memory(tmp_path, monkeypatch):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps([1]) + pickle.dumps([2]))
    monkeypatch.setattr(mmap, "mmap", answer(errno.ENODEV))
    with open(path, "rb") as file:
        assert [SafeUnpickler(file).load() for _ in range(2)] == [[1], [2]]
    monkeypatch.setattr(mmap, "mmap", answer(errno.EIO))
    with pytest.raises(OSError, match=f"Input/output error: '{path}'"):
        read_pickle(path)


def test_a_table_that_cannot_be_opened_is_not_called_damaged(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(pd.DataFrame({"loss": [0.5]}), path)
    read_table(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match=f"Too many open files: '{path}'"):
            read_table(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_tables_are_read_as_written(tmp_path):
    table = pd.DataFrame({"weights": ["final", "final"], "sequence_set": [0, -1], "loss": [0.5, np.nan]})
    write_table(table, tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet"), table)
    assert list(read_table(tmp_path / "table.parquet", ["loss"])) == ["loss"]
