"""The evaluation: every set under every kind of weights, against the equations and a recount."""

import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import NUM_HELD_OUT, learner_with_random_weights, resolved_settings, train_small_run
from test_one_layer_attention import loss_and_accuracy, reference_forward

from memorization.models.learners import build_learner
from memorization.sequences import (
    cumulative_probabilities,
    generate_held_out_sequences,
    generate_sequence_set,
    rank_probabilities,
    sample_batch_ranks,
)
from memorization.training.evaluation import (
    HELD_OUT,
    epoch_table,
    evaluate_run,
    evaluate_sequences,
    evaluated_weights,
)


@pytest.fixture(scope="module")
def tables(small_run):
    return evaluate_run(*small_run, NUM_HELD_OUT)


def weights_of(results):
    learner = build_learner(SimpleNamespace(**resolved_settings()), [])
    return {weights.name: weights.state_dict for weights in evaluated_weights(results, learner)}


def test_every_sequence_of_every_set_and_held_out_ones_are_there_once(tables):
    weights = ["pre_switch_1", "final", "swap_mlp", "swap_attention"]
    expected = [
        (name, sequence_set, rank)
        for name in weights
        for sequence_set, number in ((0, 30), (1, 30), (HELD_OUT, 25))
        for rank in range(number)
    ]
    keys = tables["evaluation"][["weights", "sequence_set", "sequence_rank"]]
    assert list(keys.itertuples(index=False, name=None)) == expected


def test_loss_and_accuracy_are_those_of_the_equations(small_run, tables):
    results, sets = small_run
    args = results["args"]
    evaluation, positions = tables["evaluation"], tables["positions"]
    held_out = generate_held_out_sequences(args["seed"], NUM_HELD_OUT, args["len_context"], sets)
    for name, state_dict in weights_of(results).items():
        state = {key: value.numpy().astype(float) for key, value in state_dict.items()}
        for sequence_set, sequences in ((0, sets[0]), (1, sets[1]), (HELD_OUT, held_out)):
            logits = reference_forward(state, sequences[:, :-1], args["num_heads"])
            loss, accuracy = loss_and_accuracy(logits, sequences[:, 1:])
            rows = evaluation[(evaluation["weights"] == name) & (evaluation["sequence_set"] == sequence_set)]
            np.testing.assert_allclose(rows["loss"], loss.mean(axis=1), atol=1e-5)
            assert (np.abs(rows["accuracy"] - accuracy.mean(axis=1)) < 1e-6).mean() > 0.9
            means = positions[(positions["weights"] == name) & (positions["sequence_set"] == sequence_set)]
            assert means["position"].tolist() == list(range(1, args["len_context"]))
            np.testing.assert_allclose(means["loss"], loss.mean(axis=0), atol=1e-5)


def test_predictions_are_the_probability_of_a_one(small_run, tables):
    results, sets = small_run
    args, predictions = results["args"], tables["predictions"]
    bits = [f"bit_{n}" for n in range(1, args["len_context"])]
    assert predictions.columns.tolist() == ["weights", "sequence_set", "sequence_rank", *bits]
    for name, state_dict in weights_of(results).items():
        state = {key: value.numpy().astype(float) for key, value in state_dict.items()}
        for sequence_set, sequences in enumerate(sets):
            logits = np.array(reference_forward(state, sequences[:, :-1], args["num_heads"]))
            rows = predictions[(predictions["weights"] == name) & (predictions["sequence_set"] == sequence_set)]
            assert rows["sequence_rank"].tolist() == list(range(30))
            P = 1 / (1 + np.exp(logits[..., 0] - logits[..., 1]))
            np.testing.assert_allclose(rows[bits].to_numpy(), P, atol=1e-6)


