"""Training through switches: the steps, the counts and the logs."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import NUM_HELD_OUT, resolved_settings, train_small_run

from memorization.models.learners import build_learner
from memorization.sequences import cumulative_probabilities, rank_probabilities, sample_batch_ranks
from memorization.training.evaluation import epoch_table, evaluate_run


def test_weights_before_a_switch_are_those_of_a_run_that_ends_there(small_run):
    ended, _ = train_small_run(num_switches=0)
    for name, value in ended["model_state_dict"].items():
        assert torch.equal(value, small_run[0]["pre_switch_state_dict"][0][name])


@pytest.mark.parametrize("init", ["zero", "normal"])
def test_attention_that_is_not_trainable_stays_as_initialised(init):
    results, _ = train_small_run(attention_trainable=False, attention_init=init, weight_decay=0.1)
    start, end = results["pre_switch_state_dict"][0], results["model_state_dict"]
    assert torch.equal(start["c_attn.weight"], end["c_attn.weight"])
    queries = end["c_attn.weight"][: len(end["c_attn.weight"]) // 3]
    assert queries.any() == (init == "normal")
    assert not torch.equal(start["lm_head.weight"], end["lm_head.weight"])


@pytest.mark.parametrize("attention_trainable", [True, False])
def test_an_mlp_that_is_not_trainable_keeps_its_initial_bytes_and_all_else_moves(attention_trainable):
    changed = {"mlp_trainable": False, "attention_trainable": attention_trainable, "weight_decay": 0.1}
    results, sets = train_small_run(**changed)
    initial = build_learner(SimpleNamespace(**results["args"]), sets).state_dict()
    kept = ("linear_modules", "lm_head") if attention_trainable else ("linear_modules", "lm_head", "c_attn")
    for name, value in results["model_state_dict"].items():
        assert torch.equal(value, initial[name]) == name.startswith(kept), name


def test_attention_that_begins_uniform_learns_if_it_is_trainable():
    results, _ = train_small_run(attention_init="zero")
    C = len(results["model_state_dict"]["c_attn.weight"]) // 3
    assert results["model_state_dict"]["c_attn.weight"][:C].any()


@pytest.mark.parametrize("distribution", ["zipf", "uniform"])
def test_appearances_are_a_recount_of_the_batches(distribution):
    results, _ = train_small_run(sequence_sampling_distribution=distribution, num_switches=2)
    args = results["args"]
    exponent = {"zipf": 1.0, "uniform": 0.0}[distribution]
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], exponent))
    for entry in results["logs"]:
        counts = [0] * args["K"]
        for iteration in range(args["num_iters_per_set"] * entry["sequence_set"], entry["iter"]):
            for rank in sample_batch_ranks(cumulative, args["batch_size"], args["seed"], iteration):
                counts[rank] += 1
        assert entry["num_appearances"].tolist() == counts
    assert sum(counts) == args["num_iters_per_set"] * args["batch_size"]


def test_logs_have_one_entry_an_epoch_with_tests_of_every_tenth_sequence(small_run):
    results, _ = small_run
    logs = results["logs"]
    assert [(entry["epoch"], entry["iter"], entry["sequence_set"]) for entry in logs] == [
        (1, 10, 0),
        (2, 20, 0),
        (3, 30, 1),
        (4, 40, 1),
    ]
    assert logs[1]["test_metrics"]["sequence_set"].tolist() == [0, 0, 0]
    assert logs[3]["test_metrics"]["sequence_set"].tolist() == [0, 0, 0, 1, 1, 1]
    assert logs[3]["test_metrics"]["sequence_rank"].tolist() == [0, 10, 20, 0, 10, 20]
    assert all(entry["lr"] == 1e-2 for entry in logs)


def test_tests_after_a_switch_are_those_of_a_run_with_epochs_of_one_iteration():
    fine, _ = train_small_run(num_iters_per_epoch=1, num_switches=2, test_iters_after_switch=[])
    coarse, _ = train_small_run(num_switches=2, test_iters_after_switch=[1, 4, 10, 13])
    assert fine["tests_after_switch"] == []
    # Iteration 10 of each set is the end of an epoch.
    tests = coarse["tests_after_switch"]
    expected = [(21, 1), (24, 1), (33, 1), (41, 2), (44, 2), (53, 2)]
    assert [(test["iter"], test["sequence_set"]) for test in tests] == expected
    table = epoch_table(coarse["logs"], tests)
    assert table["iter"].is_monotonic_increasing
    of_iterations = table.groupby("iter")["epoch"].unique().map(list).to_dict()
    assert of_iterations == {
        **{10 * epoch: [epoch] for epoch in range(1, 7)},
        **{iteration: [iteration // 10] for iteration, _ in expected},
    }
    by_iteration = epoch_table(fine["logs"]).drop(columns="epoch")
    shared = by_iteration[by_iteration["iter"].isin(table["iter"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(shared, table.drop(columns="epoch"))


def test_lr_and_batch_size_change_at_the_first_switch_and_stay(small_run):
    changed, _ = train_small_run(num_switches=2, lr_after_switch=1e-3, batch_size_after_switch=5)
    same, _ = train_small_run(lr_after_switch=1e-2, batch_size_after_switch=16)
    assert [entry["lr"] for entry in changed["logs"]] == [1e-2] * 2 + [1e-3] * 4
    assert [int(entry["num_appearances"].sum()) for entry in changed["logs"]] == [160, 320, 50, 100, 50, 100]
    before = small_run[0]["pre_switch_state_dict"][0]
    for name, value in small_run[0]["model_state_dict"].items():
        assert torch.equal(value, same["model_state_dict"][name])
        moved = (changed["pre_switch_state_dict"][1][name] - before[name]).abs().max()
        # A step of Adam is at most lr · 0.1 / √0.001 long.
        assert torch.equal(changed["pre_switch_state_dict"][0][name], before[name]) and 0 < moved < 20 * 3.2e-3


def test_earlier_sets_are_tested_only_if_asked_for():
    results, _ = train_small_run(test_earlier_sets=False)
    assert set(results["logs"][-1]["test_metrics"]["sequence_set"]) == {1}


def test_training_memorises_and_the_switch_forgets():
    results, sets = train_small_run(
        num_heads=8,
        K=10,
        len_context=16,
        num_iters_per_set=300,
        num_iters_per_epoch=300,
        sequence_sampling_distribution="uniform",
    )
    accuracy = (
        evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
        .groupby(["weights", "sequence_set"])["accuracy"]
        .mean()
    )
    assert accuracy["pre_switch_1", 0] > 0.8
    assert abs(accuracy["pre_switch_1", 1] - 0.5) < 0.1
    assert accuracy["final", 1] > 0.8
    assert accuracy["final", 0] < 0.65
    assert abs(accuracy["final", -1] - 0.5) < 0.1


def test_the_same_settings_give_the_same_bits_and_another_seed_others(small_run):
    again, _ = train_small_run()
    other, _ = train_small_run(seed=4)
    for name, value in small_run[0]["model_state_dict"].items():
        assert torch.equal(value, again["model_state_dict"][name])
    assert not torch.equal(again["model_state_dict"]["wte.weight"], other["model_state_dict"]["wte.weight"])


def test_a_training_that_diverges_says_so_and_gives_no_result():
    with pytest.raises(FloatingPointError, match="the training diverged: train loss nan by iteration 10; lr: "):
        train_small_run(lr=1e30)


@pytest.mark.parametrize("optimizer, decay", [("adam", 0.1), ("adamw", 0.1), ("adam", 0.0)])
def test_one_step_is_that_of_the_optimiser_that_the_settings_name(optimizer, decay):
    settings = {"optimizer": optimizer, "weight_decay": decay, "num_switches": 0, "lr": 1e-2}
    args = resolved_settings(**settings, num_iters_per_set=1, num_iters_per_epoch=1)
    results, sets = train_small_run(**settings, num_iters_per_set=1, num_iters_per_epoch=1)
    model = build_learner(SimpleNamespace(**args), sets).model
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], 1.0))
    batch = torch.from_numpy(sets[0][sample_batch_ranks(cumulative, args["batch_size"], args["seed"], 0)]).long()
    loss = torch.nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    assert results["logs"][0]["train_loss"] == pytest.approx(loss.item(), abs=1e-6)
    for name, parameter in model.named_parameters():
        # The first step of Adam: moments of one gradient, bias-corrected, are the gradient and its square.
        value, gradient = parameter.detach().double(), parameter.grad.double()
        if optimizer == "adam":
            gradient = gradient + decay * value
        else:
            value = value * (1 - 1e-2 * decay)
        expected = value - 1e-2 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(
            results["model_state_dict"][name].double(), expected, atol=2e-5, rtol=0, msg=name
        )


def test_the_train_loss_is_the_mean_over_the_iterations_of_its_epoch():
    fine, _ = train_small_run(num_iters_per_epoch=1)
    coarse, _ = train_small_run(num_iters_per_epoch=10)
    losses = [entry["train_loss"] for entry in fine["logs"]]
    means = [sum(losses[i : i + 10]) / 10 for i in range(0, 40, 10)]
    assert [entry["train_loss"] for entry in coarse["logs"]] == pytest.approx(means, abs=1e-6)
