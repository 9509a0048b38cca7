"""Reading pickles without running what they ask for."""

import importlib
import io
import pickle
from typing import Any

# What the files of the cache, and the same layout written by older code, are made of: exact names.
ALLOWED_GLOBALS = frozenset(
    {
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy.core.numeric", "_frombuffer"),
        ("torch", "from_numpy"),
        ("torch._utils", "_rebuild_parameter"),
        ("torch._utils", "_rebuild_tensor_v2"),
    }
)


class UnsafePickleError(pickle.UnpicklingError):
    """A pickle asked for something that no file of the cache contains."""


class SafeUnpickler(pickle.Unpickler):
    """Loads dicts, lists, numbers, texts, NumPy arrays and torch tensors; executes nothing else.

    Tensors that were pickled with their storages, on a GPU too, are loaded to the CPU.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the global that a pickle names, where it is one of `ALLOWED_GLOBALS`."""
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_storage
        if (module, name) not in ALLOWED_GLOBALS:
            raise UnsafePickleError(
                f"the pickle asks for {module}.{name}, which no file of the cache contains; refused"
            )
        # NumPy 1 has numpy.core where NumPy 2 has numpy._core.
        module = module.replace("numpy.core.", "numpy._core.")
        return getattr(importlib.import_module(module), name)


def _load_storage(content: bytes) -> Any:
    """Load the storage of a tensor onto the CPU, wherever the tensor was when it was written."""
    import torch

    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
