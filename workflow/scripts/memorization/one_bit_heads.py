"""Heads of the DAM that read one bit each: which bits, and how well they retrieve.

The equations are in docs/models.md, sections "The dense associative memory" and "Retrieval without training".
"""

import math

import numpy as np


def one_bit_positions(N: int, H: int) -> np.ndarray:
    """Return the bit i(h) = ⌊h N / H⌋ that each head of a DAM reads if its heads read one bit, (H,)."""
    return np.arange(H) * N // H


def one_bit_retrieval(N: int, H: int, num_stored: float) -> np.ndarray:
    """Return the probability that a DAM whose heads read one bit each retrieves the right sequence, (N,).

    For n = 0 … N−1 revealed bits of a sequence that is stored; the equation of "Retrieval without training". It
    is the limit of a large η, and leaves out how often each sequence is stored. Nothing is fitted. If another
    sequence is retrieved, the next bit is right by chance, so this is the recall.

    Args:
        N: the length of a sequence.
        H: the number of heads, at most N; head h reads bit `one_bit_positions` (h).
        num_stored: how many distinct sequences are stored.
    """
    recall = np.zeros(N)
    for n in range(1, N):
        revealed = int((one_bit_positions(N, H) < n).sum())
        hidden = H - revealed
        # The mean m of the revealed bits, the mismatches j of a rival, and the sums S_0 and S of the hidden bits
        # of the sequence itself and of the rival.
        m, of_m = _mean_of_bits(n, n)
        mismatches, of_mismatches = np.arange(revealed + 1), _of_ones(revealed)
        hidden_sum, of_hidden_sum = _mean_of_bits(hidden, 1)
        lead = (
            m[:, None, None, None] * (hidden_sum[None, None, None, :] - hidden_sum[None, :, None, None])
            - 2 * mismatches[None, None, :, None]
        )
        ahead = np.where(np.abs(lead) < 1e-9, 0.5, lead > 0)
        rival_wins = np.einsum("msjt,j,t->ms", ahead, of_mismatches, of_hidden_sum)
        recall[n] = of_m @ (1 - rival_wins) ** (num_stored - 1) @ of_hidden_sum
    return recall


def _mean_of_bits(n: int, divisor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the sum of n random bits ±1, divided by ``divisor``, and their probabilities."""
    ones = np.arange(n + 1)
    return (2 * ones - n) / divisor, _of_ones(n)


def _of_ones(n: int) -> np.ndarray:
    """Return the probability that 0 … n of n random bits are 1, (n + 1,)."""
    return np.array([math.comb(n, ones) / 2**n for ones in range(n + 1)])
