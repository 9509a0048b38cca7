"""Random binary sequences and the batches drawn from them.

All are pure functions of the run's seed.
"""

from enum import IntEnum

import numpy as np

# The number of the held-out sequences, which are no set.
HELD_OUT = -1
_HELD_OUT_ROUNDS = 100


class Stream(IntEnum):
    """The independent streams of random numbers that one seed gives."""

    SEQUENCES = 0
    BATCHES = 1
    INITIALISATION = 2
    HELD_OUT = 3


def random_generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of one stream of ``seed``, at ``index``.

    The index is a set number or an iteration.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, *index)))


def generate_sequence_set(seed: int, sequence_set: int, K: int, len_context: int) -> np.ndarray:
    """Draw one sequence set: every bit uniform and independent.

    Returns an int8 array (K, len_context) of 0 and 1. Row r is the sequence of rank r.
    """
    return _random_bits(random_generator(seed, Stream.SEQUENCES, sequence_set), K, len_context)


def generate_held_out_sequences(
    seed: int, number: int, len_context: int, sequence_sets: list[np.ndarray]
) -> np.ndarray:
    """Draw ``number`` sequences that are in none of ``sequence_sets``.

    They come from a stream of their own. Returns an int8 array (number, len_context) of 0 and 1. Raises
    ValueError if the sets leave too few of the 2^len_context possible sequences to draw from.
    """
    bits = random_generator(seed, Stream.HELD_OUT)
    trained = np.unique(np.concatenate([packed_bits(sequences) for sequences in sequence_sets]))
    held_out = np.empty((0, len_context), dtype=np.int8)
    for _ in range(_HELD_OUT_ROUNDS):
        drawn = _random_bits(bits, number, len_context)
        held_out = np.concatenate([held_out, drawn[~np.isin(packed_bits(drawn), trained)]])
        if len(held_out) >= number:
            return held_out[:number]
    raise ValueError(
        f"num_held_out: {number} sequences of {len_context} bits that were never trained on are not "
        f"to be found: the sets hold {len(trained)} of the {2**len_context} possible ones"
    )


def _random_bits(generator: np.random.Generator, number: int, len_context: int) -> np.ndarray:
    """Draw uniform bits, (number, len_context).

    They take a byte each, because a set can have millions of sequences.
    """
    return generator.integers(0, 2, size=(number, len_context), dtype=np.uint8).view(np.int8)


def packed_bits(sequences: np.ndarray) -> np.ndarray:
    """Return one comparable value for each sequence, (K,): its bits packed into bytes.

    The order of the values is the lexicographic order of the sequences (K, L) of 0/1.
    """
    packed = np.packbits(sequences, axis=1)
    return np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()


def rank_probabilities(K: int, zipf_exponent: float) -> np.ndarray:
    """Return p_r ∝ (r + 1)^-zipf_exponent for the ranks r = 0 … K−1, (K,).

    Exponent 0 is uniform.
    """
    weights = np.arange(1, K + 1, dtype=np.float64) ** -zipf_exponent
    return weights / weights.sum()


def cumulative_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the cumulative distribution (K,) that `sample_batch_ranks` inverts.

    It ends in exactly 1.
    """
    cumulative = np.cumsum(probabilities)
    return cumulative / cumulative[-1]


def sample_batch_ranks(cumulative: np.ndarray, batch_size: int, seed: int, iteration: int) -> np.ndarray:
    """Draw the ranks (batch_size,) of one batch, i.i.d. with replacement.

    A pure function of (seed, iteration), so that training can be continued anywhere with no generator
    state; O(batch_size · log K), by inversion of the cumulative distribution.
    """
    uniform = random_generator(seed, Stream.BATCHES, iteration).random(batch_size)
    return np.searchsorted(cumulative, uniform, side="right")


def sample_ranks(cumulative: np.ndarray, batch_size: int, seed: int, iterations: range) -> np.ndarray:
    """Draw the ranks of the batches of some iterations, in order.

    Returns (len(iterations) · batch_size,) integers. See `sample_batch_ranks`.
    """
    batches = [sample_batch_ranks(cumulative, batch_size, seed, iteration) for iteration in iterations]
    return np.concatenate([np.empty(0, dtype=np.int64), *batches])
