"""The loader of the notes: it reads every file of the cache, old and new, and a bad file can do nothing."""

import codecs
import gzip
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
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
    """Return in which words a pickle is refused: one line, that ends with a place."""
    with pytest.raises(kind) as caught:
        load_watched(content)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 500
    assert "(at byte " in message
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
        torch.nn.Parameter(torch.ones(2), requires_grad=False), torch.tensor([1 + 2j]), torch.tensor([2j]).conj(),
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


class InPieces(io.BytesIO):
    """Gives less than it is asked for, as a pipe without a buffer may."""

    def read(self, size=-1):
        return super().read(min(size, 7)) if size > 0 else super().read(size)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_may_hold_several_pickles_be_compressed_or_give_few_bytes_at_a_time(protocol):
    large = [1, bytes(1_500_000), bytearray(1_500_000)]
    content = pickle.dumps(large, protocol) + pickle.dumps(np.arange(3), protocol) + b"rest"
    unpacked = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content)))
    for file in (io.BytesIO(content), unpacked, InPieces(content)):
        assert CPU_Unpickler(file).load() == large
        assert CPU_Unpickler(file).load().tolist() == [0, 1, 2]
        assert file.read() == b"rest"


def test_loading_says_nothing(capfd):
    odd = [pickle.dumps(GOOD["tensors"]), pickle.dumps(torch.from_numpy(np.arange(3))), b"S'\\d'\n.", b"\x80"]
    odd.append(from_reduction("torch", "from_numpy", np.frombuffer(b"12345678", np.int64)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for content in odd:
            try:
                load(content)
            except DamagedPickleError:
                assert content == b"\x80"
    assert caught == []
    assert capfd.readouterr() == ("", "")


# Hostile pickles, from their steps.


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
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("os", "popen"), ("os", "remove"), ("os", "execv"),
    ("subprocess", "Popen"), ("subprocess", "call"), ("subprocess", "check_output"), ("commands", "getoutput"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "open"), ("builtins", "getattr"),
    ("builtins", "setattr"), ("builtins", "__import__"), ("builtins", "compile"), ("builtins", "map"),
    ("builtins", "type"), ("builtins", "object"), ("builtins", "breakpoint"), ("builtins", "print"),
    ("__builtin__", "eval"), ("__builtin__", "execfile"), ("__builtin__", "apply"), ("__builtin__", "getattr"),
    ("importlib", "import_module"), ("importlib", "reload"), ("functools", "partial"), ("functools", "reduce"),
    ("operator", "attrgetter"), ("operator", "methodcaller"), ("operator", "itemgetter"), ("_operator", "call"),
    ("runpy", "run_path"), ("runpy", "_run_code"), ("timeit", "timeit"), ("timeit", "main"), ("pdb", "run"),
    ("cProfile", "run"), ("code", "interact"), ("ctypes", "CDLL"), ("marshal", "loads"), ("types", "CodeType"),
    ("types", "FunctionType"), ("pickle", "loads"), ("_pickle", "loads"), ("copyreg", "_reconstructor"),
    ("copyreg", "add_extension"), ("copy_reg", "_reconstructor"), ("shutil", "rmtree"), ("socket", "socket"),
    ("webbrowser", "open"), ("urllib.request", "urlopen"), ("io", "open"), ("_io", "FileIO"), ("pty", "spawn"),
    ("pathlib", "Path"), ("codecs", "decode"), ("_codecs", "decode"), ("sys", "exit"), ("sys", "setprofile"),
    ("logging.config", "dictConfig"), ("asyncio", "run"), ("multiprocessing", "Process"),
    ("collections", "namedtuple"),
    ("collections", "defaultdict"), ("numpy", "load"), ("numpy", "save"), ("numpy", "fromfile"),
    ("numpy", "loadtxt"), ("numpy", "genfromtxt"), ("numpy", "savetxt"), ("numpy", "memmap"),
    ("numpy", "vectorize"), ("numpy", "object_"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py", "compile"),
    ("numpy._core.multiarray", "fromfile"), ("numpy.core.multiarray", "frombuffer"), ("torch", "load"),
    ("torch", "save"), ("torch", "compile"), ("torch", "tensor"), ("torch.hub", "load"), ("torch.jit", "load"),
    ("torch.serialization", "load"), ("torch.storage", "UntypedStorage"), ("torch.utils.cpp_extension", "load"),
    ("torch.nn", "Linear"), ("torch._utils", "_rebuild_wrapper_subclass"), ("torch", "FloatStorage"),
    ("memorization.storage.cache", "write_pickle"), ("memorization.storage.unpickling", "_load_storage"),
    ("utils", "CPU_Unpickler"),
    # Beside what is allowed: attributes, beginnings, other cases, spaces, nothing at all.
    ("collections", "OrderedDict.fromkeys"), ("collections", "OrderedDict.__init__.__globals__"),
    ("numpy", "ndarray.tofile"), ("numpy", "dtype.type"), ("torch", "serialization.os.system"),
    ("torch", "from_numpy.__class__"), ("torch.storage", "_load_from_bytes.__globals__"),
    ("torch._utils", "_rebuild_tensor_v2.__code__"), ("numpy.core.multiarray._reconstruct", "__globals__"),
    ("numpy.core", "multiarray._reconstruct"), ("numpy.core.multiarray.numpy", "_reconstruct"),
    ("numpy.core.numeric", "_reconstruct"), ("numpy._core.multiarray", "_frombuffer"), ("numpy.core.", "dtype"),
    ("Collections", "OrderedDict"), ("collections", "ordereddict"), (" collections", "OrderedDict"),
    ("collections", "OrderedDict "), ("collections.abc", "OrderedDict"), ("", "OrderedDict"), ("collections", ""),
    ("builtins", "bytes"), ("__main__", "OrderedDict"), ("collections\0", "OrderedDict"),
]  # fmt: skip

# Each way in which a pickle can ask for a global and use it.
USES = {
    "reduce": lambda module, name, args: by_lines(module, name) + args + pickle.REDUCE,
    "reduce by stack": lambda module, name, args: by_stack(module, name) + args + pickle.REDUCE,
    "new": lambda module, name, args: by_stack(module, name) + args + pickle.NEWOBJ,
    "new with names": lambda module, name, args: by_stack(module, name) + args + b"}" + pickle.NEWOBJ_EX,
    "object": lambda module, name, args: b"(" + by_lines(module, name) + b"I1\n" + pickle.OBJ,
    "build": lambda module, name, args: by_lines(module, name) + value({"a": 1}) + pickle.BUILD,
}  # fmt: skip


@pytest.mark.parametrize("module, name", HOSTILE)
def test_hostile_globals_are_refused_by_name_and_executed_in_no_part(module, name, tmp_path):
    trace = tmp_path / "trace"
    arguments = value((f"touch {trace}",))
    for protocol in (0, 2, 4, 5):
        for use in USES.values():
            message = refusal(bytes([0x80, protocol]) + use(module, name, arguments) + b".")
            assert f"asks for {module}.{name},".replace("\0", "\\x00") in message
    assert "INST" in refusal(f"(S'touch {trace}'\ni{module}\n{name}\n.".encode())
    assert not trace.exists()


class Reduction:
    def __init__(self, *reduction):
        self.reduction = reduction

    def __reduce__(self):
        return self.reduction


@pytest.mark.parametrize(
    "function, arguments",
    [
        (os.system, ("touch {path}",)),
        (eval, ("open({path!r}, 'w')",)),
        (subprocess.call, (["touch", "{path}"],)),
        (np.save, ("{path}", 1)),
        (torch.save, (1, "{path}")),
        (partial(open, "{path}", "w"), ()),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hostile_pickles_from_python_are_refused_and_leave_no_trace(function, arguments, protocol, tmp_path):
    trace = str(tmp_path / "trace")
    filled = tuple(a.format(path=trace) if isinstance(a, str) else a for a in arguments)
    for hidden in (lambda hostile: hostile, lambda hostile: {"weight": torch.ones(2), "args": [hostile]}):
        refusal(pickle.dumps(hidden(Reduction(function, filled)), protocol))
    assert not os.path.exists(trace)


@pytest.mark.parametrize(
    "steps, named",
    {
        "persistent id": (b"Pos.system\n.", "PERSID"),
        "binary persistent id": (b"K\x01Q.", "BINPERSID"),
        "extension 1": (b"\x82\x01.", "EXT1"),
        "extension 2": (b"\x83\x01\x00.", "EXT2"),
        "extension 4": (b"\x84\x01\x00\x00\x00.", "EXT4"),
        "buffer": (b"\x97.", "NEXT_BUFFER"),
        "read-only buffer": (b"C\x01a\x98.", "READONLY_BUFFER"),
        "instance": (b"(ios\nsystem\n.", "INST"),
        "object": (b"(ccollections\nOrderedDict\no.", "OBJ"),
        "new object": (b"ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        "new object with names": (b"ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        "call of a text": (b"cnumpy\nndarray\n)R.", "a call of a str"),
        "call of a list": (b"])R.", "a call of a list"),
        "call with a list": (b"ccollections\nOrderedDict\n]R.", "a call"),
        "state of a function": (b"ccollections\nOrderedDict\n}b.", "a state of a function"),
        "state of a list": (b"]}b.", "a state of a list"),
        "state of a dict": (b"}}b.", "a state of a dict"),
        "slots": (b"ccollections\nOrderedDict\n)RN}X\x01\x00\x00\x00aK\x01s\x86b.", "a state"),
        "attribute of a dict": (b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.", "a state"),
        "class of a dict": (b"ccollections\nOrderedDict\n)R}X\x09\x00\x00\x00__class__K\x01sb.", "a state"),
        "function as value": (b"ccollections\nOrderedDict\n.", "a function"),
        "function in a list": (b"]ccollections\nOrderedDict\na.", "a function"),
        "function in a batch": (b"](ccollections\nOrderedDict\ne.", "a function"),
        "function in a list of protocol 0": (b"(ccollections\nOrderedDict\nl.", "a function"),
        "function in a tuple": (b"(ccollections\nOrderedDict\nt.", "a function"),
        "function in a short tuple": (b"ccollections\nOrderedDict\n\x85.", "a function"),
        "function in a dict": (b"}K\x01ccollections\nOrderedDict\ns.", "a function"),
        "function in a dict of protocol 0": (b"(K\x01ccollections\nOrderedDict\nd.", "a function"),
        "function as key": (b"}ccollections\nOrderedDict\nK\x01s.", "a key of type function"),
        "function in a set": (b"\x8f(ccollections\nOrderedDict\n\x90.", "a key of type function"),
        "function in a frozen set": (b"(ccollections\nOrderedDict\n\x91.", "a key of type function"),
        "filling a tuple": (b")K\x01a.", "filling a tuple"),
        "filling a number": (b"K\x01K\x01K\x01s.", "filling a int"),
        "filling a bytearray": (b"\x96" + bytes(8) + b"K\x01a.", "filling a bytearray"),
        "adding to a list": (b"](K\x01\x90.", "filling a list"),
    }.values(),
)  # fmt: skip
def test_steps_that_no_file_needs_are_refused_by_name(steps, named):
    import copyreg

    copyreg.add_extension("os", "system", 1)
    try:
        assert f"asks for {named}" in refusal(steps).replace("the step ", "")
    finally:
        copyreg.remove_extension("os", "system", 1)


def test_tensors_and_arrays_are_filled_by_nothing_else():
    tensor, array = value(np.zeros((2, 2))), value(np.zeros((2, 2)))
    tensor = by_lines("torch", "from_numpy") + array + b"\x85R"
    for filled in (tensor, array):
        for steps in (b"K\x00K\x01s.", b"(K\x00K\x01u.", b"K\x01a.", b"(K\x01e.", b"(K\x01\x90."):
            assert "filling a" in refusal(b"\x80\x04" + filled + steps)
    assert "a state of a Tensor" in refusal(b"\x80\x04" + tensor + b")b.")


def test_a_tensors_memory_stays_when_its_array_is_filled_again():
    array = value(np.arange(100))
    state = value((1, (1,), np.dtype("i8"), False, bytes(8)))
    content = b"\x80\x04" + array + b"q\xff" + by_lines("torch", "from_numpy") + b"h\xff\x85Rh\xff" + state + b"b."
    assert "another kind" in refusal(content, DamagedPickleError)


# NumPy's own functions, of which a pickle of an array consists.
NEW_ARRAY = np.empty(0).__reduce__()[0]
ADDRESS = b"12345678"
NUMBER, NO_FIELDS = ("i8", False, True), (None, None, None, -1, -1)


def array_of(dtype, shape=(1,), data=ADDRESS, version=1):
    return Reduction(NEW_ARRAY, (np.ndarray, (0,), b"b"), (version, shape, dtype, False, data))


FROM_BUFFER = np.empty(1).__reduce_ex__(5)[0]
SCALAR = np.float64(1).__reduce__()[0]
I8 = np.dtype("i8")
MEMORY_READERS = {
    "called array": Reduction(np.ndarray, ((1,), "O", ADDRESS)),
    "objects": array_of(np.dtype("O")),
    "list of objects": array_of(np.dtype("O"), data=[1]),
    "objects unflagged": Reduction(np.dtype, ("O", False, False), (3, "|", *NO_FIELDS, 0)),
    "objects by a flag": array_of(Reduction(np.dtype, NUMBER, (3, "<", *NO_FIELDS, 63))),
    "field elsewhere": Reduction(
        np.dtype, NUMBER, (3, "<", None, ("a",), {"a": (np.dtype("i4"), 10**9)}, 8, 1, 0)
    ),
    "item too large": Reduction(np.dtype, NUMBER, (3, "<", (np.dtype("i4"), (10**6,)), None, None, 8, 1, 0)),
    "item of another size": Reduction(np.dtype, NUMBER, (3, "<", None, None, None, 10**6, 1, 0)),
    "records": Reduction(np.dtype, ([("a", "i8")],)),
    "records by commas": Reduction(np.dtype, ("i8,O",)),
    "subarray": Reduction(np.dtype, ("(2,)i8",)),
    "pointers": Reduction(np.dtype, ("P",)),
    "void": Reduction(np.dtype, ("V8",)),
    "text": Reduction(np.dtype, ("U2",)),
    "dtype of a dict": Reduction(np.dtype, ({"names": ["a"], "formats": ["O"], "offsets": [10**6]},)),
    "dtype of no code": Reduction(np.dtype, (I8,)),
    "dtype of no state": Reduction(np.dtype, NUMBER, (3,)),
    "dtype of a wrong order": Reduction(np.dtype, NUMBER, (3, "x", *NO_FIELDS, 0)),
    "array too large": array_of(I8, (10**6,)),
    "array too small": array_of(I8, (0,)),
    "array of a negative size": array_of(I8, (-1,)),
    "array of two negative sizes": array_of(I8, (-1, -1)),
    "array of wrapped sizes": array_of(I8, (2**32, 2**32 + 1)),
    "array of wrapped bytes": array_of(I8, (2**61 + 1,)),
    "array of a size that is none": array_of(I8, (2**63, 0), data=b""),
    "array of no shape": array_of(I8, [1]),
    "array of a true shape": array_of(I8, (True,)),
    "array of many dimensions": array_of(I8, (1,) * 1000),
    "array of no dtype": array_of("i8"),
    "array of a text": array_of(I8, data="12345678"),
    "array of another version": array_of(I8, version=7),
    "state of no array": Reduction(NEW_ARRAY, (np.ndarray, (0,), b"b"), (1,)),
    "buffer too small": Reduction(FROM_BUFFER, (ADDRESS, I8, (2,), "C")),
    "buffer of a negative size": Reduction(FROM_BUFFER, (ADDRESS, I8, (-1,), "C")),
    "buffer of an array": Reduction(FROM_BUFFER, (np.arange(1), I8, (1,), "C")),
    "buffer of no order": Reduction(FROM_BUFFER, (ADDRESS, I8, (1,), "X")),
    "buffer of a wrong order": Reduction(FROM_BUFFER, (ADDRESS, I8, (1,), "K", (1,))),
    "buffer of huge axes": Reduction(FROM_BUFFER, (ADDRESS, I8, (1,), "K", (10**30,))),
    "buffer of nothing": Reduction(FROM_BUFFER, ()),
    "scalar of an object": Reduction(SCALAR, (np.dtype("O"), ADDRESS)),
    "scalar too short": Reduction(SCALAR, (I8, b"1")),
    "scalar of no bytes": Reduction(SCALAR, (I8,)),
    "scalar of an array": Reduction(SCALAR, (I8, np.arange(1))),
}


def storage(num_elements=6, dtype=torch.float32):
    with warnings.catch_warnings(action="ignore"):
        return torch.zeros(num_elements, dtype=dtype).storage()


def tensor_of(offset, size, stride, requires_grad=False, metadata=None, of=None):
    arguments = (storage() if of is None else of, offset, size, stride, requires_grad, OrderedDict(), metadata)
    return Reduction(torch._utils._rebuild_tensor_v2, arguments)


def storage_of(content):
    return Reduction(torch.storage._load_from_bytes, (content,))


def in_zip(compression):
    """What torch.save writes by default, as a bomb: zeros that take no room in the file."""
    written, packed = io.BytesIO(), io.BytesIO()
    torch.save(torch.zeros(1_000_000), written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(packed, "w", compression) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return packed.getvalue()


def replaced(content, old, new):
    assert content.count(old) == 1
    return content.replace(old, new)


SIX = storage_bytes(storage())
ELEMENTS = b"K\x06Nt"  # in SIX: 6 elements, no view
BAD_TENSORS = {
    "beyond its storage": tensor_of(0, (7,), (1,)),
    "far beyond its storage": tensor_of(0, (10**12,), (1,)),
    "beyond by its offset": tensor_of(6, (1,), (1,)),
    "beyond by a huge offset": tensor_of(2**62, (1,), (1,)),
    "empty beyond its storage": tensor_of(7, (0,), (1,)),
    "beyond by its stride": tensor_of(0, (2,), (6,)),
    "beyond by a huge stride": tensor_of(0, (2,), (2**62,)),
    "beyond by wrapping": tensor_of(0, (2**32, 2**32), (2**32, 2**32)),
    "before its storage": tensor_of(0, (2,), (-1,)),
    "negative offset": tensor_of(-1, (1,), (1,)),
    "negative size": tensor_of(0, (-1,), (1,)),
    "more sizes than strides": tensor_of(0, (1, 1), (1,)),
    "size of floats": tensor_of(0, (1.0,), (1,)),
    "size of no tuple": tensor_of(0, [1], (1,)),
    "offset of no number": tensor_of(None, (1,), (1,)),
    "repeated without end": tensor_of(0, (10**10,), (0,)),
    "repeated until its bytes wrap": tensor_of(0, (2**61,), (0,), of=storage(3, torch.float64)),
    "repeated until floats wrap": tensor_of(0, (2**62,), (0,)),
    "repeated beyond the wrap": tensor_of(0, (2**60 + 1,), (0,), of=storage(3, torch.complex128)),
    "of a size that is none": tensor_of(0, (2**63,), (0,)),
    "of a stride that is none": tensor_of(0, (1,), (2**63,)),
    "of many dimensions": tensor_of(0, (1,) * 100, (1,) * 100),
    "gradient of no truth": tensor_of(0, (1,), (1,), requires_grad="yes"),
    "gradient of integers": tensor_of(0, (1,), (1,), requires_grad=True, of=storage(2, torch.int64)),
    "of an unknown kind": tensor_of(0, (1,), (1,), metadata={"a": 1}),
    "of a kind that is no dict": tensor_of(0, (1,), (1,), metadata=[1]),
    "conjugated floats": tensor_of(0, (1,), (1,), metadata={"conj": True}),
    "of no storage": tensor_of(0, (1,), (1,), of=[1]),
    "of an array": tensor_of(0, (1,), (1,), of=np.zeros(3)),
    "parameter of no tensor": Reduction(torch._utils._rebuild_parameter, (1, True, OrderedDict())),
    "parameter of integers": Reduction(
        torch._utils._rebuild_parameter, (torch.zeros(1, dtype=int), True, OrderedDict())
    ),
    "parameter of too little": Reduction(torch._utils._rebuild_parameter, ()),
    "storage of nothing": storage_of(b""),
    "storage of a text": storage_of("a"),
    "storage of a file": storage_of(bytearray(SIX)),
    "storage of a pickle": storage_of(pickle.dumps(1)),
    "storage that is cut off": storage_of(SIX[:-1]),
    "storage and more": storage_of(SIX + b"\x00"),
    "storage of a huge size": storage_of(replaced(SIX, ELEMENTS, b"\x8a\x05\x00\x00\x00\x00\x7fNt")),
    "storage of a negative size": storage_of(replaced(SIX, ELEMENTS, b"J\xff\xff\xff\xffNt")),
    "storage of another size": storage_of(replaced(SIX, ELEMENTS, b"K\x05Nt")),
    "storage of a wider type": storage_of(replaced(SIX, b"FloatStorage", b"DoubleStorage")),
    "storage of an unknown type": storage_of(replaced(SIX, b"FloatStorage", b"UntypedStorage")),
    "storage of a hostile type": storage_of(replaced(SIX, b"ctorch\nFloatStorage", b"cos\nsystem")),
    "storage of a huge bytearray": storage_of(
        replaced(SIX, b"ctorch\nFloatStorage\nq\x01", b"cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x7f\x85R")
    ),
    "storage of two storages": storage_of(replaced(SIX, b"Q.", b"Q0h\x04Q.")),
    "storage of a view": storage_of(replaced(SIX, ELEMENTS, b"K\x06X\x01\x00\x00\x00aK\x00K\x01\x87t")),
    "storage of a long head": storage_of(replaced(SIX, b"\x80\x02}", b"\x80\x02" + b"N0" * 1000 + b"}")),
    "storage of another name": storage_of(replaced(SIX, b"storageq", b"modulesq")),
    "storage of no list": storage_of(replaced(SIX, b"a.\x06", b"0).\x06")),
    "storage of another magic": storage_of(replaced(SIX, b"\x8a\nl\xfc", b"\x8a\nm\xfc")),
    "storage as zip": storage_of(in_zip(zipfile.ZIP_STORED)),
    "storage as compressed zip": storage_of(in_zip(zipfile.ZIP_DEFLATED)),
    "storage that runs": storage_of(pickle.dumps(Reduction(os.system, ("touch trace",)), 2)),
    "storage that runs after": storage_of(SIX[:137] + pickle.dumps(Reduction(os.system, ("touch trace",)), 2)),
    "storage within a storage": storage_of(pickle.dumps(storage_of(SIX), 2)),
}
BAD_CALLS = {
    "set of a number": ("builtins", "set", 1),
    "set of lists": ("builtins", "set", [[1]]),
    "frozen set of a text": ("builtins", "frozenset", "abc"),
    "bytearray of a number": ("builtins", "bytearray", 10**12),
    "bytearray in another encoding": ("__builtin__", "bytearray", "a", "rot13"),
    "bytes of a number": ("__builtin__", "bytes", 10**12),
    "complex of a text": ("builtins", "complex", "1" * 100),
    "complex of objects": ("builtins", "complex", [], []),
    "ordered dict of items": ("collections", "OrderedDict", [["a", 1]]),
    "encoding by another codec": ("_codecs", "encode", "a", "zlib_codec"),
    "encoding of no latin1": ("_codecs", "encode", "\u1234", "latin1"),
    "encoding of a number": ("_codecs", "encode", 1, "latin1"),
    "tensor of a list": ("torch", "from_numpy", [1]),
    "array of nothing": ("numpy._core.multiarray", "_reconstruct"),
    "dtype of nothing": ("numpy", "dtype"),
    "dtype of many options": ("numpy", "dtype", "i8", False, False, False),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", [MEMORY_READERS, BAD_TENSORS], ids=["arrays", "tensors"])
def test_bad_arrays_and_tensors_are_refused_in_one_line(kind, protocol, tmp_path, monkeypatch):
    # Where a command of theirs would leave its trace.
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(action="ignore"):
        for name, bad in kind.items():
            assert refusal(pickle.dumps(bad, protocol), DamagedPickleError), name
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_allowed_functions_with_wrong_arguments_are_refused_in_one_line(call):
    refusal(from_reduction(*call), DamagedPickleError)


def test_tensors_of_another_byte_order_are_refused_in_one_line():
    array = pickle.dumps(np.arange(3, dtype=">i4"), 5)[11:-1]
    refusal(b"\x80\x05" + by_lines("torch", "from_numpy") + array + b"\x85R.", DamagedPickleError)


# Bombs: much memory, or time, from little.


def sized(step, size, layout):
    return step + struct.pack(layout, size)


ENCODE = by_lines("_codecs", "encode")


def repeated(steps, first, times=10_000):
    """Repeat steps, to which ``first`` is what has the number 255 in the memo."""
    return b"\x80\x04" + first + b"q\xff0(" + steps * times + b"t."


HUGE_STEPS = {
    "bytes": sized(b"B", 2**32 - 1, "<I"), "long bytes": sized(b"\x8e", 2**40, "<Q"),
    "longest bytes": sized(b"\x8e", 2**64 - 1, "<Q"), "bytearray": sized(b"\x96", 2**40, "<Q"),
    "longest bytearray": sized(b"\x96", 2**64 - 1, "<Q"), "text": sized(b"X", 2**32 - 1, "<I"),
    "long text": sized(b"\x8d", 2**40, "<Q"), "string": sized(b"T", 2**31 - 1, "<i"),
    "negative string": sized(b"T", -1, "<i"), "integer": sized(b"\x8b", 2**31 - 1, "<i"),
    "negative integer": sized(b"\x8b", -1, "<i"), "frame": sized(b"\x95", 2**40, "<Q"),
    "longest frame": sized(b"\x95", 2**64 - 1, "<Q"),
}  # fmt: skip


def bombs():
    """Yield the name and the bytes of pickles that would take gigabytes, or hours, where they are believed."""
    for name, step in HUGE_STEPS.items():
        yield name, step
        yield f"{name} with a rest", step + b"N" * 100 + b"."
        yield f"{name} in a frame", sized(b"\x95", 100, "<Q") + step + b"N" * 200 + b"."
    for name, bad in (MEMORY_READERS | BAD_TENSORS).items():
        yield name, pickle.dumps(bad, 4)
    for name, call in BAD_CALLS.items():
        yield name, from_reduction(*call)
    # Much from little, by the memo.
    million, numbers = value(bytes(1_000_000)), value(list(range(100_000)))
    yield "bytes from a text", repeated(ENCODE + b"h\xff" + value("latin1") + b"\x86R", value("a" * 1_000_000))
    yield "bytearrays from bytes", repeated(by_lines("builtins", "bytearray") + b"h\xff\x85R", million)
    yield "sets from a list", repeated(by_lines("builtins", "set") + b"h\xff\x85R", numbers)
    yield "frozen sets from a list", repeated(by_lines("builtins", "frozenset") + b"h\xff\x85R", numbers)
    yield (
        "tensors from an array",
        repeated(by_lines("torch", "from_numpy") + b"h\xff\x85R", value(np.frombuffer(bytes(10**6), np.int8))),
    )
    yield (
        "storages from bytes",
        repeated(
            by_lines("torch.storage", "_load_from_bytes") + b"h\xff\x85R", value(storage_bytes(storage(100_000)))
        ),
    )
    empty = by_lines("numpy._core.multiarray", "_reconstruct") + value((None, (0,), b"b")) + b"R("
    fill = value(1) + value((500_000,)) + value(np.dtype(">i2")) + b"\x89h\xfftb"
    yield "arrays from bytes", repeated(empty + fill, million)
    yield "empty sets", repeated(b"\x8f", b"N", 1_000_000)
    yield "empty ordered dicts", repeated(b"h\xff)R", by_lines("collections", "OrderedDict"), 1_000_000)
    yield "marks", b"(" * 10_000_000 + b"."
    yield "places in the memo", b"Nr\xff\xff\xff\xff."
    yield "digits of a place in the memo", b"Np" + b"9" * 4000 + b"\n."
    # Time.
    yield "digits", b"I" + b"9" * 5_000_000 + b"\n."
    yield "long digits", b"L" + b"9" * 5_000_000 + b"L\n."
    yield "float of digits", b"F" + b"9" * 5_000_000 + b"\n."
    yield "index of digits", b"g" + b"9" * 5_000_000 + b"\n."
    yield (
        "colliding integers",
        b"\x80\x04}(" + b"".join(value(k * (2**61 - 1)) + b"N" for k in range(1, 100_000)) + b"u.",
    )
    yield (
        "colliding tuples",
        b"\x80\x04}("
        + b"".join(value(tuple(-1 - (k >> bit & 1) for bit in range(16))) + b"N" for k in range(1 << 16))
        + b"u.",
    )
    yield (
        "colliding sets",
        from_reduction(
            "builtins", "set", [tuple(-1 - (k >> bit & 1) for bit in range(16)) for k in range(1 << 16)]
        ),
    )
    yield "key of shared tuples", b"\x80\x04})" + b"q\x00h\x00\x86" * 200 + b"Ns."
    yield "deep key", b"\x80\x04})" + b"\x85" * 1_000_000 + b"Ns."
    yield "long keys", repeated(b"}h\xffNs", value("a" * 1_000_000))
    yield "complex keys", b"\x80\x04}" + value(1j) + b"Ns."
    # So many keys could be chosen to take each other's places.
    for name, kind in {"integer": int, "float": float}.items():
        items = [value(kind(key)) + b"N" for key in range(20_000)]
        yield f"{name} keys", b"\x80\x04}(" + b"".join(items) + b"u."
        yield f"{name} keys, one by one", b"\x80\x04}" + b"".join(item + b"s" for item in items) + b"."
        yield f"{name} keys in protocol 0", b"(" + b"".join(items) + b"d."
    integers = [value(key) for key in range(20_000)]
    ordered = by_lines("collections", "OrderedDict") + b")R"
    yield "ordered integers", b"\x80\x04" + ordered + b"".join(key + b"Ns" for key in integers) + b"."
    yield "integers in a set", b"\x80\x04\x8f" + b"".join(b"(" + key + b"\x90" for key in integers) + b"."
    yield "integers in a frozen set", b"\x80\x04(" + b"".join(integers) + b"\x91."
    yield "integers in a set of protocol 2", from_reduction("builtins", "set", list(range(20_000)))
    yield (
        "colliding places in the memo",
        b"N" + b"".join(b"p%d\n" % (k * (2**61 - 1)) for k in range(50_000)) + b".",
    )
    yield (
        "one key to many",
        b"\x80\x04}(" + b"".join(value(str(k)) + b"N" for k in range(50_000)) + b"u" + b"K\x01Ns" * 20_000 + b".",
    )
    # Numbers of any length, whose product takes hours.
    sizes = sized(b"\x8b", 60_000, "<i") + b"U" * 60_000 + b"q\xff0(" + b"h\xff" * 64 + b"t"
    filled = value(1) + sizes + value(I8) + b"\x89" + value(b"")
    yield "sizes of an array", b"\x80\x04" + empty + filled + b"tb."
    buffer = value(b"") + value(I8) + sizes + value("C")
    yield (
        "sizes of a buffer",
        b"\x80\x04" + by_lines("numpy._core.numeric", "_frombuffer") + b"(" + buffer + b"tR.",
    )
    rebuild = by_lines("torch._utils", "_rebuild_tensor_v2") + b"(" + value(storage_of(SIX))
    yield "sizes of a tensor", b"\x80\x04" + rebuild + value(0) + sizes + b"2\x89NtR."
    yield "strides of a tensor", b"\x80\x04" + rebuild + value(0) + value((1,) * 64) + sizes + b"\x89NtR."
    # Calls that take long, again and again.
    load_bytes = by_lines("torch.storage", "_load_from_bytes")
    yield "small storages", repeated(load_bytes + b"h\xff\x85R", value(storage_bytes(storage(1))), 18_000)
    many_dimensions = b"\x80\x04" + rebuild + value(0) + value((1,) * 64) * 2 + b"\x89Nt"
    rebuild_again = by_lines("torch._utils", "_rebuild_tensor_v2") + b"h\xffR"
    yield "tensors of many dimensions", many_dimensions + b"q\xff0(" + rebuild_again * 20_000 + b"t."


# Runs in a process of its own, in which a bomb that goes off does no harm.
BOMB_SQUAD = """
import faulthandler, resource, signal, sys, time
sys.path[:0] = sys.argv[1:]
faulthandler.register(signal.SIGXCPU, chain=True)
from test_unpickling import GOOD, DamagedPickleError, bombs, load, pickle
load(pickle.dumps(GOOD))
for name, content in bombs():
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = used + 128 * 2**20 + 4 * len(content)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    # Ten seconds of the processor, however busy it is, until this process ends.
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 10, resource.RLIM_INFINITY))
    print(name, file=sys.stderr, flush=True)
    try:
        load(content)
        print(name, "went off")
    except DamagedPickleError as error:
        if "memory" in str(error).lower().replace("far more memory", "") or len(str(error).splitlines()) != 1:
            print(name, error)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("done")
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
def test_bombs_are_refused_before_they_take_memory_or_time():
    folders = [REPOSITORY / "workflow" / "scripts", REPOSITORY / "tests"]
    command = [sys.executable, "-W", "ignore", "-c", BOMB_SQUAD, *folders]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stdout + done.stderr


def test_as_many_keys_as_files_have_are_read():
    few = [{epoch: 0.5, (epoch, "set"): None} for epoch in range(5_000)]
    many = {"numbers": dict.fromkeys(range(5_000)), "texts": {str(i): {i} for i in range(5_000)}}
    for good in (few, many, set(range(5_000)), OrderedDict.fromkeys([*range(1_000), *map(str, range(20_000))])):
        assert same(load(pickle.dumps(good)), good)


def test_small_tensors_are_read_however_many():
    assert len(load(pickle.dumps([torch.ones(1) for _ in range(5_000)]))) == 5_000


def test_numbers_in_the_memo_may_begin_with_one():
    assert load(b"(lp1\n(lp2\nag2\na.") == [[], []]


def test_deep_containers_are_loaded_and_freed():
    deep = 300_000
    for steps in (b"]" * deep + b"a" * (deep - 1), b")" + b"\x85" * deep, b"}" + b"K\x00}" * deep + b"s" * deep):
        assert len(load(b"\x80\x04" + steps + b".")) == 1


def test_references_to_the_same_list_take_no_memory():
    laughs = b"\x80\x04]" + b"q\x00](" + b"h\x00" * 10 + b"e"
    for _ in range(30):
        laughs += b"q\x00](" + b"h\x00" * 10 + b"e"
    tracemalloc.start()
    load(laughs + b".")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_loading_takes_a_small_multiple_of_the_size_of_the_file(protocol):
    content = pickle.dumps({"weights": np.zeros(1_000_000), "bytes": bytes(1_000_000)}, protocol)
    for damaged in (content, content[:-1], content[: len(content) // 2]):
        file = io.BytesIO(damaged)
        tracemalloc.start()
        try:
            CPU_Unpickler(file).load()
        except DamagedPickleError:
            assert damaged is not content
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # Protocols 0 to 2 have bytes as text.
        assert peak < 6 * len(content)


@pytest.mark.parametrize(
    "steps", [b"N\x94", b"]\x94", b"}\x94", b"}", b"]", b"]Na", b"}NNs", b")\x85", b")\x85\x94"]
)
@pytest.mark.parametrize("number", [75_000, 90_000])
def test_small_steps_take_120_times_the_size_of_the_file_at_most(steps, number):
    # A dict takes most memory when it has just grown, as the memo has at 87 381 entries, 2/3 of a power of 2.
    content = b"\x80\x04(" + (steps[:1] + steps[1:] * number if steps[0] in b")N" else steps * number) + b"l."
    tracemalloc.start()
    load(content)
    assert tracemalloc.get_traced_memory()[1] < 120 * len(content)
    tracemalloc.stop()


# Damage.


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


def test_a_thousand_damaged_files_are_read_or_refused_in_one_line_and_run_nothing():
    generator = random.Random(0)
    files = list(good_files())
    num_refused = 0
    for i in range(1000):
        content = mutated(files[i % len(files)], generator)
        if generator.random() < 0.2:
            content = content[: generator.randrange(len(content) + 1)]
        try:
            load_watched(content)
        except DamagedPickleError:
            refusal(content, DamagedPickleError)
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
        (storage(), 0, (2, 3), (3, 1), False, OrderedDict()),
    ]),
    *(b"h" + bytes([i]) for i in range(8)), *OFTEN
]  # fmt: skip


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30))
def test_any_order_of_the_steps_of_good_files_is_read_or_refused(fragments):
    try:
        load_watched(b"\x80\x04" + b"".join(fragments) + b".")
    except DamagedPickleError as error:
        assert str(error).isprintable()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        load_watched(content)
    except DamagedPickleError as error:
        assert str(error).isprintable()


def test_what_is_not_the_pickles_fault_is_raised_as_it_is():
    class Unreadable(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        CPU_Unpickler(Unreadable()).load()


def test_errors_are_of_one_family_and_say_where():
    assert issubclass(UnsafePickleError, DamagedPickleError)
    assert issubclass(DamagedPickleError, pickle.UnpicklingError)
    assert refusal(b"", DamagedPickleError) == "the pickle is cut off (at byte 0)"
    message = "the pickle asks for os.system, which no file of the cache contains; refused (at byte 2)"
    assert refusal(b"\x80\x04cos\nsystem\n.") == message
    assert refusal(b"\x80\x04NN\x81.").endswith("(at byte 4)")
    inside = refusal(pickle.dumps(BAD_TENSORS["storage of a hostile type"], 4))
    assert "os.system" in inside and "of a part of a tensor's storage" in inside
    assert len(refusal(b"\x80\x04" + by_stack("o\ns" * 10_000, "system\u2028" * 10_000) + b".")) < 500


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
