"""The queue of stored sequences, kept as identities and counts of the distinct ones.

The memory of the notes holds M sequences of which few are distinct (M ≫ K). What is retrieved depends on
the distinct sequences and how often each is stored; the order matters only for what leaves next. Both are
kept here, so that an iteration costs the same whatever M.
"""

import numpy as np


class QueueMemory:
    """A first-in-first-out queue of at most ``capacity`` sequences."""

    def __init__(self, sequences: np.ndarray, capacity: int):
        """Make an empty queue for the rows of ``sequences`` (T, N), known by their row number.

        Equal rows count as one sequence.
        """
        self.distinct, self._identity = np.unique(sequences, axis=0, return_inverse=True)
        self.counts = np.zeros(len(self.distinct), dtype=np.int64)
        self._ring = np.zeros(capacity, dtype=np.int64)
        self._first = 0
        self.size = 0

    def append(self, rows: np.ndarray) -> None:
        """Append the sequences of ``rows`` (B,) in order; what exceeds the capacity leaves at the front."""
        capacity = len(self._ring)
        entering = rows[-capacity:]
        leaving = self._ring[self._places(max(0, self.size + len(entering) - capacity))]
        self._first = (self._first + len(leaving)) % capacity
        self.size -= len(leaving)
        end = self._first + self.size
        self._ring[np.arange(end, end + len(entering)) % capacity] = entering
        self.size += len(entering)
        np.add.at(self.counts, self._identity[entering], 1)
        np.subtract.at(self.counts, self._identity[leaving], 1)

    def clear(self) -> None:
        """Forget everything."""
        self.counts[:] = 0
        self._first = self.size = 0

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct sequences that are stored, (D, N), and how often each is, (D,)."""
        present = np.flatnonzero(self.counts)
        return self.distinct[present], self.counts[present]

    def rows(self) -> np.ndarray:
        """Return the row numbers of what is stored, the first in line first, (size,)."""
        return self._ring[self._places(self.size)]

    def matrix(self) -> np.ndarray:
        """Return the queue as the M × N matrix of the notes, the first in line first, zeros where empty."""
        matrix = np.zeros((len(self._ring), self.distinct.shape[1]), dtype=self.distinct.dtype)
        matrix[: self.size] = self.distinct[self._identity[self.rows()]]
        return matrix

    def _places(self, number: int) -> np.ndarray:
        """Return where in the ring the first ``number`` of the queue are."""
        return (self._first + np.arange(number)) % len(self._ring)


def distinct_rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows of a memory without its empty part, (D, N), and how often each is there."""
    return np.unique(matrix, axis=0, return_counts=True)
