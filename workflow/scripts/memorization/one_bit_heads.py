"""Heads of the DAM that read one bit each: which bits, and how well they retrieve.

The equations are in docs/models.md, sections "The dense associative memory" and "Retrieval without training".
"""

import math
from functools import cache

import numpy as np


def one_bit_positions(N: int, H: int) -> np.ndarray:
    """Return the bit i(h) = ⌊h N / H⌋ that each of the heads reads, (H,)."""
    return np.arange(H) * N // H


@cache
def one_bit_retrieval(N: int, H: int, num_stored: int) -> np.ndarray:
    """Return the recall of a stored sequence by heads that read one bit each, (N,).

    For n = 0 … N−1 revealed bits; the equations of "Retrieval without training". It is the limit of a large η, in
    which the largest score decides, and leaves out how often each sequence is stored. Nothing is fitted. Recall is
    2 · accuracy − 1.

    Args:
        N: the length of a sequence.
        H: the number of heads, at most N; head h reads bit `one_bit_positions` (h).
        num_stored: how many distinct sequences are stored, 1 or more.
    """
    recall = np.empty(N)
    positions = one_bit_positions(N, H)
    # As many angles as the polynomial in cos θ has a degree: the mean over them is then the exact integral.
    cosine = np.cos((np.arange(num_stored) + 0.5) * np.pi / num_stored)
    for n in range(N):
        revealed = int((positions < n).sum())
        mean, of_mean = _sum_of_bits(n)
        own, of_own = _sum_of_bits(H - revealed)
        behind, tied = _rivals(mean / max(n, 1), own, revealed)
        of_angle = (behind[..., None] + tied[..., None] * cosine) ** (num_stored - 1) * (1 + cosine)
        recall[n] = of_mean @ of_angle.mean(axis=-1) @ of_own
    return recall


def _rivals(mean: np.ndarray, own: np.ndarray, revealed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities that a rival is behind the right sequence, and tied.

    These compare their scores. Both are (means, sums): for each ``mean`` of the revealed bits, and each sum
    ``own`` of the bits of the right sequence that are read but not revealed. Of the bits that are read,
    ``revealed`` are revealed.
    """
    mismatches, of_mismatches = np.arange(revealed + 1), _of_ones(revealed)
    others, of_others = _sum_of_bits(len(own) - 1)
    gain = mean[:, None, None, None] * (others - own[:, None, None])  # (means, own, 1, others)
    lead = 2 * mismatches[:, None] - gain
    # Means are fractions: what differs by rounding is equal.
    tied = np.abs(lead) < 1e-9
    return tuple(cases @ of_others @ of_mismatches for cases in ((lead > 0) & ~tied, tied))


def _sum_of_bits(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the sum of n random bits ±1, and their probabilities."""
    return 2 * np.arange(n + 1) - n, _of_ones(n)


def _of_ones(n: int) -> np.ndarray:
    """Return the probability that 0 … n of n random bits are 1, (n + 1,)."""
    return np.array([math.comb(n, ones) / 2**n for ones in range(n + 1)])
