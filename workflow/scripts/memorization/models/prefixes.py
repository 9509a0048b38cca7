"""The distinct prefixes of bit sequences: all that a causal model has to compute.

A causal model predicts bit i + 1 from the bits 0 … i. Sequences that begin with the same i + 1 bits share this
prediction and its gradient. Copies of a sequence share all of them, and a batch drawn from a Zipf distribution has
many copies; most sequences share the first few. Each distinct prefix is therefore computed once and counts as
often as it occurs. In exact arithmetic the result is the same.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch


class PrefixBlock(NamedTuple):
    """The prefixes that end at the positions ``first`` … ``end`` − 1, one row each."""

    first: int
    end: int
    sizes: list[int]
    """The number of rows for each (position, last bit): 2 (end − first) integers."""
    one_hot: torch.Tensor
    """The bits of each row as pairs (1 if the bit is 0, 1 if it is 1), (rows, 2 end).

    The bits after the prefix are those of one of its sequences. They must not matter.
    """
    counts: torch.Tensor
    """In how many sequences a 0 follows the prefix, and in how many a 1, (2, rows)."""


class Prefixes:
    """The distinct prefixes of 1 … L − 1 bits of B sequences, one row each.

    The rows are ordered by the position and the value of the last bit of the prefix.
    """

    def __init__(self, sequences: torch.Tensor, dtype: torch.dtype):
        """Find the prefixes of ``sequences`` (B, L) of 0/1, on the CPU.

        One-hot bits and counts get the type ``dtype``.
        """
        bits = sequences.numpy().astype(np.uint8)
        # In lexicographic order, sequences that share a prefix are neighbours.
        self._order = np.lexsort(np.packbits(bits, axis=1).T[::-1])
        bits = np.ascontiguousarray(bits[self._order].T)  # (L, B)
        known, following = bits[:-1], bits[1:]  # (T, B) each, T = L − 1
        differs = np.ones(known.shape, dtype=bool)  # whether the prefix is not that of the sequence before
        np.logical_or.accumulate(known[:, 1:] != known[:, :-1], axis=0, out=differs[:, 1:])
        # The prefixes are numbered by position and sequence. The neighbours that share one follow its ``begins``.
        self._number = np.cumsum(differs).reshape(differs.shape) - 1  # (T, B)
        begins = np.flatnonzero(differs)
        positions, holders = np.divmod(begins, known.shape[1])
        queries = 2 * positions + known.ravel()[begins]
        self._sizes = np.bincount(queries, minlength=2 * len(known))
        # For each row the number of its prefix, and a sequence that begins with it.
        self._rows = torch.from_numpy(np.argsort(queries, kind="stable"))
        self._holders = torch.from_numpy(holders)[self._rows]
        ones = np.add.reduceat(following.ravel(), begins, dtype=np.int64)
        zeros = np.diff(begins, append=following.size) - ones
        counts = torch.from_numpy(np.stack([zeros, ones])).to(dtype)
        self._counts = counts.index_select(1, self._rows)  # (2, rows)
        pairs = np.stack([1 - known, known], axis=1).reshape(-1, known.shape[1]).T
        self._one_hot = torch.from_numpy(np.ascontiguousarray(pairs)).to(dtype)  # (B, 2T)

    @property
    def num_sequences(self) -> int:
        """The number of prefixes of L − 1 bits; there are not more of any other length."""
        return int(self._sizes[-2:].sum())

    @property
    def num_positions(self) -> int:
        """The number T = L − 1 of positions at which a prefix ends."""
        return len(self._sizes) // 2

    def blocks(self, num_positions: int) -> Iterator[PrefixBlock]:
        """Yield the prefixes, those of ``num_positions`` positions at a time."""
        start = 0
        for first in range(0, self.num_positions, num_positions):
            sizes = self._sizes[2 * first : 2 * (first + num_positions)].tolist()
            end = first + len(sizes) // 2
            rows = slice(start, start + sum(sizes))
            one_hot = self._one_hot[:, : 2 * end].index_select(0, self._holders[rows])
            yield PrefixBlock(first, end, sizes, one_hot, self._counts[:, rows])
            start = rows.stop

    def of_each_sequence(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values of all prefixes of each sequence, (B, L − 1).

        ``values`` (rows,) are those of the rows, in the order of `blocks`.
        """
        by_number = torch.empty_like(values)
        by_number[self._rows] = values
        ordered = by_number[torch.from_numpy(self._number)]  # (T, B)
        result = torch.empty_like(ordered)
        result[:, torch.from_numpy(self._order)] = ordered
        return result.T


def tested_prefixes(sequences: torch.Tensor, dtype: torch.dtype) -> Prefixes:
    """Return the `Prefixes` of ``sequences`` (B, L) of 0/1 that are tested.

    Each epoch tests the same sequences as the one before. Their prefixes are found once and kept, those of the
    last 16 calls.
    """
    bits = sequences.numpy().astype(np.uint8)
    return _prefixes_of_bytes(bits.tobytes(), bits.shape, dtype)


@lru_cache(maxsize=16)
def _prefixes_of_bytes(bits: bytes, shape: tuple[int, int], dtype: torch.dtype) -> Prefixes:
    return Prefixes(torch.frombuffer(bytearray(bits), dtype=torch.uint8).view(shape), dtype)
