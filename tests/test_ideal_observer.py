"""The ideal observer, against a plain loop, closed forms and the entropy of its weights."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.ideal_observer import ideal_predictions, ideal_scores
from memorization.sequences import generate_sequence_set, rank_probabilities


def by_enumeration(known, weights, sequence, smoothing=0.0):
    """Return P(1) for each bit of one sequence by looking at every known sequence."""
    probabilities = []
    for n in range(len(sequence)):
        alike = [r for r in range(len(known)) if list(known[r][:n]) == list(sequence[:n])]
        total = sum(weights[r] for r in alike) + 2 * smoothing
        ones = sum(weights[r] for r in alike if known[r][n] == 1) + smoothing
        probabilities.append(ones / total if total > 0 else 0.5)
    return probabilities


@given(
    K=st.integers(1, 12),
    L=st.integers(1, 20),
    T=st.integers(0, 6),
    smoothing=st.sampled_from([0.0, 0.1, 2.0]),
    seed=st.integers(0, 10_000),
)
def test_predictions_are_those_of_a_plain_loop(K, L, T, smoothing, seed):
    rng = np.random.default_rng(seed)
    # Few different bits, so that prefixes are shared and sequences are in the set twice.
    known = rng.integers(0, 2, (K, L)) & (rng.random((K, L)) < 0.5)
    tested = np.concatenate([known[rng.integers(0, K, T)], rng.integers(0, 2, (3, L))])
    weights = rng.integers(0, 3, K) * rng.random(K)
    found = np.stack(list(ideal_predictions(known, weights, tested, smoothing)), axis=1)
    expected = [by_enumeration(known, weights, sequence, smoothing) for sequence in tested]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("L", [7, 8, 9, 100])
def test_one_known_sequence_is_predicted_with_certainty(L):
    known = generate_sequence_set(0, 0, 1, L)
    scores = ideal_scores(known, np.ones(1), known, L)
    assert scores.sequence_loss.tolist() == [0.0]
    assert scores.sequence_accuracy.tolist() == [pytest.approx(1)]


def test_two_known_sequences_are_told_apart_by_their_first_different_bit():
    known = np.array([[0, 1, 1, 0, 1], [0, 1, 0, 0, 0]])
    scores = ideal_scores(known, np.array([3.0, 1.0]), known, 5)
    np.testing.assert_allclose(5 * scores.sequence_loss, [math.log(4 / 3), math.log(4)])
    np.testing.assert_allclose(5 * scores.sequence_accuracy, [5, 4])
    np.testing.assert_allclose(scores.position_accuracy, [1, 1, 0.5, 1, 1])
    equal = ideal_scores(known, np.ones(2), known, 5)
    np.testing.assert_allclose(5 * equal.sequence_accuracy, [4.5, 4.5])


@pytest.mark.parametrize(
    ("K", "L", "zipf_exponent"), [(50, 8, 1.0), (300, 40, 1.0), (2000, 30, 1.0), (2000, 30, 10.0)]
)
def test_the_bits_of_a_set_cost_the_entropy_of_its_weights(K, L, zipf_exponent):
    """The chain rule: the losses of all bits sum to −log of the sequence's own weight."""
    known, p = generate_sequence_set(1, 0, K, L), rank_probabilities(K, zipf_exponent)
    scores = ideal_scores(known, p, known, L)
    _, copy = np.unique(known, axis=0, return_inverse=True)
    of_sequence = np.bincount(copy, weights=p)[copy]
    np.testing.assert_allclose(L * scores.sequence_loss, -np.log(of_sequence), atol=1e-9)


def test_unknown_sequences_are_a_coin_once_their_beginning_is():
    known, unknown = generate_sequence_set(0, 0, 100, 40), generate_sequence_set(0, 1, 1000, 40)
    predictions = list(ideal_predictions(known, np.ones(100), unknown))
    assert np.mean(predictions[30] == 0.5) == 1
    assert np.mean(predictions[3] == 0.5) < 0.1


def test_only_the_predicted_bits_count():
    known, p = generate_sequence_set(2, 0, 30, 12), rank_probabilities(30, 1.0)
    whole, without_first = ideal_scores(known, p, known, 12), ideal_scores(known, p, known, 11)
    np.testing.assert_array_equal(without_first.position_loss, whole.position_loss[1:])
    np.testing.assert_allclose(without_first.sequence_accuracy.mean(), whole.position_accuracy[1:].mean())


def test_sequences_of_no_weight_are_unknown():
    known = generate_sequence_set(3, 0, 20, 15)
    weights = np.arange(20) % 2
    for with_all, with_some in zip(
        ideal_predictions(known, weights, known), ideal_predictions(known[1::2], np.ones(10), known), strict=True
    ):
        np.testing.assert_array_equal(with_all, with_some)
