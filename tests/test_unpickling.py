"""The loader of the notes: it reads every file of the cache, old and new, and a bad file can do nothing."""

import codecs
import io
import pickle
import pickletools
import random
import resource
import struct
import subprocess
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from picklescan.scanner import scan_pickle_bytes

from memorization.storage.cache import read_pickle, write_pickle
from memorization.storage.unpickling import ALLOWED_GLOBALS, DamagedPickleError, UnsafePickleError
from utils import CPU_Unpickler

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

# What would show that code ran: Python reports these to every audit hook, and a hook stays for ever.
WATCHED = ("os.", "subprocess.", "shutil.", "socket.", "ctypes.", "code.", "marshal.", "import", "exec", "open")
reported = None


def watch(event, arguments):
    if reported is not None and event.startswith(WATCHED):
        reported.append((event, str(arguments)[:200]))


sys.addaudithook(watch)
# Python imports the codec of protocol 0 when it is first used.
codecs.lookup("raw-unicode-escape")


def load(content):
    return CPU_Unpickler(io.BytesIO(content)).load()


def load_watched(content):
    """Load, and fail if meanwhile anything was opened, imported, compiled or started."""
    global reported
    reported = events = []
    try:
        return load(content)
    finally:
        reported = None
        assert events == [], events


def refusal(content, kind=UnsafePickleError):
    """The one line with which a pickle is refused."""
    with pytest.raises(kind) as caught:
        load_watched(content)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 500
    return message


