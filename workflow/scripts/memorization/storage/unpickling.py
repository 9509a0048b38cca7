"""Reading pickles without running what they ask for.

Whatever is wrong with a pickle is said by one family of errors, `DamagedPickleError`, in one line that ends
with the place: `UnsafePickleError` where it asks for what no file of the cache contains.

Memory and time stay in proportion to the size of the file. A file of arrays takes up to 6 times its size, and
milliseconds for each megabyte. Python's own objects are larger than what stands for them: a file of nothing but
steps of one byte, each of which makes a container or remembers one, takes up to 120 times its size. No file takes
more than a few seconds, and as much again for each megabyte.
"""

import io
import math
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import IO, Any, ClassVar, NamedTuple

import numpy as np

# Numbers and truth values. An array of objects, or of records of them, would take bytes of the file for
# addresses.
_NUMERIC_CODES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
# The dimensions that an array or a tensor can have, and what each of them is below: numbers of any length would
# make their product take hours.
_MAX_DIMENSIONS, _SIZES_END = 64, 1 << 63
# A length in the file may be a lie: no more than this is reserved before as much has been read.
_MAX_BYTES_AT_ONCE = 1 << 20
# What a step may use again and again, by its place in the memo, may be built this many times as large as the
# file, and anyway this large. What takes long counts as if it were large.
_MAX_GROWTH, _ALWAYS_ALLOWED = 32, 1 << 24
_BYTES_OF_AN_OBJECT, _BYTES_OF_A_SET_ENTRY, _BYTES_OF_A_DIMENSION, _BYTES_OF_A_STORAGE = 500, 64, 32, 6000
# What torch writes before the numbers of a storage is far shorter.
_MAX_STORAGE_HEAD = 2000
# pickle itself writes nothing deeper: Python's limit of recursion is 1000.
_MAX_OPEN_MARKS = 10_000
# Longer numbers take Python a time that grows with the square of their length.
_MAX_NUMBER_LENGTH = 5000
# What is longer takes long to compare.
_MAX_KEY_LENGTH, _MAX_KEY_TUPLE_LENGTH = 1000, 16
# The numbers in the memo may be so far from counting up. Every pickler counts, from 0 or from 1.
_MAX_GAP_IN_MEMO = 255
# Keys that meet in a dict take time, those that are tuples much of it: as if so many bytes were built.
_COLLISIONS_OF_A_BYTE, _COLLISIONS_OF_AN_ITEM = 4, 8


class DamagedPickleError(pickle.UnpicklingError):
    """A pickle is cut off, damaged or none: the base of every error that a bad file leads to."""


class UnsafePickleError(DamagedPickleError):
    """A pickle asks for something that no file of the cache contains, or for far more than its size allows."""


def _shown(text: Any) -> str:
    """Return a name from the file on one line, whatever it consists of."""
    text = ascii(str(text))[1:-1]
    return text if len(text) <= 100 else f"{text[:100]}..."


def _refuse(what: str) -> UnsafePickleError:
    return UnsafePickleError(f"the pickle asks for {what}, which no file of the cache contains; refused")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise DamagedPickleError(f"the pickle is damaged: {what}")


def _are_sizes(values: Any) -> bool:
    """Return whether these are a tuple of sizes, as the shapes and strides of arrays and tensors are."""
    return (
        type(values) is tuple
        and len(values) <= _MAX_DIMENSIONS
        and all(type(value) is int and 0 <= value < _SIZES_END for value in values)
    )


