"""What the queue holds and what can be retrieved, against simulated draws, queues and memories of a DAM."""

import math
from collections import deque
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import NUM_HELD_OUT
from test_dam import dam_settings, drawn, train_dam

from memorization.ideal_observer import ideal_scores
from memorization.models.learners import build_learner
from memorization.models.queue_memory import QueueMemory
from memorization.sequences import generate_sequence_set, rank_probabilities
from memorization.tables import aggregation
from memorization.tables.theory import (
    draws_in_queue,
    occupancy,
    queue_counts,
    queue_half_life,
    queue_ideal_recall,
    queue_occupancy,
)
from memorization.training.evaluation import evaluate_run


def test_occupancy_is_the_frequency_of_being_among_the_last_m_drawn():
    probabilities, M, trials = rank_probabilities(20, 1.0), 15, 20_000
    rng = np.random.default_rng(0)
    draws = rng.choice(20, size=(trials, M), p=probabilities)
    measured = np.array([(draws == rank).any(axis=1).mean() for rank in range(20)])
    expected = occupancy(probabilities, M)
    # Five standard errors.
    assert np.all(np.abs(measured - expected) < 5 * np.sqrt(expected * (1 - expected) / trials) + 1e-9)


def test_occupancy_of_no_draws_is_none_and_of_a_certain_sequence_one():
    assert occupancy(rank_probabilities(5, 1.0), 0).tolist() == [0] * 5
    assert occupancy(np.array([1.0]), 3).tolist() == [1.0]


@pytest.mark.parametrize("M", [1, 37, 100, 1000])
@pytest.mark.parametrize("clear", [False, True])
def test_draws_in_the_queue_are_a_recount_of_the_batches(M, clear):
    args = dam_settings(M=M, num_switches=2, clear_memory_at_switch=clear)
    per_set = args["num_iters_per_set"]
    for iteration in (0, 1, per_set - 1, per_set, per_set + 1, 2 * per_set, 3 * per_set):
        current = (max(iteration, 1) - 1) // per_set
        history = [
            identity
            for s in range(current + 1)
            if not clear or s == current
            for identity in drawn(args, range(s * per_set, min((s + 1) * per_set, iteration)), sequence_set=s)
        ][-M:]
        for sequence_set in range(3):
            expected = sum(s == sequence_set for s, _ in history)
            assert draws_in_queue(args, iteration, sequence_set) == expected


@pytest.mark.parametrize("M", [100, 1000])
@pytest.mark.parametrize(
    "changed",
    [{}, {"clear_memory_at_switch": True}, {"reset_model_at_switch": True}, {"batch_size_after_switch": 3}],
)
def test_draws_in_the_queue_are_what_the_memory_of_a_run_holds(M, changed):
    results, sets = train_dam(M=M, N=20, num_switches=2, num_iters_per_set=10, **changed)
    owner = {tuple(2 * sequence - 1): s for s, sequences in enumerate(sets) for sequence in sequences}
    for switch, state in enumerate([*results["pre_switch_state_dict"], results["model_state_dict"]], start=1):
        stored = [owner[tuple(row)] for row in state["memory"][: state["memory_size"]].tolist()]
        for s in range(3):
            assert draws_in_queue(results["args"], 10 * switch, s) == stored.count(s), (switch, s)


@pytest.mark.parametrize("sequence_set", [0, 1])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"M": 1000},
        {"batch_size_after_switch": 1},
        {"batch_size_after_switch": 1, "M": 400},
        {"zipf_exponent": 0.0},
    ],
)
def test_the_half_life_of_a_queue_is_the_first_draw_after_which_half_of_the_tested_sequences_are_left(
    changed, sequence_set
):
    per_set = 100
    args = dam_settings(M=150, num_iters_per_set=per_set, num_switches=2) | changed
    p, queue = rank_probabilities(args["K"], args["zipf_exponent"])[[0, 3, 17]], deque(maxlen=args["M"])
    for s in range(sequence_set + 1):
        queue.extend([s] * per_set * args["batch_size_after_switch" if s else "batch_size"])
    left = [occupancy(p, queue.count(sequence_set)).mean()]
    while left[-1] > left[0] / 2:
        queue.append(sequence_set + 1)
        left.append(occupancy(p, queue.count(sequence_set)).mean())
    assert queue_half_life(args, sequence_set, np.array([0, 3, 17])) == len(left) - 1
    assert queue_half_life(args | {"clear_memory_at_switch": True}, sequence_set, np.arange(5)) == 0
    assert math.isnan(queue_half_life({"K": 5}, sequence_set, np.arange(5)))


