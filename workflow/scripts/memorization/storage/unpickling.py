"""Reading pickles without running anything that they ask for.

A pickle can name any function and have it called. Here a name is looked up in `ALLOWED_GLOBALS` alone, and each
name there stands for a constructor of this module that checks what it is given. A pickle therefore gives dicts,
lists, tuples, sets, numbers, texts, NumPy arrays of numbers and torch tensors, and nothing else. A tensor comes
to the CPU, whatever device it was written from.

Anything wrong with a pickle is a `DamagedPickleError` of one line. A length that exceeds the size of the file is
refused before memory is taken for it. Nothing else bounds the memory, time and stack that a hostile file takes.
"""

import errno
import io
import math
import mmap
import pickle
import pickletools
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, Any

import numpy as np

from .file_system import UNSUPPORTED

OfArray = Callable[[np.ndarray], np.ndarray]


class DamagedPickleError(pickle.UnpicklingError):
    """A pickle is cut off, damaged or none.

    This is the base of every error that a bad file leads to.
    """


class UnsafePickleError(DamagedPickleError):
    """A pickle asks for something that no file of the cache contains."""


def _refusal(wish: str) -> UnsafePickleError:
    return UnsafePickleError(f"the pickle asks for {_shown(wish)}, which no file of the cache contains; refused")


def _shown(text: str) -> str:
    """Return a text from the file on one line of at most 100 characters."""
    text = ascii(text)[1:-1]
    return text if len(text) <= 100 else f"{text[:100]}..."


def _text_or_type(value: Any) -> str:
    """Return a text as it is, and the name of the type of any other value.

    A tensor is not printed, because torch would import modules for that.
    """
    return value if isinstance(value, str) else type(value).__name__


