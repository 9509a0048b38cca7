"""The files of the cache: what is in them, who can read them, and that their bytes are the same again."""

import io
import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, train_small_run

from memorization.cache import atomic_write, read_pickle, read_table, write_pickle, write_table
from memorization.unpickling import UnsafePickleError

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


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_older_code_are_read(protocol, tmp_path):
    content = OrderedDict(
        weight=torch.arange(6.0).reshape(2, 3), counts=np.arange(3), mean=np.float64(0.5), bits=[0, 1]
    )
    path = tmp_path / "older.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    read = read_pickle(path)
    assert torch.equal(read["weight"], content["weight"])
    assert read["counts"].tolist() == [0, 1, 2]
    assert (read["mean"], read["bits"]) == (0.5, [0, 1])


def test_tensors_written_on_a_gpu_are_read_on_the_cpu(tmp_path):
    class PickledOnGpu(pickle.Pickler):
        def reducer_override(self, obj):
            if not isinstance(obj, torch.storage.TypedStorage):
                return NotImplemented
            content = io.BytesIO()
            torch.save(obj, content, _use_new_zipfile_serialization=False)
            # What the file of a CUDA tensor has in the place where a CPU tensor's has `cpu`.
            bytes_on_gpu = content.getvalue().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            assert bytes_on_gpu != content.getvalue()
            return torch.storage._load_from_bytes, (bytes_on_gpu,)

    path = tmp_path / "cuda.pkl"
    with open(path, "wb") as file:
        PickledOnGpu(file).dump({"weight": torch.arange(4.0)})
    assert read_pickle(path)["weight"].tolist() == [0, 1, 2, 3]


class Hostile:
    def __init__(self, function, *arguments):
        self.reduction = (function, arguments)

    def __reduce__(self):
        return self.reduction


@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch {path}",)),
        (eval, ("open({path!r}, 'w')",)),
        (getattr, (os, "system")),
        (subprocess.call, (["touch", "{path}"],)),
        (np.save, ("{path}", 1)),
        (torch.save, (1, "{path}")),
    ],
)
def test_hostile_pickles_are_refused_and_executed_in_no_part(function, arguments, tmp_path):
    trace = tmp_path / "trace"
    filled = [a.format(path=str(trace)) if isinstance(a, str) else a for a in arguments]
    content = io.BytesIO()
    pickler = pickle._Pickler(content)
    pickler.save_reduce(function, tuple(a for a in filled if isinstance(a, str | int | list)))
    path = tmp_path / "hostile.pkl"
    path.write_bytes(b"\x80\x04" + content.getvalue() + b".")
    with pytest.raises(UnsafePickleError, match=f"asks for .*{function.__name__}"):
        read_pickle(path)
    assert not trace.exists()


class BuiltFrom:
    """Is pickled as a call, and a state that is set afterwards."""

    def __init__(self, function, arguments, state=None):
        self.reduction = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduction


# NumPy's own functions, of which a pickle of an array consists.
NEW_ARRAY = np.empty(0).__reduce__()[0]
ADDRESS = b"12345678"
OBJECTS = np.dtype("O")
FIELD_ELSEWHERE = (3, "<", None, ("a",), {"a": (np.dtype("i4"), 10**9)}, 8, 1, 0)
ITEM_TOO_LARGE = (3, "<", (np.dtype("i4"), (10**6,)), None, None, 8, 1, 0)


@pytest.mark.parametrize(
    "content",
    [
        BuiltFrom(np.ndarray, ((1,), "O", ADDRESS)),
        BuiltFrom(NEW_ARRAY, (np.ndarray, (0,), b"b"), (1, (1,), OBJECTS, False, ADDRESS)),
        BuiltFrom(np.dtype, ("O", False, False), (3, "|", None, None, None, -1, -1, 0)),
        BuiltFrom(np.dtype, ("i8", False, False), FIELD_ELSEWHERE),
        BuiltFrom(np.dtype, ("i8", False, False), ITEM_TOO_LARGE),
        BuiltFrom(NEW_ARRAY, (np.ndarray, (0,), b"b"), (1, (10**6,), np.dtype("i8"), False, ADDRESS)),
    ],
    ids=["called array", "objects", "objects unflagged", "field elsewhere", "item too large", "array too large"],
)
def test_pickles_that_would_read_memory_are_refused(content, tmp_path):
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(content))
    # In a process of its own: where it is not refused, the process may die.
    read = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from memorization.cache import read_pickle\n"
        "try:\n"
        "    print(read_pickle(sys.argv[2]))\n"
        "except Exception as error:\n"
        "    print('refused')\n"
    )
    command = [sys.executable, "-c", read, REPOSITORY / "workflow" / "scripts", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stdout + done.stderr


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.empty((0, 3)),
        np.array(3.5),
        np.arange(6).reshape(2, 3).T,
        np.arange(12)[::2],
        np.array([True]),
        np.bool_(1),
    ],
    ids=["empty", "of no dimension", "transposed", "with gaps", "of truth values", "a truth value"],
)
def test_arrays_of_every_layout_are_read(array, protocol, tmp_path):
    path = tmp_path / "array.pkl"
    path.write_bytes(pickle.dumps(array, protocol=protocol))
    read = read_pickle(path)
    assert (type(read), read.dtype, read.shape) == (type(array), array.dtype, array.shape)
    assert np.array_equal(read, array)


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
