"""Reading and writing of every file: the pickles of the cache, the tables and the figures.

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
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .unpickling import DamagedPickleError, SafeUnpickler

if TYPE_CHECKING:
    # Jobs without a table start sooner without it.
    import pandas as pd

# Protocol 5 is the highest of Python 3.8 and later; a fixed one keeps the bytes the same everywhere.
PICKLE_PROTOCOL = 5


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its place at the end, or leaves no trace."""
    path = Path(path)
    remove_what_was_left(path)
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # A full disk does not say by itself which file it was too full for.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# Two machines that share a folder can have processes of one number.
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def remove_what_was_left(path: Path) -> None:
    """Remove what killed processes of this machine left half-written of ``path``."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{_HOST}.*.tmp"):
        process = int(left.name.split(".")[-2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            left.unlink(missing_ok=True)
        except OSError:
            pass  # Another user's, and alive.


def how_to_make_again(path: str | Path) -> str:
    """Return what ends the message about a damaged file: the command that makes it again."""
    command = f"snakemake --cores 2 --force {path}"
    return f"make it again: {command} (with --configfile, where that is not config/config.yaml)"


class DamagedTableError(ValueError):
    """A table is not what the workflow writes."""


class _DeterministicPickler(pickle.Pickler):
    """Pickles tensors through NumPy: pickled storages would carry memory addresses."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file, protocol=PICKLE_PROTOCOL)
        # Without the memo the bytes depend on values alone, not on which equal objects are the same.
        self.fast = True

    def reducer_override(self, obj: Any) -> Any:
        # No tensor is met where nobody imported torch: jobs on arrays start seconds faster without it.
        torch = sys.modules.get("torch")
        if torch and isinstance(obj, torch.Tensor):
            return torch.from_numpy, (obj.detach().cpu().numpy(),)
        if torch and obj is torch.from_numpy:
            # By its name in torch: by its own account it is an attribute of a private class.
            return "from_numpy"
        return NotImplemented


def write_pickle(content: Any, path: str | Path) -> None:
    """Write ``content`` (dicts, lists, numbers, arrays, tensors; nothing that contains itself)."""
    with atomic_write(path) as file:
        _DeterministicPickler(file).dump(content)


def write_checked_pickle(content: Any, path: str | Path) -> None:
    """Write ``content`` as `write_pickle` does, with a checksum at the end for `read_checked_pickle`."""
    buffer = io.BytesIO()
    _DeterministicPickler(buffer).dump(content)
    with atomic_write(path) as file:
        file.write(buffer.getbuffer())
        file.write(hashlib.sha256(buffer.getbuffer()).digest())


def read_checked_pickle(path: str | Path) -> Any:
    """Read what `write_checked_pickle` wrote; `DamagedPickleError` where a single bit of it is another."""
    data = Path(path).read_bytes()
    content, checksum = data[:-32], data[-32:]
    if hashlib.sha256(content).digest() != checksum:
        raise DamagedPickleError("its checksum is wrong")
    return SafeUnpickler(io.BytesIO(content)).load()


def read_pickle(path: str | Path) -> Any:
    """Read a pickle of the cache.

    Raises `DamagedPickleError`, with the command that makes the file again, and `UnsafePickleError` where it
    asks for what is not in a cache.
    """
    try:
        with open(path, "rb") as file:
            return SafeUnpickler(file).load()
    except DamagedPickleError as error:
        raise type(error)(f"{path}: {error}; {how_to_make_again(path)}") from error


def write_table(table: "pd.DataFrame", path: str | Path) -> None:
    """Write a tidy table as ``.parquet`` or ``.csv``, by the ending of ``path``."""
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
    """Read the ``columns`` (all of them by default) of a ``.parquet`` table.

    Raises `DamagedTableError`, with the command that makes it again, where it is none or lacks a column that is
    asked for or ``needed``.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        table = pd.read_parquet(path, columns=columns)
        # Arrow would keep the memory that it has read into beside the table.
        pa.default_memory_pool().release_unused()
        if missing := [column for column in needed or [] if column not in table]:
            raise KeyError(f"no column {', '.join(missing)}")
        return table
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        what = next(iter(str(error).splitlines()), type(error).__name__)
        raise DamagedTableError(
            f"{path} is damaged, or was made by another version ({what}); {how_to_make_again(path)}"
        ) from error


def write_figure(figure: Any, path: str | Path) -> None:
    """Write a matplotlib figure as ``.pdf`` or ``.png``, by the ending of ``path``, without a date."""
    suffix = Path(path).suffix[1:]
    metadata = {"CreationDate": None} if suffix == "pdf" else None
    # To memory first: what matplotlib does with a file that cannot be written hides why.
    drawn = io.BytesIO()
    figure.savefig(drawn, format=suffix, metadata=metadata)
    with atomic_write(path) as file:
        file.write(drawn.getbuffer())