# What the globals of a pickle stand for. Each is stricter than the function it takes the place of: only what
# pickles of arrays, tensors and plain values consist of.


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, as protocols 0 to 2 write them."""
    _require(type(text) is str and encoding == "latin1", "it has bytes that are no text in latin1")
    return text.encode("latin1")


def _bytes() -> bytes:
    return b""


def _bytearray(content: Any = b"", encoding: Any = "latin-1") -> bytearray:
    if type(content) is str and encoding == "latin-1":
        return bytearray(content, "latin-1")
    _require(type(content) is bytes, "it has a bytearray that is not made of bytes")
    return bytearray(content)


def _complex(real: float, imaginary: float) -> complex:
    _require(type(real) is type(imaginary) is float, "it has a complex number that is not made of floats")
    return complex(real, imaginary)


def _ordered_dict() -> OrderedDict:
    return OrderedDict()


def _set(items: list) -> set:
    _require(type(items) is list, "it has a set that is not made of a list")
    return set(items)


def _frozenset(items: list) -> frozenset:
    return frozenset(_set(items))


def _dtype(code: str, _align: Any = False, _copy: Any = False) -> np.dtype:
    if type(code) is not str or code.lstrip("<>=|") not in _NUMERIC_CODES:
        raise _refuse(f"an array of {_shown(code) if type(code) is str else type(code).__name__}, not of numbers")
    # A copy, because the pickle sets its byte order in its next step.
    return np.dtype(code, copy=True)


def _reconstruct(_subtype: Any, _shape: Any, _typecode: Any) -> np.ndarray:
    """Return the empty array that a pickle fills in its next step."""
    return np.empty(0, dtype=np.int8)


def _check_array(shape: Any, dtype: Any, num_bytes: int) -> None:
    _require(isinstance(dtype, np.dtype) and _are_sizes(shape), "it has an array without a shape or a dtype")
    _require(math.prod(shape) * dtype.itemsize == num_bytes, "it has an array of another size than its shape's")


def _from_buffer(buffer: Any, dtype: np.dtype, shape: Any, order: str, axis_order: Any = None) -> np.ndarray:
    """Arrays, as protocol 5 has them."""
    _require(type(buffer) in (bytes, bytearray), "it has an array that is not made of bytes")
    _check_array(shape, dtype, len(buffer))
    array = np.frombuffer(buffer, dtype)
    if axis_order is None:
        return array.reshape(shape, order=order)
    _require(_are_sizes(axis_order), "it has an array without an order of its axes")
    return array.reshape(shape).transpose(axis_order)


def _scalar(dtype: np.dtype, content: bytes) -> np.generic:
    _require(type(content) is bytes, "it has a number that is not made of bytes")
    _check_array((), dtype, len(content))
    return np.frombuffer(content, dtype)[0]


def _from_numpy(array: np.ndarray) -> Any:
    """Tensors, as the files of the cache have them."""
    import torch

    _require(type(array) is np.ndarray, "it has a tensor that is not made of an array")
    # A tensor writes into its array; what bytes are made of must not change.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _load_storage(content: bytes) -> Any:
    """Load the storage of a tensor onto the CPU, wherever the tensor was when it was written."""
    import torch

    _require(type(content) is bytes, "it has a tensor that is not made of bytes")
    # Before torch reserves what the bytes say, they are known to hold it.
    _check_storage(content)
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _rebuild_tensor(
    storage: Any, offset: int, size: Any, stride: Any, requires_grad: bool, _hooks: Any, metadata: Any = None
) -> Any:
    """Tensors, as a plain pickle has them; torch would let a storage grow to what is asked of it."""
    import torch

    _require(isinstance(storage, torch.storage.TypedStorage), "it has a tensor without a storage")
    _require(_are_sizes((offset,)) and _are_sizes(size) and _are_sizes(stride), "it has a tensor without a shape")
    _require(len(size) == len(stride), "it has a tensor of more sizes than strides, or of less")
    length = 0 if 0 in size else 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    _require(offset + length <= storage.size(), "it has a tensor beyond the end of its storage")
    _require(type(requires_grad) is bool, "it has a tensor that may or may not have a gradient")
    if metadata is not None:
        _require(type(metadata) is dict and metadata.keys() <= {"conj", "neg"}, "it has a tensor of another kind")
    arguments = (storage, offset, size, stride, requires_grad, OrderedDict(), metadata)
    return torch._utils._rebuild_tensor_v2(*arguments)


def _rebuild_parameter(tensor: Any, requires_grad: bool, _hooks: Any) -> Any:
    import torch

    _require(type(tensor) is torch.Tensor and type(requires_grad) is bool, "it has a parameter without a tensor")
    return torch.nn.Parameter(tensor, requires_grad)


# What the files of the cache, and the same layout written by older code, are made of: exact names. Protocols
# 0 to 2 call builtins by their name in Python 2; NumPy 1 has numpy.core where NumPy 2 has numpy._core.
ALLOWED_GLOBALS: dict[tuple[str, str], Callable | str] = {
    ("__builtin__", "bytearray"): _bytearray,
    ("__builtin__", "bytes"): _bytes,
    ("__builtin__", "complex"): _complex,
    ("__builtin__", "frozenset"): _frozenset,
    ("__builtin__", "set"): _set,
    ("builtins", "bytearray"): _bytearray,
    ("builtins", "complex"): _complex,
    ("builtins", "frozenset"): _frozenset,
    ("builtins", "set"): _set,
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered_dict,
    ("numpy", "dtype"): _dtype,
    # Only ever an argument of _reconstruct. Called as what it is, it would read any memory.
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("torch", "from_numpy"): _from_numpy,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _load_storage,
}

# The steps that only put numbers, texts and empty containers on the stack, take them from there, or remember
# them: Python's own. Every other step is written below or refused.
_PLAIN_STEPS = """
    PROTO NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_TUPLE EMPTY_LIST EMPTY_DICT GLOBAL STACK_GLOBAL
    POP POP_MARK DUP PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