def same(one, other):
    """Whether two contents of a pickle are equal, in types, dtypes, layout and values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        return (one.dtype, one.shape) == (other.dtype, other.shape) and np.array_equal(one, other)
    if isinstance(one, torch.Tensor):
        kind = (one.dtype, one.shape, one.stride(), one.requires_grad)
        kind_of_other = (other.dtype, other.shape, other.stride(), other.requires_grad)
        return kind == kind_of_other and other.device.type == "cpu" and torch.equal(one, other)
    return one == other


def state_dict():
    # With the versions of its layers, an attribute of the OrderedDict.
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()


GOOD = {
    "texts and numbers": {
        "texts": ["", "a", "ä\n\\u0041\U0001f600", b"", b"\x00\xff", bytearray(), bytearray(b"b\xff")],
        "numbers": [0, -1, 255, 65536, 2**31, -(2**70), 2**3000, 0.5, float("inf"), 1 + 2j, True, False, None],
        "containers": [[], {}, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[]], {"a": {"b": []}}, ({},)],
        "sets": [set(), {1, "a"}, frozenset(), frozenset([0.5, None])],
        ("tuple", 1): "keys", 3: 3, None: 0.5, b"b": "b", 1.5: "float",
    },
    "long": {"list": list(range(2500)), "dict": {str(i): i for i in range(2500)}, "bytes": bytes(100_000)},
    "arrays": [
        np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.arange(24).reshape(2, 3, 4).swapaxes(0, 1),
        np.arange(12)[::2], np.array(3.5), np.empty((0, 3)), np.empty((3, 0, 2), dtype=np.int8, order="F"),
        np.array([True, False]), np.arange(3, dtype=">i4"), np.array([1 + 2j]), np.arange(1000.0),
        np.frombuffer(b"12345678", np.uint16), *(np.ones(2, dtype=code) for code in "bhilBHILefdFD"),
    ],
    "NumPy scalars": [np.float64(0.5), np.float16(2), np.int64(-3), np.uint8(4), np.bool_(1), np.complex64(1j)],
    "tensors": [
        torch.arange(6.0).reshape(2, 3), torch.arange(6.0).reshape(2, 3).T, torch.arange(9)[3::2], torch.tensor(1),
        torch.zeros(0), torch.zeros(2, 0, 3), torch.zeros(1).expand(5), torch.arange(4)[4:],
        torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2, 2)),
        torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.tensor([1 + 2j]),
        *(torch.ones(3, dtype=dtype) for dtype in (
            torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.half, torch.bfloat16,
            torch.float64)),
    ],
    "state dict": {"model_state_dict": state_dict(), "pre_switch_state_dict": [OrderedDict(a=torch.ones(2))]},
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", GOOD)
def test_what_plain_pickle_writes_is_read_as_it_was(name, protocol):
    # The Python form of the pickler takes other steps here and there; in protocol 5 it fails on empty arrays.
    for dumps in (pickle.dumps, pickle._dumps)[: 1 if protocol == 5 else 2]:
        content = dumps(GOOD[name], protocol)
        # Plainly loaded, arrays of another byte order come back in the machine's.
        plainly = pickle.loads(content)
        assert same(load(content), plainly)
        assert same(load(pickletools.optimize(content)), plainly)


def test_what_the_cache_writes_is_read_as_it_was(tmp_path):
    good = {name: GOOD[name] for name in ("texts and numbers", "long", "arrays", "NumPy scalars")}
    good["tensors"] = {"weight": torch.arange(6.0).reshape(2, 3), "transposed": torch.arange(6).reshape(2, 3).T}
    write_pickle(good, tmp_path / "good.pkl")
    assert same(read_pickle(tmp_path / "good.pkl"), good)
    write_pickle(state_dict(), tmp_path / "state_dict.pkl")
    assert read_pickle(tmp_path / "state_dict.pkl").keys() == state_dict().keys()


def test_state_dicts_keep_the_versions_of_their_layers():
    state = state_dict()
    assert load(pickle.dumps(state))._metadata == state._metadata != {}


def test_tensors_and_lists_that_are_the_same_stay_the_same():
    tensor, items = torch.arange(6.0), [1]
    items.append(items)
    read, again, read_items = load(pickle.dumps([tensor, tensor, items]))
    assert read is again
    assert read_items[1] is read_items


def as_numpy_1(content):
    """The same pickle as NumPy 1 wrote it: numpy.core where NumPy 2 has numpy._core."""
    written = content.replace(b"numpy._core.", b"numpy.core.")
    for name in (b"numpy.core.multiarray", b"numpy.core.numeric"):
        written = written.replace(bytes([len(name) + 1]) + name, bytes([len(name)]) + name)
    assert written != content
    if content[2:3] == pickle.FRAME:
        written = content[:3] + struct.pack("<Q", len(written) - 11) + written[11:]
    return written


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_and_scalars_of_numpy_1_are_read(protocol):
    good = {"counts": np.arange(6).reshape(2, 3), "gaps": np.arange(6)[::2], "mean": np.float64(0.5)}
    assert same(load(as_numpy_1(pickle.dumps(good, protocol))), good)


class OnGpu(pickle.Pickler):
    """Writes tensors as if they were on a GPU."""

    def reducer_override(self, obj):
        if not isinstance(obj, torch.storage.TypedStorage):
            return NotImplemented
        return torch.storage._load_from_bytes, (storage_bytes(obj, device=b"cuda:0"),)


def storage_bytes(storage, device=b"cpu"):
    file = io.BytesIO()
    torch.save(storage, file, _use_new_zipfile_serialization=False)
    tag = b"X\x03\x00\x00\x00cpu"
    assert tag in file.getvalue()
    return file.getvalue().replace(tag, b"X" + struct.pack("<I", len(device)) + device)


def dumps_on_gpu(content, protocol):
    file = io.BytesIO()
    OnGpu(file, protocol).dump(content)
    return file.getvalue()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tensors_written_on_a_gpu_are_read_on_the_cpu(protocol):
    content = dumps_on_gpu(GOOD["tensors"], protocol)
    assert b"cuda:0" in content
    assert same(load(content), GOOD["tensors"])


def test_a_file_may_hold_several_pickles():
    file = io.BytesIO(pickle.dumps([1, bytes(100_000)]) + pickle.dumps(np.arange(3)) + b"rest")
    assert CPU_Unpickler(file).load() == [1, bytes(100_000)]
    assert CPU_Unpickler(file).load().tolist() == [0, 1, 2]
    assert file.read() == b"rest"


def test_loading_warns_of_nothing():
    read_only = from_reduction("torch", "from_numpy", np.frombuffer(b"12345678", np.int64))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for content in (pickle.dumps(GOOD["tensors"]), read_only, b"S'\\d'\n."):
            load(content)
    assert caught == []


@pytest.mark.parametrize("in_zip", [True, False])
def test_a_file_of_torch_save_is_refused_as_what_it_is(in_zip):
    file = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, file, _use_new_zipfile_serialization=in_zip)
    assert "it is a file of torch.save" in refusal(file.getvalue(), DamagedPickleError)


# Hostile pickles, from their opcodes.


def value(content):
    """The steps that put a value on the stack."""
    return pickle.dumps(content, 3)[2:-1]


def text(name):
    return pickle.BINUNICODE + struct.pack("<I", len(name.encode())) + name.encode()


def by_lines(module, name):
    return f"c{module}\n{name}\n".encode()


def by_stack(module, name):
    return text(module) + text(name) + pickle.STACK_GLOBAL


def from_reduction(module, name, *arguments, state=None):
    built = b"" if state is None else value(state) + pickle.BUILD
    return b"\x80\x04" + by_lines(module, name) + value(arguments) + pickle.REDUCE + built + b"."


HOSTILE = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("os", "popen"), ("subprocess", "Popen"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "open"), ("builtins", "getattr"),
    ("builtins", "__import__"), ("builtins", "type"), ("__builtin__", "execfile"), ("__builtin__", "apply"),
    ("importlib", "import_module"), ("functools", "partial"), ("operator", "methodcaller"), ("_operator", "call"),
    ("runpy", "run_path"), ("timeit", "timeit"), ("pdb", "run"), ("code", "interact"), ("ctypes", "CDLL"),
    ("marshal", "loads"), ("types", "FunctionType"), ("pickle", "loads"), ("copyreg", "_reconstructor"),
    ("copyreg", "add_extension"), ("shutil", "rmtree"), ("socket", "socket"), ("io", "open"), ("codecs", "decode"),
    ("collections", "defaultdict"), ("numpy", "load"), ("numpy", "fromfile"), ("numpy", "memmap"),
    ("numpy.f2py", "compile"), ("numpy.core.multiarray", "frombuffer"), ("torch", "load"), ("torch", "save"),
    ("torch.hub", "load"), ("torch.jit", "load"), ("torch.storage", "UntypedStorage"),
    ("torch.utils.cpp_extension", "load"), ("torch.nn", "Linear"), ("torch", "FloatStorage"),
    ("memorization.storage.cache", "write_pickle"), ("memorization.storage.unpickling", "_Storage"),
    # Beside the allowed names: attributes, beginnings, other cases, spaces, nothing at all.
    ("collections", "OrderedDict.fromkeys"), ("collections", "OrderedDict.__init__.__globals__"),
    ("numpy", "ndarray.tofile"), ("torch", "serialization.os.system"), ("torch", "from_numpy.__class__"),
    ("torch._utils", "_rebuild_tensor_v2.__code__"), ("numpy.core", "multiarray._reconstruct"),
    ("numpy.core.numeric", "_reconstruct"), ("Collections", "OrderedDict"), (" collections", "OrderedDict"),
    ("collections", "OrderedDict "), ("__main__", "OrderedDict"),
]  # fmt: skip

# Each way in which a pickle can ask for a global and use it.
USES = {
    "reduce": lambda module, name, args: by_lines(module, name) + args + pickle.REDUCE,
    "reduce by stack": lambda module, name, args: by_stack(module, name) + args + pickle.REDUCE,
    "new": lambda module, name, args: by_stack(module, name) + args + pickle.NEWOBJ,
    "new with names": lambda module, name, args: by_stack(module, name) + args + b"}" + pickle.NEWOBJ_EX,
    "object": lambda module, name, args: b"(" + by_lines(module, name) + b"I1\n" + pickle.OBJ,
    "instance": lambda module, name, args: f"(I1\ni{module}\n{name}\n".encode(),
    "build": lambda module, name, args: by_lines(module, name) + value({"a": 1}) + pickle.BUILD,
}  # fmt: skip


@pytest.mark.parametrize("module, name", HOSTILE)
def test_hostile_globals_are_refused_by_name_and_executed_in_no_part(module, name, tmp_path):
    trace = tmp_path / "trace"
    arguments = value((f"touch {trace}",))
    for protocol in (0, 2, 4, 5):
        for use in USES.values():
            message = refusal(bytes([0x80, protocol]) + use(module, name, arguments) + b".")
            assert f"asks for {module}.{name}," in message
    assert not trace.exists()


class Reduction:
    def __init__(self, *reduction):
        self.reduction = reduction

    def __reduce__(self):
        return self.reduction


def test_hostile_pickles_leave_no_trace_wherever_they_are_hidden(tmp_path):
    trace = tmp_path / "trace"
    hostile = Reduction(subprocess.call, (["touch", str(trace)],))
    hidden = [hostile, {"weight": torch.ones(2), "args": [hostile]}, Reduction(np.dtype, (hostile,))]
    for content in [*hidden, Reduction(torch.storage._load_from_bytes, (pickle.dumps(hostile),))]:
        for protocol in PROTOCOLS:
            refusal(pickle.dumps(content, protocol), DamagedPickleError)
    assert not trace.exists()


def test_a_pickle_changes_no_constructor():
    """By the state of a function, its defaults could be set; by an attribute, a method replaced."""
    function = by_lines("numpy._core.numeric", "_frombuffer")
    for state in ({"__defaults__": (1,)}, (None, {"__defaults__": (1,)}), (None, {"_call": 1})):
        assert "the state of a function" in refusal(b"\x80\x04" + function + value(state) + b"b.")
    assert load(pickle.dumps(np.arange(3))).tolist() == [0, 1, 2]


# NumPy's own functions, of which a pickle of an array consists.
NEW_ARRAY = np.empty(0).__reduce__()[0]
FROM_BUFFER = np.empty(1).__reduce_ex__(5)[0]
SCALAR = np.float64(1).__reduce__()[0]
I8, ADDRESS = np.dtype("i8"), b"12345678"
NUMBER, NO_FIELDS = ("i8", False, True), (None, None, None, -1, -1)


def array_of(dtype, shape=(1,), data=ADDRESS):
    return Reduction(NEW_ARRAY, (np.ndarray, (0,), b"b"), (1, shape, dtype, False, data))


def storage_of(content):
    return Reduction(torch.storage._load_from_bytes, (content,))


def tensor_of(offset, size, stride, storage):
    return Reduction(torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict()))


SIX = storage_bytes(torch.arange(6.0)._typed_storage())
# Each would read memory that is not the file's, if NumPy or torch did as it asks.
BEYOND_THE_FILE = {
    "called array": Reduction(np.ndarray, ((1,), "O", ADDRESS)),
    "objects": array_of(np.dtype("O")),
    "objects by a flag": array_of(Reduction(np.dtype, NUMBER, (3, "<", *NO_FIELDS, 63))),
    "field elsewhere": Reduction(np.dtype, NUMBER, (3, "<", None, ("a",), {"a": (I8, 10**9)}, 8, 1, 0)),
    "item too large": Reduction(np.dtype, NUMBER, (3, "<", (I8, (10**6,)), None, None, 8, 1, 0)),
    "records": Reduction(np.dtype, ([("a", "i8")],)),
    "records by commas": Reduction(np.dtype, ("i8,O",)),
    "pointers": Reduction(np.dtype, ("P",)),
    "dtype of a wrong order": Reduction(np.dtype, NUMBER, (3, "x", *NO_FIELDS, 0)),
    "array too large": array_of(I8, (10**6,)),
    "array of two negative sizes": array_of(I8, (-1, -1)),
    "array of wrapped sizes": array_of(I8, (2**32, 2**32 + 1)),
    "array of wrapped bytes": array_of(I8, (2**61 + 1,)),
    "array of no dtype": array_of("i8"),
    "array of a text": array_of(I8, data="12345678"),
    "buffer too small": Reduction(FROM_BUFFER, (ADDRESS, I8, (2,), "C")),
    "buffer of nothing": Reduction(FROM_BUFFER, ()),
    "scalar of an object": Reduction(SCALAR, (np.dtype("O"), ADDRESS)),
    "scalar too short": Reduction(SCALAR, (I8, b"1")),
    "tensor too large": tensor_of(0, (7,), (1,), storage_of(SIX)),
    "tensor past the end": tensor_of(5, (2,), (1,), storage_of(SIX)),
    "tensor before the beginning": tensor_of(-1, (2,), (1,), storage_of(SIX)),
    "tensor of a negative stride": tensor_of(5, (2,), (-1,), storage_of(SIX)),
    "tensor of wrapped sizes": tensor_of(0, (2**32, 2**32 + 1), (1, 1), storage_of(SIX)),
    "tensor of no storage": tensor_of(0, (1,), (1,), [1.0]),
    "tensor of an array of bytes": Reduction(torch.from_numpy, (ADDRESS,)),
    "storage cut off": tensor_of(0, (6,), (1,), storage_of(SIX[:-1])),
    "storage of more numbers": tensor_of(0, (6,), (1,), storage_of(SIX + bytes(4))),
    "storage of another count": tensor_of(0, (6,), (1,), storage_of(SIX[:-32] + struct.pack("<Q", 5) + SIX[-24:])),
    "storage of a hostile kind": storage_of(SIX.replace(b"ctorch\nFloatStorage", b"cos\nsystem")),
    "storage in a zip file": storage_of(b"PK\x03\x04" + SIX),
}  # fmt: skip


@pytest.mark.parametrize("name", BEYOND_THE_FILE)
def test_arrays_and_tensors_hold_the_bytes_of_the_file_and_no_others(name):
    for protocol in PROTOCOLS:
        refusal(pickle.dumps(BEYOND_THE_FILE[name], protocol), DamagedPickleError)


def test_a_tensors_memory_stays_when_its_array_is_filled_again():
    array = value(np.arange(100))
    state = value((1, (1,), I8, False, bytes(8)))
    content = b"\x80\x04" + array + b"q\xff" + by_lines("torch", "from_numpy") + b"h\xff\x85Rh\xff" + state + b"b."
    refusal(content, DamagedPickleError)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize(
    "opcodes",
    [
        *(opcode + b"\xff" * 3 + b"\x7f" for opcode in (pickle.BINBYTES, pickle.BINUNICODE, pickle.LONG_BINPUT)),
        *(opcode + struct.pack("<Q", 10**12) for opcode in (pickle.BINBYTES8, pickle.BINUNICODE8)),
        *(opcode + struct.pack("<Q", 10**12) for opcode in (pickle.BYTEARRAY8, pickle.FRAME)),
        pickle.LONG4 + b"\xff" * 3 + b"\x7f",
        b"Np2000000000\n",
    ],
)
def test_a_length_beyond_the_size_of_the_file_is_refused_before_memory_is_taken(opcodes):
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, limits[1]))
    try:
        assert "exceeds the size of the file" in refusal(b"\x80\x05" + opcodes + b"N.", DamagedPickleError)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# Damaged files, of every kind.


def good_files():
    """Yield the bytes of good files, small ones, of every kind and protocol."""
    small = {
        "args": {"lr": 0.5, "K": 3, "freeze": "none", "big": 2**70},
        "arrays": [np.arange(3), np.arange(6).reshape(2, 3).T, np.float64(0.5), np.arange(6.0)[::2]],
        "logs": [{"epoch": 1, "loss": None, "bytes": b"ab", "set": {1, 2}, "tuple": (1, 2, 3, 4)}],
        "state": OrderedDict(weight=torch.arange(6.0).reshape(2, 3), parameter=torch.nn.Parameter(torch.ones(2))),
    }
    for protocol in PROTOCOLS:
        yield pickle.dumps(small, protocol)
    yield dumps_on_gpu(small, 4)
    yield as_numpy_1(pickle.dumps(small["arrays"], 2))


def test_cut_off_files_are_refused_at_every_length():
    for content in good_files():
        load_watched(content)
        for length in range(len(content)):
            refusal(content[:length], DamagedPickleError)


def mutated(content, generator):
    """Return a file with a few bytes changed, taken out, put in, moved or doubled."""
    content = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 5, 20))):
        at, length = generator.randrange(len(content) + 1), generator.choice((1, 1, 2, 4, 8, 40))
        other = generator.randrange(len(content) + 1)
        part = content[other : other + length]
        match generator.randrange(6):
            case 0:
                content[at : at + 1] = bytes([generator.randrange(256)])
            case 1:
                content[at : at + 1] = generator.choice(OPCODES)
            case 2:
                del content[at : at + length]
            case 3:
                content[at:at] = part
            case 4:
                content[at : at + len(part)] = part
            case 5:
                content[at : at + 4] = generator.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)))
    return bytes(content)


OPCODES = [bytes([code]) for code in pickle._Unpickler.dispatch]


def test_damaged_files_are_read_or_refused_in_one_line_and_run_nothing():
    generator = random.Random(0)
    files = list(good_files())
    num_refused = 0
    for i in range(1000):
        content = mutated(files[i % len(files)], generator)
        try:
            load_watched(content)
        except DamagedPickleError as error:
            assert str(error).isprintable() and len(str(error)) < 500
            num_refused += 1
    assert num_refused > 500


OFTEN = [b")R", b"R", b"b", b"\x94", b"(", b"t", b"e", b"u", b"s", b"a", b"0", b"2"]
FRAGMENTS = [
    *(by_lines(*pair) for pair in ALLOWED_GLOBALS), *(by_stack(*pair) for pair in ALLOWED_GLOBALS), *OPCODES,
    *map(value, [
        (), (1,), (0, 2), (2, 3), -1, 2**70, "a", "latin1", ("\xff", "latin1"), b"12345678", bytearray(16), [], {},
        None, True, 0.5, np.dtype("i8"), np.arange(3), np.float32(1), (I8, b"12345678"), ("i8", False, True),
        (3, "<", None, None, None, -1, -1, 0), (1, (1,), I8, False, b"12345678"), (bytearray(16), I8, (2,), "C"),
        (None, (0,), b"b"), (SIX,), {"_metadata": 1}, torch.ones(2), (torch.ones(2), True, OrderedDict()),
        (torch.ones(6)._typed_storage(), 0, (2, 3), (3, 1), False, OrderedDict()),
    ]),
    *(b"h" + bytes([i]) for i in range(8)), *OFTEN
]  # fmt: skip


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30))
def test_any_order_of_the_steps_of_good_files_is_read_or_refused(fragments):
    try:
        load_watched(b"\x80\x04" + b"".join(fragments) + b".")
    except DamagedPickleError as error:
        assert str(error).isprintable()


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        load_watched(content)
    except DamagedPickleError as error:
        assert str(error).isprintable()


def test_an_error_of_reading_is_raised_as_it_is():
    class Unreadable(io.BufferedIOBase):
        def read(self, size=-1):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        CPU_Unpickler(Unreadable()).load()


def test_errors_are_of_one_family_and_one_line():
    assert issubclass(UnsafePickleError, DamagedPickleError)
    assert issubclass(DamagedPickleError, pickle.UnpicklingError)
    assert "the pickle is damaged" in refusal(b"", DamagedPickleError)
    message = "the pickle asks for os.system, which no file of the cache contains; refused"
    assert refusal(b"\x80\x04cos\nsystem\n.") == message
    refusal(b"\x80\x04" + by_stack("o\ns" * 10_000, "system\u2028" * 10_000) + b".")


# An independent judge.


def scanned(content):
    result = scan_pickle_bytes(io.BytesIO(content), "content")
    assert not result.scan_err
    return result


def test_picklescan_finds_no_danger_in_the_files_of_the_cache(small_run, tmp_path):
    results, sets = small_run
    for content in (results, {"sequences": sets, "switch_start_iter": [0, 20]}, {"arrays": GOOD["arrays"]}):
        write_pickle(content, tmp_path / "file.pkl")
        result = scanned((tmp_path / "file.pkl").read_bytes())
        assert (result.issues_count, result.infected_files) == (0, 0)
        assert {(found.module, found.name) for found in result.globals} <= ALLOWED_GLOBALS.keys()
    for content in good_files():
        result = scanned(content)
        assert result.issues_count == 0
        assert {(found.module, found.name) for found in result.globals} <= ALLOWED_GLOBALS.keys()
    # It is a judge: these it does call dangerous.
    assert scanned(from_reduction("os", "system", "true")).issues_count == 1
