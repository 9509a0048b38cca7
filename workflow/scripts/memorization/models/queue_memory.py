"""The queue of the dense associative memory.

The queue holds M sequences of which few are distinct (M ≫ K). A prediction depends on the distinct sequences
and the number of copies of each; the order decides only which sequence leaves next. The queue therefore keeps
these counts beside the row numbers in order, and the time of an iteration does not grow with M. See
docs/models.md, section "The dense associative memory", "The queue".
"""

import numpy as np


class QueueMemory:
    """A first-in-first-out queue of at most ``capacity`` sequences."""

    def __init__(self, sequences: np.ndarray, capacity: int):
        """Make an empty queue for the rows of ``sequences`` (T, N) of ±1.

        A sequence is named by its row number. Equal rows count as one distinct sequence.
        """
        _, first, self._identity = np.unique(_packed(sequences), return_index=True, return_inverse=True)
        self.distinct = sequences[first]
        self.counts = np.zeros(len(self.distinct), dtype=np.int64)
        self._ring = np.zeros(capacity, dtype=np.int64)
        self._first = 0
        self.size = 0

    def append(self, rows: np.ndarray) -> None:
        """Append the sequences with the row numbers ``rows`` (B,), in order.

        Sequences beyond the capacity leave at the front.
        """
        capacity = len(self._ring)
        entering = rows[-capacity:]
        places = (self._first + self.size + np.arange(len(entering))) % capacity
        num_leaving = max(0, self.size + len(entering) - capacity)
        # Of the places that are written, the last ones are those of the sequences that leave.
        leaving = self._ring[places[len(entering) - num_leaving :]]
        self._ring[places] = entering
        self._first = (self._first + num_leaving) % capacity
        self.size += len(entering) - num_leaving
        np.add.at(self.counts, self._identity[entering], 1)
        np.subtract.at(self.counts, self._identity[leaving], 1)

    def clear(self) -> None:
        """Remove all sequences."""
        self.counts[:] = 0
        self._first = self.size = 0

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the distinct stored sequences (D, N) and their numbers of copies (D,)."""
        present = np.flatnonzero(self.counts)
        return self.distinct[present], self.counts[present]

    def rows(self) -> np.ndarray:
        """Return the row numbers (size,) of the stored sequences, the next to leave first."""
        return self._ring[self._places(self.size)]

    def matrix(self) -> np.ndarray:
        """Return the queue as a matrix (M, N), the next to leave first.

        Rows beyond the stored sequences are 0.
        """
        matrix = np.zeros((len(self._ring), self.distinct.shape[1]), dtype=self.distinct.dtype)
        matrix[: self.size] = self.distinct[self._identity[self.rows()]]
        return matrix

    def _places(self, number: int) -> np.ndarray:
        """Return the indices in the ring of the ``number`` sequences that leave next."""
        return (self._first + np.arange(number)) % len(self._ring)


def distinct_rows(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows (D, N) of a matrix of ±1, and their numbers (D,).

    They are in lexicographic order.
    """
    _, first, counts = np.unique(_packed(matrix), return_index=True, return_counts=True)
    return matrix[first], counts


def _packed(matrix: np.ndarray) -> np.ndarray:
    """Return one value for each row of a matrix of ±1: its bits packed into bytes.

    They are sorted like the rows, in a tenth of the time.
    """
    packed = np.packbits(matrix > 0, axis=1)
    return packed.view(f"V{packed.shape[1]}").ravel()
