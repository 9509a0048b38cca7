"""The closed form of the retrieval by heads that read one bit, against enumeration and untrained DAMs."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from test_dam import dam_settings

from memorization.models.learners import build_learner
from memorization.one_bit_heads import one_bit_positions, one_bit_retrieval
from memorization.sequences import generate_sequence_set


def recall_by_the_largest_score(stored, n, positions):
    """The recall of bit n of the first stored sequence, by the majority of those with the largest score."""
    own = stored[0]
    query = [own[i] if i < n else np.mean(own[:n]) for i in positions]
    scores = [sum(q * chi[i] for q, i in zip(query, positions, strict=True)) for chi in stored]
    bits = sum(chi[n] for chi, score in zip(stored, scores, strict=True) if score > max(scores) - 1e-9)
    return np.sign(bits) * own[n]


@pytest.mark.parametrize("num_stored", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 3])
def test_recall_is_that_of_all_possible_sequences_if_no_head_reads_the_next_bit(num_stored, n):
    sequences = list(product([-1, 1], repeat=4))
    exact = np.mean(
        [recall_by_the_largest_score(stored, n, (0, 2)) for stored in product(sequences, repeat=num_stored)]
    )
    assert one_bit_positions(4, 2).tolist() == [0, 2]
    assert one_bit_retrieval(4, 2, num_stored)[n] == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("H", [3, 6, 12, 24])
def test_recall_is_that_of_untrained_models(H):
    N, K, num_seeds = 24, 30, 30
    args = dam_settings(
        N=N, H=H, K=K, M=K, eta=30.0, num_switches=0, initial_heads="one_bit", A_and_B_trainable=False
    )
    of_seeds = []
    for seed in range(num_seeds):
        sequences = generate_sequence_set(seed, 0, K, N)
        learner = build_learner(SimpleNamespace(**args), [sequences])
        learner.append(np.arange(K))
        of_seeds.append(2 * learner.evaluate(sequences)[1].mean(axis=0) - 1)
    error = np.abs(np.mean(of_seeds, axis=0) - one_bit_retrieval(N, H, K))
    # Four standard errors, and 0.05 for the next bit, which is no coin if a head reads it.
    assert np.all(error < 4 * np.std(of_seeds, axis=0) / num_seeds**0.5 + 0.05)
    assert abs(np.mean(of_seeds) - one_bit_retrieval(N, H, K).mean()) < 0.02


def test_more_heads_recall_more_and_more_sequences_less():
    means = np.array([[one_bit_retrieval(32, H, D).mean() for D in (20, 100, 500)] for H in (2, 8, 32)])
    assert (np.diff(means, axis=0) > 0).all() and (np.diff(means, axis=1) < 0).all()
