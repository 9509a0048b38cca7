"""The files of the cache: what is in them, who can read them, and that their bytes are the same again."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, train_small_run

from memorization.cache import atomic_write, read_pickle, read_table, write_pickle, write_table

ARGS = {
    "model", "K", "len_context", "vocab_size", "num_heads", "num_hidden_features",
    "num_hidden_features_mlp", "num_mlp_layers", "num_layers", "optimizer", "lr", "weight_decay",
    "batch_size", "num_iters", "num_iters_per_epoch", "sequence_sampling_distribution",
    "zipf_exponent", "freeze", "seed",
}  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(small_run, tmp_path_factory):
    """A run's folder as the workflow leaves it, but for tables and logs."""
    folder = tmp_path_factory.mktemp("group") / "small_run"
    folder.mkdir()
    results, sets = small_run
    write_pickle(results, folder / "small_run.pkl")
    write_pickle({"sequences": sets, "switch_start_iter": [0, 20]}, folder / "small_run_sequences.pkl")
    return folder


def load_plainly(path):
    with open(path, "rb") as file:
        return pickle.load(file)


def load_as_in_the_notes(run_folder, ending):
    """Run the notes' snippet, as it stands, with `utils` imported from workflow/scripts."""
    snippet = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "import utils\n"
        "os.chdir(sys.argv[2]); dir_name = sys.argv[3]\n"
        f'with open(f"{{dir_name}}/{{dir_name}}{ending}", "rb") as f:\n'
        "    data = utils.CPU_Unpickler(f).load()\n"
        "import pickle; sys.stdout.buffer.write(pickle.dumps(data))\n"
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


@pytest.mark.parametrize("ending", [".pkl", "_sequences.pkl"])
def test_pickles_are_read_plainly_and_by_the_notes_snippet(run_folder, ending):
    plain = load_plainly(run_folder / f"small_run{ending}")
    assert same(plain, load_as_in_the_notes(run_folder, ending))
    assert same(plain, read_pickle(run_folder / f"small_run{ending}"))


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


def test_results_pickle_is_the_contract(run_folder):
    data = load_plainly(run_folder / "small_run.pkl")
    assert set(data) == {
        "args", "logs", "pre_switch_state_dict", "model_state_dict", "mlp_state_dict",
        "attention_state_dict",
    }  # fmt: skip
    assert set(data["args"]) >= ARGS
    assert all(isinstance(value, int | float | str | bool) for value in data["args"].values())
    assert (data["args"]["num_hidden_features_mlp"], data["args"]["num_iters"]) == (8, 40)
    for entry in data["logs"]:
        assert {key: type(value) for key, value in entry.items()} == {
            "epoch": int, "iter": int, "sequence_set": int, "train_loss": float, "lr": float,
            "num_appearances": np.ndarray, "test_metrics": dict,
        }  # fmt: skip
        assert (entry["num_appearances"].shape, entry["num_appearances"].dtype) == ((30,), np.int64)
        metrics = entry["test_metrics"]
        assert list(metrics) == ["sequence_set", "sequence_rank", "logsoftmaxloss", "accuracy"]
        assert len({len(values) for values in metrics.values()}) == 1
        assert [values.dtype.kind for values in metrics.values()] == ["i", "i", "f", "f"]
    assert len(data["pre_switch_state_dict"]) == 1
    before, final = data["pre_switch_state_dict"][0], data["model_state_dict"]
    assert list(before) == list(final)
    assert all(value.dtype == torch.float32 for value in final.values())
    for moment, state in (("pre_switch", before), ("post_switch", final)):
        mlp, attention = data["mlp_state_dict"][moment], data["attention_state_dict"][moment]
        assert (set(mlp), set(attention)) == ({"linear_modules", "lm_head"}, {"c_attn"})
        assert torch.equal(mlp["linear_modules"]["1.bias"], state["linear_modules.1.bias"])
        assert torch.equal(mlp["lm_head"]["weight"], state["lm_head.weight"])
        assert torch.equal(attention["c_attn"]["weight"], state["c_attn.weight"])


def test_a_run_without_a_switch_has_no_earlier_part():
    results, _ = train_small_run(num_switches=0)
    assert results["pre_switch_state_dict"] == []
    assert results["mlp_state_dict"]["pre_switch"] is None
    assert set(results["mlp_state_dict"]["post_switch"]) == {"linear_modules", "lm_head"}


def test_bytes_are_the_same_in_another_process_and_for_equal_objects(run_folder, tmp_path):
    write_pickle(load_plainly(run_folder / "small_run.pkl"), tmp_path / "again.pkl")
    assert (tmp_path / "again.pkl").read_bytes() == (run_folder / "small_run.pkl").read_bytes()
    again = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from conftest import train_small_run\n"
        "from memorization.cache import write_pickle\n"
        "write_pickle(train_small_run()[0], sys.argv[3])\n"
    )
    folders = [REPOSITORY / "workflow" / "scripts", REPOSITORY / "tests"]
    path = tmp_path / "elsewhere.pkl"
    subprocess.run([sys.executable, "-c", again, *folders, path], check=True)
    assert path.read_bytes() == (run_folder / "small_run.pkl").read_bytes()


def test_a_failed_write_leaves_what_was_there_and_no_trace(tmp_path):
    path = tmp_path / "table.csv"
    write_table(pd.DataFrame({"a": [1]}), path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="in the middle"), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError("in the middle")
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["table.csv"]


def test_tables_are_read_as_written(tmp_path):
    table = pd.DataFrame({"weights": ["final", "final"], "sequence_set": [0, -1], "loss": [0.5, np.nan]})
    write_table(table, tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.parquet"), table)
    assert list(read_table(tmp_path / "table.parquet", ["loss"])) == ["loss"]