def test_saved_weights_are_those_of_a_training_that_ends_there():
    results, sets = train_small_run(saved_iters=[1, 7, 20])
    names = ["set_0_iter_1", "set_0_iter_7", "set_0_iter_20", "pre_switch_1", "set_1_iter_1", "set_1_iter_7"]
    weights = weights_of(results)
    assert list(weights) == [*names, "set_1_iter_20", "final", "swap_mlp", "swap_attention"]
    shorter = train_small_run(num_iters_per_set=7, num_iters_per_epoch=7, num_switches=0)[0]["model_state_dict"]
    for name, value in shorter.items():
        assert torch.equal(weights["set_0_iter_7"][name], value), name
        assert torch.equal(weights["set_0_iter_20"][name], weights["pre_switch_1"][name]), name
        assert torch.equal(weights["set_1_iter_20"][name], weights["final"][name]), name
    evaluation = evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
    counts = evaluation.groupby(["weights", "sequence_set"], sort=False)["num_appearances"].sum()
    draws = results["args"]["batch_size"]
    assert counts["set_0_iter_7"].to_dict() == {0: 7 * draws, 1: 0, HELD_OUT: 0}
    assert counts["set_1_iter_7"].to_dict() == {0: 20 * draws, 1: 7 * draws, HELD_OUT: 0}


def test_appearances_of_every_kind_of_weights_are_a_recount_of_the_batches():
    results, sets = train_small_run(num_switches=2)
    table = evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
    args = results["args"]
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], args["zipf_exponent"]))
    until = {"pre_switch_1": 20, "pre_switch_2": 40, "final": 60, "swap_mlp": 60, "swap_attention": 60}
    assert table["weights"].unique().tolist() == list(until)
    for (weights, sequence_set), rows in table.groupby(["weights", "sequence_set"]):
        counts = [0] * len(rows)
        for iteration in range(until[weights]):
            if iteration // 20 == sequence_set:
                for rank in sample_batch_ranks(cumulative, args["batch_size"], args["seed"], iteration):
                    counts[rank] += 1
        assert rows["num_appearances"].tolist() == counts, (weights, sequence_set)


def test_a_run_without_a_switch_has_final_weights_only():
    results, sets = train_small_run(num_switches=0)
    table = evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
    assert set(table["weights"]) == {"final"}
    assert set(table["sequence_set"]) == {0, HELD_OUT}


def test_the_last_epoch_agrees_with_the_evaluation_of_the_final_weights(small_run, tables):
    evaluation = tables["evaluation"]
    epochs = epoch_table(small_run[0]["logs"])
    last = epochs[epochs["epoch"] == 4]
    final = evaluation[evaluation["weights"] == "final"].set_index(["sequence_set", "sequence_rank"])
    for row in last.itertuples():
        same = final.loc[(row.sequence_set, row.sequence_rank)]
        np.testing.assert_allclose([row.loss, row.accuracy], [same["loss"], same["accuracy"]], atol=1e-6)


def test_the_means_over_a_large_set_are_those_of_all_its_bits():
    learner, _ = learner_with_random_weights(resolved_settings(len_context=6))
    # Too many to be evaluated at once.
    sequences = generate_sequence_set(0, 0, 40_000, 6)
    metrics = np.stack(learner.evaluate(sequences)).astype(float)
    found = evaluate_sequences(learner, sequences)
    np.testing.assert_allclose(found.of_sequences, metrics.mean(axis=2), rtol=1e-6)
    np.testing.assert_allclose(found.at_positions, metrics.mean(axis=1), rtol=1e-6)
    # Of a large set every 10th sequence is predicted bit by bit.
    assert np.array_equal(found.predicted_ranks, np.arange(0, 40_000, 10))
    of_true = np.where(sequences[::10, 1:] == 1, found.probabilities, 1 - found.probabilities)
    np.testing.assert_allclose(of_true, np.exp(-metrics[0, ::10]), atol=1e-6)


def peaks(numbers):
    """The peak memory of this process, in MiB, after evaluations of so many sequences of 50 bits."""
    args = resolved_settings(len_context=50, num_heads=1, num_hidden_features=2, num_mlp_layers=1)
    sequences = generate_sequence_set(0, 0, max(numbers), 50)
    learner = build_learner(SimpleNamespace(**args), [])
    found = []
    for number in numbers:
        evaluate_sequences(learner, sequences[:number])
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return found


@pytest.mark.slow
def test_the_memory_of_an_evaluation_does_not_grow_with_the_bits_of_a_set():
    # The peak of a fork does not count what its parent held before.
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as fork:
        few, many = fork.submit(peaks, (20_000, 200_000)).result()
    # Loss and accuracy of 180 000 sequences of 49 predicted bits would take 67 MiB.
    assert many - few < 40
