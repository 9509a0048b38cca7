"""Sets, batches, initial weights and held-out sequences: independent streams of one seed."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import resolved_settings

from memorization.models.learners import build_learner
from memorization.sequences import (
    Stream,
    cumulative_probabilities,
    generate_held_out_sequences,
    generate_sequence_set,
    random_generator,
    rank_probabilities,
    sample_batch_ranks,
)

SEEDS = (0, 1, 2)


def draw_held_out(seed, number, len_context, sets=None):
    """Held-out sequences; without ``sets`` the stream as it is, but for sequences of zeros only."""
    return generate_held_out_sequences(
        seed, number, len_context, sets or [np.zeros((1, len_context), dtype=np.int64)]
    )


def draw_initial_weights(seed):
    """All initial weights of a model, one after the other."""
    settings = resolved_settings(seed=seed, num_heads=8, num_hidden_features=8)
    state = build_learner(SimpleNamespace(**settings), []).state_dict()
    weights = [state[name].flatten() for name in state if name.endswith("weight") and name != "ln_f.weight"]
    return torch.cat(weights).numpy()


def draw_sequences(seed, number, len_context):
    """The sequences of each stream that has some, none kept apart from the others."""
    sets = {f"set {s}": generate_sequence_set(seed, s, number, len_context) for s in range(3)}
    return sets | {"held out": draw_held_out(seed, number, len_context)}


def draw_bits(seed, number):
    """As many random bits of each stream, by the functions that training and evaluation call."""
    cumulative = cumulative_probabilities(rank_probabilities(2, 0.0))  # ranks that are fair bits
    bits = {name: rows.ravel() for name, rows in draw_sequences(seed, number // 20, 20).items()}
    bits |= {f"batch {i}": sample_batch_ranks(cumulative, number, seed, i) for i in range(3)}
    return bits | {"weights": (draw_initial_weights(seed)[:number] > 0).astype(int)}


def as_rows(sequences):
    return {tuple(row) for row in sequences.tolist()}


def num_equal_pairs(one, other):
    return sum(int((other == row).all(axis=1).sum()) for row in one)


@pytest.mark.parametrize("seed", SEEDS)
def test_sets_and_held_out_sequences_of_a_seed_share_rows_as_often_as_by_chance(seed):
    number, len_context = 500, 12
    probability = 2.0**-len_context
    # Pairs of rows of two independent sets are equal independently of each other, two at a time.
    expected = number**2 * probability
    std = (expected * (1 - probability)) ** 0.5
    for (name, one), (other_name, other) in combinations(draw_sequences(seed, number, len_context).items(), 2):
        assert abs(num_equal_pairs(one, other) - expected) < 5 * std, (name, other_name)


def test_long_sequences_are_in_one_stream_of_one_seed_only():
    drawn = {(seed, name): rows for seed in SEEDS for name, rows in draw_sequences(seed, 300, 60).items()}
    # 2^60 sequences: that two of all these are equal by chance has a probability of 1e-11.
    assert len(set.union(*map(as_rows, drawn.values()))) == 300 * len(drawn)


def test_bits_of_any_two_streams_and_seeds_are_uncorrelated():
    number = 12_000
    bits = {(seed, name): drawn for seed in SEEDS for name, drawn in draw_bits(seed, number).items()}
    assert {len(drawn) for drawn in bits.values()} == {number}
    correlation = np.corrcoef(list(bits.values()))
    off_diagonal = correlation[np.triu_indices(len(bits), 1)]
    # Five standard errors for each pair, and the spread of all pairs that of independent bits.
    assert np.abs(off_diagonal).max() < 5 / number**0.5
    assert off_diagonal.std() == pytest.approx(number**-0.5, rel=0.2)


def test_no_two_generators_of_any_seed_stream_and_index_give_the_same_number():
    keys = [(Stream.SEQUENCES, 0), (Stream.SEQUENCES, 1), (Stream.BATCHES, 0), (Stream.BATCHES, 1)]
    keys += [(Stream.INITIALISATION,), (Stream.HELD_OUT,)]
    raw = [random_generator(seed, *key).bit_generator.random_raw(500) for seed in SEEDS for key in keys]
    assert len(np.unique(np.concatenate(raw))) == 500 * len(raw)


@pytest.mark.parametrize("stream", ["sequences", "held out", "batches", "weights"])
def test_a_stream_is_the_same_for_the_same_seed_and_another_for_another_seed(stream):
    cumulative = cumulative_probabilities(rank_probabilities(1000, 1.0))
    draw = {
        "sequences": lambda seed: generate_sequence_set(seed, 0, 20, 30),
        "held out": lambda seed: draw_held_out(seed, 20, 30),
        "batches": lambda seed: sample_batch_ranks(cumulative, 100, seed, 0),
        "weights": draw_initial_weights,
    }[stream]
    for seed in SEEDS:
        assert np.array_equal(draw(seed), draw(seed))
    for seed, other in combinations(SEEDS, 2):
        assert not np.array_equal(draw(seed), draw(other))


def test_no_stream_depends_on_the_state_of_the_global_generators():
    def draw_after(state):
        # The state of the old generator of NumPy is what is tested.
        np.random.seed(state)
        torch.manual_seed(state)
        return draw_bits(0, 1000) | {"exact weights": draw_initial_weights(0)}

    one, other = draw_after(0), draw_after(1)
    for name, drawn in one.items():
        assert np.array_equal(drawn, other[name]), name


def test_initial_weights_depend_on_neither_the_sequences_nor_the_batches():
    def initial_state(**changed):
        return build_learner(SimpleNamespace(**resolved_settings(**changed)), []).state_dict()

    state = initial_state()
    for changed in ({"K": 300}, {"num_switches": 3}, {"batch_size": 5}, {"zipf_exponent": 2.0}):
        assert all(torch.equal(value, state[name]) for name, value in initial_state(**changed).items()), changed


def test_held_out_sequences_do_not_change_with_the_sets_where_none_is_rejected():
    expected = draw_held_out(0, 100, 60)
    for K, num_sets in ((1, 1), (50, 1), (200, 1), (50, 3), (200, 3)):
        sets = [generate_sequence_set(0, s, K, 60) for s in range(num_sets)]
        assert np.array_equal(draw_held_out(0, 100, 60, sets), expected), (K, num_sets)


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_sequences_change_with_the_sets_by_rejected_ones_only(seed):
    number, len_context = 100, 10
    variants = [
        [generate_sequence_set(seed, s, K, len_context) for s in range(num_sets)]
        for K, num_sets in ((50, 1), (200, 1), (50, 3), (200, 3))
    ]
    num_rejected = 0
    for one, other in combinations(variants, 2):
        trained = as_rows(np.concatenate(one + other))
        # What both sets of sets allow is in the same order in both: that of the stream.
        kept = [
            [row for row in draw_held_out(seed, number, len_context, sets).tolist() if tuple(row) not in trained]
            for sets in (one, other)
        ]
        num_kept = min(map(len, kept))
        assert num_kept > number / 3
        assert kept[0][:num_kept] == kept[1][:num_kept]
        num_rejected += number - num_kept
    assert num_rejected > 0
