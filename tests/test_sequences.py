"""Sequences and batches: distributions, independence, purity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memorization.sequences import (
    cumulative_probabilities,
    generate_held_out_sequences,
    generate_sequence_set,
    rank_probabilities,
    sample_batch_ranks,
)


@given(
    seed=st.integers(0, 2**31),
    sequence_set=st.integers(0, 50),
    K=st.integers(1, 40),
    len_context=st.integers(2, 40),
)
def test_a_sequence_set_is_a_pure_function_of_its_arguments(seed, sequence_set, K, len_context):
    sequences = generate_sequence_set(seed, sequence_set, K, len_context)
    assert sequences.shape == (K, len_context)
    assert sequences.dtype == np.int8
    assert set(np.unique(sequences)) <= {0, 1}
    assert np.array_equal(sequences, generate_sequence_set(seed, sequence_set, K, len_context))


def test_bits_are_uniform_and_sets_and_seeds_independent():
    sets = [generate_sequence_set(seed, s, 400, 50) for seed in (0, 1) for s in (0, 1, 2)]
    n = 400 * 50
    for i, one in enumerate(sets):
        # Five standard errors of a fair coin.
        assert abs(one.mean() - 0.5) < 5 * 0.5 / n**0.5
        for other in sets[:i]:
            assert abs((one == other).mean() - 0.5) < 5 * 0.5 / n**0.5


def test_held_out_sequences_are_in_no_set_even_where_few_sequences_are_left():
    sets = [generate_sequence_set(0, s, 60, 8) for s in range(2)]
    held_out = generate_held_out_sequences(0, 300, 8, sets)
    assert held_out.shape == (300, 8)
    trained = {tuple(row) for sequences in sets for row in sequences}
    assert not trained & {tuple(row) for row in held_out}


def test_held_out_sequences_that_cannot_be_are_refused():
    every_sequence = np.array([[a, b] for a in (0, 1) for b in (0, 1)])
    with pytest.raises(ValueError, match="num_held_out: 5 sequences of 2 bits"):
        generate_held_out_sequences(0, 5, 2, [every_sequence])


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 2.0])
def test_ranks_are_drawn_with_zipf_probabilities(exponent):
    K, batch_size, iterations = 50, 400, 500
    exact = np.array([(r + 1.0) ** -exponent for r in range(K)])
    exact /= exact.sum()
    cumulative = cumulative_probabilities(rank_probabilities(K, exponent))
    counts = np.zeros(K)
    for iteration in range(iterations):
        for rank in sample_batch_ranks(cumulative, batch_size, seed=7, iteration=iteration):
            counts[rank] += 1
    assert counts.sum() == batch_size * iterations
    assert stats.chisquare(counts, exact * counts.sum()).pvalue > 0.001


def test_a_batch_is_a_pure_function_of_seed_and_iteration():
    cumulative = cumulative_probabilities(rank_probabilities(1000, 1.0))
    batches = {
        (seed, iteration): sample_batch_ranks(cumulative, 64, seed, iteration)
        for seed in (0, 1)
        for iteration in (0, 1, 99)
    }
    for (seed, iteration), batch in reversed(batches.items()):
        assert np.array_equal(batch, sample_batch_ranks(cumulative, 64, seed, iteration))
    assert len({tuple(batch) for batch in batches.values()}) == len(batches)


@given(K=st.integers(1, 10_000), exponent=st.floats(0, 10), seed=st.integers(0, 1000))
def test_every_rank_drawn_is_one_of_the_set(K, exponent, seed):
    cumulative = cumulative_probabilities(rank_probabilities(K, exponent))
    assert cumulative[-1] == 1
    ranks = sample_batch_ranks(cumulative, 100, seed, 0)
    assert ranks.min() >= 0
    assert ranks.max() < K