class _Dtype:
    """A dtype of numbers in a pickle.

    Records could hold addresses in place of bytes, and are refused.
    """

    def __init__(self, code: str, _align: Any = False, _copy: Any = False):
        if not (isinstance(code, str) and re.fullmatch("[<>=|]?(b1|[iu][1248]|f[248]|c8|c16)", code)):
            raise _refusal(f"an array of {_text_or_type(code)}, not of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Set the byte order, the one part of the state that a dtype of numbers has."""
        if type(state) is not tuple or len(state) != 8 or state[2:] != (None, None, None, -1, -1, 0):
            raise _refusal("an array of records, not of numbers")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array that is filled in a later step, as NumPy writes it up to protocol 4."""

    def __setstate__(self, state: Any) -> None:
        """Take on shape, dtype and content."""
        version, shape, dtype, in_columns, content = state
        # Filled once: a tensor may use the memory of an array that has any.
        if self.size or type(dtype) is not _Dtype or type(content) is not bytes:
            raise _refusal("an array that is not made of numbers")
        sizes = type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape)
        if not sizes or math.prod(shape) * dtype.dtype.itemsize != len(content):
            raise DamagedPickleError("the pickle is damaged: it has an array of another size than its content")
        super().__setstate__((version, shape, dtype.dtype, in_columns, content))


def _reconstruct(_subtype: Any, _shape: Any, _typecode: Any) -> np.ndarray:
    return _Array(0, np.int8)


def _with_plain_arrays(content: Any) -> Any:
    """Return the content of a pickle with NumPy's own arrays.

    An array of that class takes the place of each `_Array`.
    """
    if type(content) in (dict, OrderedDict):
        content.update((key, _with_plain_arrays(value)) for key, value in content.items())
    elif type(content) is list:
        content[:] = map(_with_plain_arrays, content)
    elif type(content) is tuple:
        return tuple(map(_with_plain_arrays, content))
    return content.view(np.ndarray) if type(content) is _Array else content


def _from_buffer(buffer: Any, dtype: _Dtype, shape: Any, order: str, axis_order: Any = None) -> np.ndarray:
    """Return an array as NumPy writes it in protocol 5."""
    array = np.frombuffer(buffer, dtype.dtype)
    return array.reshape(shape, order=order) if axis_order is None else array.reshape(shape).transpose(axis_order)


def _scalar(dtype: _Dtype, content: bytes) -> np.generic:
    return np.frombuffer(content, dtype.dtype).reshape(())[()]


def _bytes(text: str = "", encoding: str = "latin1") -> bytes:
    """Return bytes, which protocols 0 to 2 write as a text."""
    if encoding not in ("latin1", "latin-1"):
        raise _refusal(f"bytes encoded as {_text_or_type(encoding)}")
    return text.encode("latin1")


def _bytearray(content: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    return bytearray(_bytes(content, encoding) if isinstance(content, str) else memoryview(content))


def _from_numpy(array: np.ndarray) -> Any:
    """Return a tensor as the files of the cache have it."""
    import torch

    # A tensor writes into its array, and the bytes below a read-only one must not change.
    return torch.from_numpy(array.view(np.ndarray) if array.flags.writeable else np.array(array))


class _Storage:
    """The numbers of a tensor in a plain pickle.

    Within the pickle lies a file of torch.save in its older format.
    """

    def __init__(self, content: bytes):
        import torch

        file = io.BytesIO(content)
        # The magic number, the version, the system, the storage, and the keys of all storages.
        *_, (kind, key, num_elements), keys = [_load_next(file, _StorageUnpickler) for _ in range(5)]
        dtype = getattr(torch, kind)
        count, numbers = int.from_bytes(file.read(8), "little"), bytearray(file.read())
        if keys != [key] or count != num_elements or count * dtype.itemsize != len(numbers):
            raise DamagedPickleError("the pickle is damaged: it has a storage of another size than it says")
        # torch takes no empty buffer.
        self.numbers = torch.frombuffer(numbers or bytearray(dtype.itemsize), dtype=dtype)[:count]

    def __setstate__(self, state: Any) -> None:
        raise _refusal("the state of a storage")


def _rebuild_tensor(
    storage: _Storage, offset: int, size: Any, stride: Any, requires_grad: bool, _hooks: Any, metadata: Any = None
) -> Any:
    """Return a tensor as a plain pickle has it.

    torch checks that it lies within its storage.
    """
    if type(storage) is not _Storage or metadata:
        raise _refusal("a tensor of another kind")
    return storage.numbers.as_strided(size, stride, offset).requires_grad_(requires_grad)


def _rebuild_parameter(tensor: Any, requires_grad: bool, _hooks: Any) -> Any:
    import torch

    return torch.nn.Parameter(tensor, requires_grad)


def _not_called(*_arguments: Any) -> None:
    """Stand for a name that a pickle contains but does not call."""
    raise _refusal("a call of numpy.ndarray")


# The names in the files of the cache, and in the same layout written by older code: protocols 0 to 2 use the names
# of Python 2, and NumPy 1 has numpy.core in place of numpy._core.
ALLOWED_GLOBALS: dict[tuple[str, str], Callable] = {
    ("__builtin__", "bytes"): _bytes,
    ("_codecs", "encode"): _bytes,
    ("collections", "OrderedDict"): lambda: OrderedDict(),
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _not_called,
    ("torch", "from_numpy"): _from_numpy,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
}
for _builtins in ("builtins", "__builtin__"):
    ALLOWED_GLOBALS[_builtins, "bytearray"] = _bytearray
    ALLOWED_GLOBALS[_builtins, "complex"] = lambda real, imaginary: complex(real, imaginary)
    ALLOWED_GLOBALS[_builtins, "frozenset"] = lambda items: frozenset(items)
    ALLOWED_GLOBALS[_builtins, "set"] = lambda items: set(items)
for _core in ("numpy.core", "numpy._core"):
    ALLOWED_GLOBALS[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    ALLOWED_GLOBALS[f"{_core}.multiarray", "scalar"] = _scalar
    ALLOWED_GLOBALS[f"{_core}.numeric", "_frombuffer"] = _from_buffer


_STORAGE_DTYPES = {
    "BFloat16Storage": "bfloat16", "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8",
    "ComplexDoubleStorage": "complex128", "ComplexFloatStorage": "complex64", "DoubleStorage": "float64",
    "FloatStorage": "float32", "HalfStorage": "float16", "IntStorage": "int32", "LongStorage": "int64",
    "ShortStorage": "int16",
}  # fmt: skip
_MAGIC_NUMBER_OF_TORCH = 0x1950A86A20F9469CFC6C
_FILE_OF_TORCH = (
    "it is a file of torch.save, not a pickle of the cache; "
    'torch.load(file, map_location="cpu", weights_only=True) may read it'
)


class _Constructor:
    """The object that a pickle gets for an allowed name.

    The pickle can call it, and change nothing about it.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise _refusal("the state of a function")


class _AllowedUnpickler(pickle.Unpickler):
    has_old_arrays = False

    def __init__(self, file: IO[bytes], of_array: OfArray | None = None):
        super().__init__(file)
        self._of_array = of_array

    def find_class(self, module: str, name: str) -> _Constructor:
        if (module, name) not in ALLOWED_GLOBALS:
            raise _refusal(f"{module}.{name}")
        self.has_old_arrays |= name == "_reconstruct"
        constructor, of_array = ALLOWED_GLOBALS[module, name], self._of_array
        if of_array and constructor is _from_buffer:
            return _Constructor(lambda *arguments: of_array(_from_buffer(*arguments)))
        return _Constructor(constructor)

    def load(self) -> Any:
        content = super().load()
        return _with_plain_arrays(content) if self.has_old_arrays else content


class _StorageUnpickler(pickle.Unpickler):
    """Reads the parts of the file of a storage.

    The storage itself is a kind, a key and a number of elements.
    """

    def find_class(self, module: str, name: str) -> str:
        if module != "torch" or name not in _STORAGE_DTYPES:
            raise _refusal(f"{module}.{name}")
        return _STORAGE_DTYPES[name]

    def persistent_load(self, description: Any) -> tuple[str, str, int]:
        name, kind, key, _device, num_elements, view = description
        if name != "storage" or kind not in _STORAGE_DTYPES.values() or view is not None:
            raise _refusal("a storage that torch does not write")
        return kind, key, num_elements


class SafeUnpickler:
    """Loads dicts, lists, numbers, texts, NumPy arrays and torch tensors.

    It executes nothing else.
    """

    def __init__(self, file: IO[bytes], of_array: OfArray | None = None):
        """Read from ``file``.

        If ``of_array`` is given, its result takes the place of each array that was written in protocol 5. It is
        called as soon as the array is read. If it returns smaller arrays, a file of several large ones takes less
        memory.
        """
        self._of_array = of_array
        # Any other file than one on a disk is read to its end first.
        on_disk = isinstance(file, io.BufferedReader) and isinstance(file.raw, io.FileIO) and file.seekable()
        self._file = file if on_disk or isinstance(file, io.BytesIO) else io.BytesIO(file.read())

    def load(self) -> Any:
        """Return the content of the file's next pickle.

        The file is left at the end of that pickle. Raises `DamagedPickleError` for anything wrong with the pickle.
        Other errors are raised as they are if the file cannot be read or torch is missing.
        """
        try:
            # NumPy and torch warn of what is odd, but refused or read all the same.
            with warnings.catch_warnings(action="ignore"):
                content = _load_next(self._file, partial(_AllowedUnpickler, of_array=self._of_array))
        except (DamagedPickleError, OSError, ImportError):
            raise
        except Exception as error:
            fault = f"the pickle is damaged: {type(error).__name__}: {_shown(str(error))}"
            raise DamagedPickleError(fault) from None
        if type(content) is int and content == _MAGIC_NUMBER_OF_TORCH:
            raise DamagedPickleError(_FILE_OF_TORCH)
        return content


def _load_next(file: IO[bytes], unpickler: Callable[[IO[bytes]], pickle.Unpickler]) -> Any:
    """Return the content of the next pickle of a file.

    It first looks at the opcodes of the pickle, which runs none of them.
    """
    if isinstance(file, io.BytesIO):
        _check_lengths(file.getvalue(), file.tell())
    else:
        with _in_memory(file) as content:
            _check_lengths(content, file.tell())
    return unpickler(file).load()


@contextmanager
def _in_memory(file: IO[bytes]) -> Iterator[bytes | mmap.mmap]:
    """Yield the bytes of an open file, mapped into memory; if its file system cannot do so, read into it."""
    try:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno not in UNSUPPORTED | {errno.ENODEV}:
            raise
        position = file.tell()
        file.seek(0)
        read = file.read()
        file.seek(position)
        yield read
    else:
        with content:
            yield content


# For each opcode, the number of bytes of its argument; or, if negative, how its length is told.
_ARGUMENTS = {ord(opcode.code): opcode.arg.n if opcode.arg else 0 for opcode in pickletools.opcodes}
_BYTES_OF_LENGTH = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_NUM_LINES = {ord(pickle.GLOBAL): 2, ord(pickle.INST): 2}


def _check_lengths(content: bytes | mmap.mmap, position: int) -> None:
    """Check the lengths in the opcodes of the pickle at ``position``.

    The opcodes are read and not executed. Raises `DamagedPickleError` for a length, or a place in the memo, that
    exceeds the size of the file: Python would take memory for it. Objects registered in copyreg are refused,
    because they come without `find_class`.
    """
    if content[position : position + 4] == b"PK\x03\x04":
        raise DamagedPickleError(_FILE_OF_TORCH)
    opcode = None
    while opcode != ord(pickle.STOP):
        opcode, begin = content[position], position + 1
        length = _ARGUMENTS[opcode]
        if length in _BYTES_OF_LENGTH:
            begin += _BYTES_OF_LENGTH[length]
            length = int.from_bytes(content[position + 1 : begin], "little")
        elif length == pickletools.UP_TO_NEWLINE:
            length = 0
            for _ in range(_NUM_LINES.get(opcode, 1)):
                end = content.find(b"\n", begin + length)
                if end < 0:
                    raise DamagedPickleError("the pickle is damaged: a line in it has no end")
                length = end + 1 - begin
        position = begin + length
        number = length
        if opcode in _NUMBERS:
            argument = content[begin:position]
            number = int(argument) if opcode == ord(pickle.PUT) else int.from_bytes(argument, "little")
        elif opcode in _EXTENSIONS:
            raise _refusal("an extension")
        if number > len(content):
            raise DamagedPickleError(f"the pickle is damaged: a length of {number} exceeds the size of the file")


# Opcodes for whose number Python takes memory.
_NUMBERS = {ord(opcode) for opcode in (pickle.FRAME, pickle.PUT, pickle.LONG_BINPUT)}
_EXTENSIONS = {ord(opcode) for opcode in (pickle.EXT1, pickle.EXT2, pickle.EXT4)}