"""
_STEPS_WITH_A_NUMBER = pickle.INT + pickle.LONG + pickle.FLOAT + pickle.PUT + pickle.GET


def _num_bytes(value: Any) -> int:
    """Return about how much memory a value takes, or how long it takes to go through it."""
    if isinstance(value, bytes | bytearray | str):
        return len(value)
    if type(value) is list:
        return len(value) * _BYTES_OF_A_SET_ENTRY
    if hasattr(value, "shape"):  # an array, a tensor; torch's own number of bytes starts again at 2**64
        return math.prod(value.shape) * value.itemsize + _BYTES_OF_A_DIMENSION * value.ndim
    return 0


def _num_collisions(keys: Iterable[Any]) -> int:
    """Return with how many collisions each other key may meet these; refuse keys that no dict of the cache has.

    A file can choose numbers, and tuples, that all take the same places in a dict. It cannot choose such texts or
    bytes: their hashes are a secret of the process.
    """
    num_collisions = 0
    for key in keys:
        kind = type(key)
        if kind in (str, bytes) and len(key) <= _MAX_KEY_LENGTH:
            continue
        num_collisions += 1
        if kind is tuple and len(key) <= _MAX_KEY_TUPLE_LENGTH and tuple not in map(type, key):
            _num_collisions(key)
            num_collisions += _COLLISIONS_OF_AN_ITEM * len(key)
        elif not (
            (kind is int and abs(key) < 1 << 60)
            or key is None
            or kind in (bool, float)
            or isinstance(key, np.integer | np.floating | np.bool_)
        ):
            raise _refuse(f"a key of type {kind.__name__}, or of such a size")
    return num_collisions


class _Memo(dict):
    """What a pickle remembers, by numbers that count up: others could all take the same places."""

    def __setitem__(self, number: int, value: Any) -> None:
        if number > len(self) + _MAX_GAP_IN_MEMO:
            raise _refuse("numbers in its memo that do not count up")
        super().__setitem__(number, value)


class SafeUnpickler(pickle._Unpickler):
    """Loads dicts, lists, numbers, texts, NumPy arrays and torch tensors; executes nothing else.

    Tensors that were pickled with their storages, on a GPU too, are loaded to the CPU. It is built on the
    Python form of the unpickler, in which single steps can be checked.
    """

    dispatch: ClassVar[dict[int, Callable]] = {
        getattr(pickle, step)[0]: pickle._Unpickler.dispatch[getattr(pickle, step)[0]]
        for step in _PLAIN_STEPS.split()
    }
    allowed_globals: ClassVar[dict] = ALLOWED_GLOBALS
    place = "at byte {}"

    def __init__(self, file: IO[bytes], **options: Any):
        super().__init__(file, **options)
        self.memo = _Memo()
        # Bytes read so far; where the current step and its frame begin and end.
        self._position = self._step_begin = self._frame_end = 0
        self._step = b""
        # Bytes that were built, see `_spend`.
        self._spent = 0

    def load(self) -> Any:
        """Return the content of the next pickle in the file; raises `DamagedPickleError` and nothing else.

        Only what is not the pickle's fault is raised as it is: the file cannot be read, torch is missing.
        """
        self.read, self.readline = self._read, self._read_line
        self.stack, self.metastack, self.proto = [], [], 0
        self.append = self.stack.append
        file_read, dispatch, refuse = self._file_read, self.dispatch, SafeUnpickler._refuse_step
        try:
            # Python and torch warn of what is odd, but refused or read all the same.
            with warnings.catch_warnings(action="ignore"):
                while step := file_read(1):
                    self._step, self._step_begin = step, self._position
                    self._position += 1
                    dispatch.get(step[0], refuse)(self)
                raise DamagedPickleError("the pickle is cut off")
        except pickle._Stop as stop:
            return stop.value
        except (OSError, ImportError):
            raise
        except Exception as error:
            kind, said = type(error), str(error)
            if not isinstance(error, DamagedPickleError):
                kind, said = DamagedPickleError, f"the pickle is damaged: {kind.__name__}: {_shown(said)}"
            raise kind(f"{said} ({self.place.format(self._step_begin)})") from None

    def _read(self, size: int) -> bytes:
        """Read exactly ``size`` bytes."""
        content = self._file_read(size) if size <= _MAX_BYTES_AT_ONCE else b""
        self._position += len(content)
        if len(content) < size:
            content = b"".join([content, *self._read_parts(size - len(content))])
        return content

    def _read_parts(self, size: int) -> Iterator[bytes]:
        """Read ``size`` bytes, of which the file may have less."""
        while size:
            part = self._file_read(min(size, _MAX_BYTES_AT_ONCE))
            if not part:
                raise DamagedPickleError("the pickle is cut off")
            size -= len(part)
            self._position += len(part)
            yield part

    def _read_line(self) -> bytes:
        line = self._file_readline()
        if not line.endswith(b"\n"):
            raise DamagedPickleError("the pickle is cut off")
        if len(line) > _MAX_NUMBER_LENGTH and self._step in _STEPS_WITH_A_NUMBER:
            raise _refuse(f"a number of {len(line)} digits")
        self._position += len(line)
        return line

    def _refuse_step(self) -> None:
        import pickletools

        step = pickletools.code2op.get(self._step.decode("latin1"))
        _require(step is not None, "what it consists of is no pickle")
        raise _refuse(f"the step {step.name}")

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global that a pickle names, where it is one of ``allowed_globals``."""
        if (module, name) not in self.allowed_globals:
            raise _refuse(f"{_shown(module)}.{_shown(name)}")
        return self.allowed_globals[module, name]

    def _spend(self, num_bytes: int) -> None:
        """Count what is built, because one step of few bytes can build much, or take long."""
        self._spent += num_bytes
        if self._spent > _ALWAYS_ALLOWED + _MAX_GROWTH * self._position:
            raise UnsafePickleError("the pickle asks for far more memory or time than its size allows; refused")

    def _content(self, items: list) -> list:
        """Return items that become part of what is loaded: of them none may be a function."""
        if FunctionType in map(type, items):
            raise _refuse("a function in the place of a value")
        return items

    def _keys(self, keys: list, num_present: int = 0) -> list:
        """Return keys that are added to a dict or a set; each may meet all that are there."""
        self._spend(_num_collisions(keys) * (num_present + len(keys)) // _COLLISIONS_OF_A_BYTE)
        return keys

    def _top(self, *kinds: type) -> Any:
        """Return what is to be filled, if it is of one of exactly these kinds."""
        if type(self.stack[-1]) not in kinds:
            raise _refuse(f"filling a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def _load_frame(self) -> None:
        """A frame only says that so much follows: nothing is reserved for it."""
        _require(self._frame_end <= self._position, "a frame begins within another")
        self._frame_end = int.from_bytes(self._read(8), "little") + self._position

    def _load_stop(self) -> None:
        """The end; nothing of a frame may be left."""
        _require(self._frame_end <= self._position, "it ends before its frame does")
        raise pickle._Stop(*self._content([self.stack.pop()]))

    def _load_mark(self) -> None:
        if len(self.metastack) >= _MAX_OPEN_MARKS:
            raise _refuse(f"{_MAX_OPEN_MARKS} containers within each other")
        super().load_mark()

    def _load_bytearray8(self) -> None:
        size = int.from_bytes(self._read(8), "little")
        self.append(bytearray().join(self._read_parts(size)))

    def _load_tuple(self) -> None:
        items = self.pop_mark()
        self.append(tuple(self._content(items)))

    def _load_short_tuple(self, size: int) -> None:
        _require(len(self.stack) >= size, "it has a tuple of nothing")
        self.stack[-size:] = [tuple(self._content(self.stack[-size:]))]

    def _load_list(self) -> None:
        items = self.pop_mark()
        self.append(self._content(items))

    def _load_append(self) -> None:
        items = self._content([self.stack.pop()])
        self._top(list).extend(items)

    def _load_appends(self) -> None:
        items = self._content(self.pop_mark())
        self._top(list).extend(items)

    def _fill_dict(self, items: list) -> None:
        filled = self._top(dict, OrderedDict)
        keys, values = self._keys(items[::2], len(filled)), self._content(items[1::2])
        filled.update(zip(keys, values, strict=True))

    def _load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._fill_dict(items)

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._fill_dict([key, value])

    def _load_setitems(self) -> None:
        self._fill_dict(self.pop_mark())

    def _load_empty_set(self) -> None:
        self._spend(_BYTES_OF_AN_OBJECT)
        self.append(set())

    def _load_additems(self) -> None:
        items = self.pop_mark()
        filled = self._top(set)
        filled.update(self._keys(items, len(filled)))

    def _load_frozenset(self) -> None:
        self._spend(_BYTES_OF_AN_OBJECT)
        items = self.pop_mark()
        self.append(frozenset(self._keys(items)))

    def _load_reduce(self) -> None:
        """Call one of the functions of this module, and nothing else."""
        arguments = self.stack.pop()
        function = self.stack[-1]
        if type(function) is not FunctionType or type(arguments) is not tuple:
            raise _refuse(f"a call of a {type(function).__name__}")
        num_bytes = _BYTES_OF_A_STORAGE if function is _load_storage else _BYTES_OF_AN_OBJECT
        self._spend(num_bytes + sum(map(_num_bytes, arguments)))
        for argument in arguments:
            if type(argument) is list:
                self._keys(argument)  # a set is made of it
        self.stack[-1] = function(*arguments)
        self._spend(_num_bytes(self.stack[-1]))

    def _load_build(self) -> None:
        """Set the state of an array, of the byte order of a dtype, of the versions in a state dict."""
        state = self.stack.pop()
        instance = self.stack[-1]
        if isinstance(instance, np.dtype):
            self._set_byte_order(instance, state)
        elif type(instance) is np.ndarray:
            self._fill_array(instance, state)
        elif type(instance) is OrderedDict and type(state) is dict and state.keys() == {"_metadata"}:
            # The state dict of a module carries the versions of its layers.
            instance._metadata = state["_metadata"]
        else:
            raise _refuse(f"a state of a {type(instance).__name__}")

    def _set_byte_order(self, dtype: np.dtype, state: Any) -> None:
        # Fields could point elsewhere, and by its flags bytes could become objects.
        if type(state) is not tuple or state[0] != 3 or state[2:] != (None, None, None, -1, -1, 0):
            raise _refuse("an array of records, not of numbers")
        _require(type(state[1]) is str and state[1] in ("<", ">", "|", "="), "it has a dtype of no byte order")
        dtype.__setstate__(state)

    def _fill_array(self, array: np.ndarray, state: Any) -> None:
        # Filled once: a tensor may use the memory of an array that has any.
        _require(array.size == 0 and type(state) is tuple and len(state) == 5, "it has an array of another kind")
        version, shape, dtype, in_columns, content = state
        _require(version == 1 and type(content) is bytes, "it has an array that is not made of bytes")
        _check_array(shape, dtype, len(content))
        self._spend(len(content))
        array.__setstate__((1, shape, dtype, in_columns is True, content))

    dispatch |= {
        pickle.FRAME[0]: _load_frame,
        pickle.STOP[0]: _load_stop,
        pickle.MARK[0]: _load_mark,
        pickle.BYTEARRAY8[0]: _load_bytearray8,
        pickle.TUPLE[0]: _load_tuple,
        pickle.TUPLE1[0]: lambda self: self._load_short_tuple(1),
        pickle.TUPLE2[0]: lambda self: self._load_short_tuple(2),
        pickle.TUPLE3[0]: lambda self: self._load_short_tuple(3),
        pickle.LIST[0]: _load_list,
        pickle.APPEND[0]: _load_append,
        pickle.APPENDS[0]: _load_appends,
        pickle.DICT[0]: _load_dict,
        pickle.SETITEM[0]: _load_setitem,
        pickle.SETITEMS[0]: _load_setitems,
        pickle.EMPTY_SET[0]: _load_empty_set,
        pickle.ADDITEMS[0]: _load_additems,
        pickle.FROZENSET[0]: _load_frozenset,
        pickle.REDUCE[0]: _load_reduce,
        pickle.BUILD[0]: _load_build,
    }


# The storages that torch names in a pickle, and the bytes that an element of each takes.
_ELEMENT_BYTES = {
    ("torch", "BFloat16Storage"): 2,
    ("torch", "BoolStorage"): 1,
    ("torch", "ByteStorage"): 1,
    ("torch", "CharStorage"): 1,
    ("torch", "ComplexDoubleStorage"): 16,
    ("torch", "ComplexFloatStorage"): 8,
    ("torch", "DoubleStorage"): 8,
    ("torch", "FloatStorage"): 4,
    ("torch", "HalfStorage"): 2,
    ("torch", "IntStorage"): 4,
    ("torch", "LongStorage"): 8,
    ("torch", "ShortStorage"): 2,
}


class _Storage(NamedTuple):
    """What the file of a storage says of it."""

    element_bytes: int
    key: str
    num_elements: int


class _StorageUnpickler(SafeUnpickler):
    """Reads what comes before the numbers in the file of a storage, and builds nothing of it."""

    allowed_globals: ClassVar[dict] = _ELEMENT_BYTES
    place = "at byte {} of a part of a tensor's storage"
    storage: _Storage | None = None

    def _load_binpersid(self) -> None:
        """The one storage of the file."""
        name, element_bytes, key, device, num_elements, view = self.stack.pop()
        _require(
            self.storage is None
            and (name, view) == ("storage", None)
            and [type(value) for value in (element_bytes, key, device, num_elements)] == [int, str, str, int],
            "it has a tensor with more than one storage, or none",
        )
        self.storage = _Storage(element_bytes, key, num_elements)
        self.append(self.storage)

    dispatch: ClassVar[dict[int, Callable]] = SafeUnpickler.dispatch | {pickle.BINPERSID[0]: _load_binpersid}


def _check_storage(content: bytes) -> None:
    """Check that these bytes are the file of one storage and nothing else, and hold all of its numbers."""
    file = io.BytesIO(content[:_MAX_STORAGE_HEAD])
    # Of torch's five pickles these say which torch wrote them.
    for _ in ("magic number", "protocol version", "system"):
        _StorageUnpickler(file).load()
    storage = _StorageUnpickler(file).load()
    _require(type(storage) is _Storage, "it has a tensor without a storage")
    _require(_StorageUnpickler(file).load() == [storage.key], "it has a tensor with another storage")
    num_elements = int.from_bytes(file.read(8), "little")
    num_bytes = len(content) - file.tell()
    _require(
        num_elements == storage.num_elements and num_elements * storage.element_bytes == num_bytes,
        "it has a storage of another size than it says",
    )
