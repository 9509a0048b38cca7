"""Reading pickles without running what they ask for."""

import importlib
import io
import pickle
import re
from typing import Any, ClassVar

import numpy as np

# Numbers and truth values. An array of objects, or of records of them, would take bytes of the file for
# addresses.
_NUMERIC_DTYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|c(8|16))")


class UnsafePickleError(pickle.UnpicklingError):
    """A pickle asked for something that no file of the cache contains."""


def _load_storage(content: bytes) -> Any:
    """Load the storage of a tensor onto the CPU, wherever the tensor was when it was written."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _dtype(code: str, *_options: Any) -> np.dtype:
    if not (isinstance(code, str) and _NUMERIC_DTYPE.fullmatch(code)):
        raise UnsafePickleError(f"the pickle asks for an array of {code!r}, not of numbers; refused")
    # A copy, because the pickle sets its byte order in its next step.
    return np.dtype(code, copy=True)


def _reconstruct(_subtype: Any, _shape: Any, _typecode: Any) -> np.ndarray:
    """Return the empty array that a pickle fills in its next step."""
    return np.empty(0, dtype=np.int8)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise UnsafePickleError(f"the pickle asks for the encoding {encoding!r}; refused")
    return text.encode(encoding)


# What the files of the cache, and the same layout written by older code, are made of: exact names. Where a
# function could be misused by its arguments, a stricter one of this module takes its place; what is None
# is imported by its name.
ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    ("__builtin__", "bytes"): lambda: b"",
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): None,
    ("numpy", "dtype"): _dtype,
    # Only ever an argument of _reconstruct. Called as what it is, it would read any memory.
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "scalar"): None,
    ("numpy._core.numeric", "_frombuffer"): None,
    ("torch", "from_numpy"): None,
    ("torch._utils", "_rebuild_parameter"): None,
    ("torch._utils", "_rebuild_tensor_v2"): None,
    ("torch.storage", "_load_from_bytes"): _load_storage,
}


class SafeUnpickler(pickle._Unpickler):
    """Loads dicts, lists, numbers, texts, NumPy arrays and torch tensors; executes nothing else.

    Tensors that were pickled with their storages, on a GPU too, are loaded to the CPU. It is built on the
    Python form of the unpickler, in which single steps can be checked.
    """

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a global that a pickle names, where it is one of `ALLOWED_GLOBALS`."""
        # NumPy 1 has numpy.core where NumPy 2 has numpy._core.
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in ALLOWED_GLOBALS:
            raise UnsafePickleError(
                f"the pickle asks for {module}.{name}, which no file of the cache contains; refused"
            )
        substitute = ALLOWED_GLOBALS[module, name]
        return getattr(importlib.import_module(module), name) if substitute is None else substitute

    def load_build(self) -> None:
        """Set the state of an object; of a dtype only its byte order, never fields that point elsewhere."""
        instance, state = self.stack[-2:]
        if isinstance(instance, np.dtype) and state[2:5] != (None, None, None):
            raise UnsafePickleError("the pickle asks for an array of records, not of numbers; refused")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build