def test_measured_occupancy_of_a_dam_is_the_formula_over_seeds():
    stored, expected = [], None
    for seed in range(60):
        args = dam_settings(seed=seed)
        sequences = generate_sequence_set(seed, 0, args["K"], args["N"])
        learner = build_learner(SimpleNamespace(**args), [sequences])
        for iteration in range(10):
            learner.append(np.array([rank for _, rank in drawn(args, [iteration])]))
        memory = {tuple(row) for row in learner.state_dict()["memory"].tolist()}
        stored.append([tuple(2 * sequence - 1) in memory for sequence in sequences])
        expected = queue_occupancy(args, 10, 0)
    error = np.abs(np.mean(stored, axis=0) - expected)
    assert np.all(error < 5 * np.sqrt(expected * (1 - expected) / 60) + 1e-3)


def test_tables_have_occupancy_beside_what_was_measured():
    results, sets = train_dam(M=100)
    args = results["args"]
    evaluation = evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
    table = aggregation.aggregate("occupancy", [evaluation], [{}], [args])
    before = table[(table["weights"] == "pre_switch_1") & (table["sequence_set"] == 0)]
    p = rank_probabilities(30, 1.0)
    np.testing.assert_allclose(before["occupancy"], 1 - (1 - p) ** 100)
    final = table[(table["weights"] == "final") & (table["sequence_set"] == 0)]
    np.testing.assert_array_equal(final["occupancy"], np.zeros(30))
    row = before.iloc[7]
    measured = evaluation[(evaluation["weights"] == "pre_switch_1") & (evaluation["sequence_set"] == 0)]
    assert row["accuracy_mean"] == pytest.approx(measured["accuracy"].iloc[7])


def test_forgetting_counts_from_the_switch_with_the_occupancy_of_what_is_left():
    args = dam_settings(M=100, batch_size=8, K=4)
    epochs = pd.DataFrame(
        {
            "iter": [10, 20, 30, 30, 40],
            "sequence_set": [0, 0, 0, 1, 0],
            "sequence_rank": [3, 3, 3, 3, 3],
            "loss": [0.1, 0.2, 0.3, 0.4, 0.5],
            "accuracy": [0.9, 0.8, 0.7, 0.6, 0.5],
            "ideal_loss": 0.1,
            "ideal_accuracy": 0.9,
        }
    )
    table = aggregation.aggregate("forgetting", [epochs], [{}], [args])
    assert table["iters_since_switch"].tolist() == [0, 10, 20]
    assert table["accuracy_mean"].tolist() == [0.8, 0.7, 0.5]
    p = rank_probabilities(4, 1.0)[3]
    np.testing.assert_allclose(table["occupancy_mean"], [1 - (1 - p) ** n for n in (100, 20, 0)], atol=1e-12)
    assert table["draws_since_switch"].tolist() == [0, 80, 160]


@pytest.mark.parametrize("M", [5, 40, 1000])
@pytest.mark.parametrize("changed", [{}, {"clear_memory_at_switch": True}, {"reset_model_at_switch": True}])
def test_counts_of_the_queue_are_those_of_the_queue_of_a_training(M, changed):
    args = dam_settings(M=M, num_switches=2, num_iters_per_set=10, **changed)
    sets = [generate_sequence_set(args["seed"], s, args["K"], args["N"]) for s in range(3)]
    queue = QueueMemory(2 * np.concatenate(sets) - 1, M)
    iterations = np.arange(31)
    for iteration, counts in zip(iterations, queue_counts(args, iterations), strict=True):
        if iteration > 0:
            current = (iteration - 1) // 10
            if changed and (iteration - 1) % 10 == 0:
                queue.clear()
            rows = [s * args["K"] + rank for s, rank in drawn(args, [int(iteration) - 1], current)]
            queue.append(np.array(rows))
        expected = np.bincount(queue.rows(), minlength=3 * args["K"])
        np.testing.assert_array_equal(counts.ravel(), expected)


def test_the_best_retrieval_from_the_queue_is_the_ideal_observer_with_its_counts(monkeypatch):
    args = dam_settings(M=40, num_iters_per_set=10)
    sets = [generate_sequence_set(args["seed"], s, args["K"], args["N"]) for s in range(2)]
    # Few observers at a time.
    monkeypatch.setattr("memorization.tables.theory._NUM_WEIGHTS", 100)
    iterations, ranks = np.array([10, 13, 17, 0]), np.array([2, 25])
    recall = queue_ideal_recall(args, iterations, ranks)
    for of_moment, counts in zip(recall, queue_counts(args, iterations), strict=True):
        for of_set, sequences in zip(of_moment, sets, strict=True):
            scores = ideal_scores(np.concatenate(sets), counts.ravel(), sequences[ranks], args["N"])
            np.testing.assert_allclose(of_set, 2 * scores.sequence_accuracy - 1, atol=1e-12)
    assert recall[0, 0, 0] > 0.5 > recall[0, 1, 0]
    assert not recall[3].any()
    assert np.isnan(queue_ideal_recall({"K": 3, "num_switches": 1}, iterations, ranks)).all()
