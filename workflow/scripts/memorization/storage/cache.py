"""Reading and writing of pickles, tables and figures.

A pickle is byte for byte the same whenever the same content is written, and every write is atomic.
"""

import glob
import hashlib
import io
import os
import pickle
import platform
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .file_system import errors_name, flush_file, flush_folder, remove_if_possible
from .unpickling import DamagedPickleError, OfArray, SafeUnpickler

if TYPE_CHECKING:
    # Jobs without a table start sooner without it.
    import pandas as pd

# Protocol 5 is the highest of Python 3.8 and later; a fixed one keeps the bytes the same everywhere.
PICKLE_PROTOCOL = 5


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` at the end.

    After an error ``path`` is as it was. Raises `OSError` with the name of ``path``.
    """
    path = Path(path)
    remove_what_was_left(path)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        with errors_name(path):
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                flush_file(file.fileno())
            os.replace(temporary, path)
            flush_folder(path.parent)
    finally:
        remove_if_possible(temporary)


# Processes of two machines that share a folder can have the same number.
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def remove_what_was_left(path: Path) -> None:
    """Remove the temporary files of ``path`` that killed processes left behind.

    Only processes of this machine count. A file that cannot be removed stays.
    """
    with suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}.*.tmp"):
            number = left.name.split(".")[-2]
            if number.isdecimal() and not _is_alive(int(number)):
                remove_if_possible(left)


def _is_alive(process: int) -> bool:
    """Tell whether a process of this machine is alive."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # It belongs to another user, and is alive.
    return True


def how_to_make_again(path: str | Path) -> str:
    """Return the end of the message about a damaged file.

    It is the command that makes the file again.
    """
    command = f"snakemake --cores 2 --force {path}"
    return f"make it again: {command} (with --configfile, if that is not config/config.yaml)"


class DamagedTableError(ValueError):
    """A table cannot be read, or lacks a column that the workflow writes."""


class _DeterministicPickler(pickle.Pickler):
    """Pickles tensors through NumPy: pickled storages would carry memory addresses."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file, protocol=PICKLE_PROTOCOL)
        # The memo would make the bytes depend on which equal values are one object.
        self.fast = True

    def reducer_override(self, obj: Any) -> Any:
        # If torch is not imported, there are no tensors. Jobs on arrays alone start seconds sooner without it.
        torch = sys.modules.get("torch")
        if torch and isinstance(obj, torch.Tensor):
            return torch.from_numpy, (obj.detach().cpu().numpy(),)
        if torch and obj is torch.from_numpy:
            # Its public name in torch; its own attributes name a private class.
            return "from_numpy"
        return NotImplemented


def write_pickle(content: Any, path: str | Path) -> None:
    """Write ``content`` as a pickle.

    It may have dicts, lists, numbers, arrays and tensors, none of which contains itself.
    """
    with atomic_write(path) as file:
        _DeterministicPickler(file).dump(content)


def write_checked_pickle(content: Any, path: str | Path) -> None:
    """Write ``content`` as `write_pickle` does, with a checksum at the end."""
    buffer = io.BytesIO()
    _DeterministicPickler(buffer).dump(content)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())
        file.write(hashlib.sha256(buffer.getbuffer()).digest())


def read_checked_pickle(path: str | Path) -> Any:
    """Return what `write_checked_pickle` wrote.

    Raises `DamagedPickleError` if a single bit has changed.
    """
    with errors_name(path):
        data = Path(path).read_bytes()
    content, checksum = data[:-32], data[-32:]
    if hashlib.sha256(content).digest() != checksum:
        raise DamagedPickleError("its checksum is wrong")
    return SafeUnpickler(io.BytesIO(content)).load()


def read_pickle(path: str | Path, of_array: OfArray | None = None) -> Any:
    """Return the content of a pickle of the cache.

    ``of_array`` is that of `SafeUnpickler`. Raises `DamagedPickleError` with the command that makes the file
    again, and `UnsafePickleError` if the file asks for something that no file of the cache holds.
    """
    try:
        with errors_name(path), open(path, "rb") as file:
            return SafeUnpickler(file, of_array).load()
    except DamagedPickleError as error:
        raise type(error)(f"{path}: {error}; {how_to_make_again(path)}") from error


class _AsInt64:
    """An array that is pickled as int64.

    The int64 copy is made when it is written, and freed after that.
    """

    def __init__(self, array: np.ndarray):
        self._array = array

    def __reduce_ex__(self, protocol: int) -> tuple:
        return self._array.astype(np.int64).__reduce_ex__(protocol)


def write_sequences(sequence_sets: list[np.ndarray], switch_start_iter: list[int], path: str | Path) -> None:
    """Write ``<run>_sequences.pkl``.

    The sets (K, L) of 0 and 1 are int64 in the file, and one at a time is int64 in memory.
    """
    sequences = [_AsInt64(sequences) for sequences in sequence_sets]
    write_pickle({"sequences": sequences, "switch_start_iter": switch_start_iter}, path)


def read_sequences(path: str | Path) -> tuple[list[np.ndarray], list[int]]:
    """Return the sequence sets of a run, and when the training on each begins.

    That is an iteration for each set. The sets are int8 arrays (K, L). In the file they are int64, which takes
    eight times the memory; one at a time is read as such.
    """
    data = read_pickle(path, _as_bytes)
    return [_as_bytes(sequences) for sequences in data["sequences"]], data["switch_start_iter"]


def _as_bytes(bits: np.ndarray) -> np.ndarray:
    return bits.astype(np.int8, copy=False)


def write_table(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a tidy table as ``.parquet`` or ``.csv``; the ending of ``path`` decides."""
    with atomic_write(path) as file:
        if Path(path).suffix == ".csv":
            file.write(csv_text(table))
        else:
            table.to_parquet(file, index=False)


def csv_text(table: "pd.DataFrame") -> bytes:
    """Return a table as the text of a ``.csv``, floats with six digits."""
    return table.to_csv(index=False, float_format="%.6g").encode()


def read_table(
    path: str | Path, columns: list[str] | None = None, needed: list[str] | None = None
) -> "pd.DataFrame":
    """Return the ``columns`` (all of them by default) of a ``.parquet`` table.

    Raises `DamagedTableError` with the command that makes the file again, if it is not a table or lacks one of the
    ``columns`` or of the columns ``needed``.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(path, columns=columns)
        # Otherwise Arrow keeps the memory into which it has read, as well as the table.
        pa.default_memory_pool().release_unused()
        if missing := [column for column in needed or [] if column not in table]:
            raise KeyError(f"no column {', '.join(missing)}")
        return table
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk, not of what is in the file
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DamagedTableError(
            f"{path} is damaged, or was made by another version ({reason}); {how_to_make_again(path)}"
        ) from error


def write_figure(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure as ``.pdf`` or ``.png``, without a date.

    The ending of ``path`` decides which.
    """
    suffix = Path(path).suffix[1:]
    metadata = {"CreationDate": None} if suffix == "pdf" else None
    # Drawn in memory first: if a file cannot be written, matplotlib's own error hides the reason.
    drawn = io.BytesIO()
    figure.savefig(drawn, format=suffix, metadata=metadata)
    with atomic_write(path) as file:
        file.write(drawn.getbuffer())
