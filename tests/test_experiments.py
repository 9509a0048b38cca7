"""The tables of the experiments against numbers worked out by hand or computed anew from the pickles."""

import math

import numpy as np
import pandas as pd
import pytest
from conftest import NUM_HELD_OUT, train_small_run

from memorization.tables import aggregation
from memorization.tables.fits import (
    FORMS,
    errors_of_other_seeds,
    fit_forgetting,
    half_life_of_curve,
    left_out_errors,
)
from memorization.training.evaluation import epoch_table, evaluate_run

ARGS = {
    "model": "one_layer_attention", "K": 4, "len_context": 6, "num_predictions": 5,
    "num_heads": 2, "num_hidden_features": 3, "num_iters_per_set": 20, "num_iters": 60, "num_switches": 2,
    "num_iters_per_epoch": 5, "batch_size_after_switch": 8, "seed": 0,
}  # fmt: skip


def aggregate(table, run, **changed):
    return aggregation.aggregate(table, [run], [{}], [ARGS | changed])


def evaluation_of(loss_trained, loss_held_out, K=4, held_out=3):
    """A run's evaluation of one set, with one loss for all its sequences, and one for those held out."""
    table = pd.DataFrame(
        {
            "weights": "final",
            "sequence_set": [0] * K + [-1] * held_out,
            "sequence_rank": [*range(K), *range(held_out)],
            "num_appearances": 1,
            "loss": np.float32([loss_trained] * K + [loss_held_out] * held_out),
            "accuracy": np.float32(0.5),
            "ideal_loss": np.float32([0.5 * math.log(2)] * K + [math.nan] * held_out),
        }
    )
    table.attrs["num_parameters"] = 50
    return table


def test_a_model_that_is_given_the_right_answers_has_memorised_every_predicted_bit():
    (row,) = aggregate("capacity", evaluation_of(0.0, math.log(2))).to_dict("records")
    assert row["bits_mean"] == pytest.approx(4 * 5)
    assert row["bits_per_parameter_mean"] == pytest.approx(20 / 50)
    assert (row["num_parameters"], row["sequence_length"], row["embedding_dimension"]) == (50, 6, 6)


def test_confident_mistakes_on_held_out_sequences_are_no_memory():
    (row,) = aggregate("capacity", evaluation_of(0.0, 3.0)).to_dict("records")
    assert row["bits_mean"] == pytest.approx(20)


def test_what_is_gained_on_held_out_sequences_is_subtracted():
    (row,) = aggregate("capacity", evaluation_of(0.0, math.log(2) / 2)).to_dict("records")
    assert row["bits_mean"] == pytest.approx(10)


def test_an_untrained_model_has_memorised_nothing_within_its_interval():
    tables, conditions, settings = [], [], []
    for seed in range(5):
        results, sets = train_small_run(num_switches=0, lr=1e-12, seed=seed, K=100, len_context=20)
        tables.append(evaluate_run(results, sets, 1000)["evaluation"])
        conditions.append({})
        settings.append(results["args"])
    table = aggregation.aggregate("capacity", tables, conditions, settings)
    (row,) = table.to_dict("records")
    assert row["bits_low"] <= 0 <= row["bits_high"]
    assert abs(row["bits_mean"]) < 0.01 * 100 * 19


def test_a_loss_above_that_of_a_coin_is_no_debt():
    (row,) = aggregate("capacity", evaluation_of(0.8, 0.8)).to_dict("records")
    assert row["bits_mean"] == 0


def test_capacity_is_recomputed_from_the_evaluation_of_a_real_run():
    results, sets = train_small_run(sequence_sampling_distribution="uniform", num_iters_per_set=200)
    evaluation = evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"]
    table = aggregation.aggregate("capacity", [evaluation], [{}], [results["args"]])
    assert set(zip(table["weights"], table["sequence_set"], strict=True)) == {
        (weights, s) for weights in ("pre_switch_1", "final", "swap_mlp", "swap_attention") for s in (0, 1)
    }
    for row in table.itertuples():
        bits, held_out, number = 0.0, 0.0, 0
        for sequence in evaluation[evaluation["weights"] == row.weights].itertuples():
            gained = (math.log(2) - sequence.loss) / math.log(2)
            if sequence.sequence_set == row.sequence_set:
                bits += gained * 11
            elif sequence.sequence_set == -1:
                held_out, number = held_out + gained, number + 1
        expected = max(0.0, bits) - max(0.0, held_out / number) * 30 * 11
        assert row.bits_mean == pytest.approx(expected, abs=1e-2)


def test_what_the_ideal_observer_has_of_a_uniform_set_are_all_bits_but_those_that_tell_its_sequences_apart():
    results, sets = train_small_run(sequence_sampling_distribution="uniform", num_switches=0)
    table = aggregate("capacity", evaluate_run(results, sets, 4)["evaluation"], **results["args"])
    # Of log2 K bits, the first bit of a sequence tells about one, which the model does not predict.
    ones = sets[0][:, 0].mean()
    first = -ones * math.log2(ones) - (1 - ones) * math.log2(1 - ones)
    assert table["ideal_bits_mean"].tolist() == pytest.approx([30 * (11 - math.log2(30) + first)], rel=1e-6)


def test_bits_during_training_end_with_those_of_the_final_weights():
    results, sets = train_small_run(num_iters_per_set=200, num_switches=0, test_stride=1, K=5, mlp_init_std=0.5)
    tables = evaluate_run(results, sets, NUM_HELD_OUT)
    (final,) = aggregate("capacity", tables["evaluation"], **results["args"]).to_dict("records")
    curve = aggregate("capacity_by_epoch", tables["epochs"], **results["args"])
    assert curve["iter"].tolist() == [*range(10, 201, 10)]
    assert curve["bits_mean"].iloc[-1] == pytest.approx(final["bits_mean"]) and final["bits_mean"] > 20


def test_the_last_quarter_is_that_of_the_iterations_on_the_set_so_far():
    bits = {5: 0.0, 10: 4.0, 15: 16.0, 20: 12.0, 25: 4.0, 40: 20.0}
    epochs = epochs_of({0: [(i, 0.5) for i in range(4)], 1: [(4, 0.5), (7, 0.5)]})
    epochs["loss"] = math.log(2) * (1 - epochs["iter"].map(bits) / (ARGS["K"] * ARGS["num_predictions"]))
    table = aggregate("capacity_by_epoch", epochs)
    assert table["bits_mean"].tolist() == pytest.approx([*bits.values()])
    assert table["most_bits_mean"].tolist() == pytest.approx([0, 4, 16, 16, 4, 20])
    # The bits before are interpolated: 2 of the 4 at iteration 10 were there at 7.5, and 7 of the 16 at 11.25. The
    # second set begins at iteration 20.
    expected = [math.nan, 2 / 4, 9 / 16, 0, 1 / 4, (16 / 3) / 20]
    assert table["last_quarter_mean"].tolist() == pytest.approx(expected, nan_ok=True)


def epochs_of(accuracies, per_epoch=5):
    """The tests of one set, one sequence an epoch, that is trained on for 20 iterations; then of the next."""
    rows = [
        {
            "epoch": i + 1, "iter": per_epoch * (i + 1), "current_set": (per_epoch * (i + 1) - 1) // 20,
            "sequence_set": sequence_set, "sequence_rank": 0, "loss": 0.0, "accuracy": accuracy,
            "ideal_accuracy": 0.9,
        }
        for sequence_set, values in accuracies.items()
        for i, accuracy in values
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_iterations_to_accuracy_are_counted_from_the_switch_to_the_first_epoch_that_reaches_it():
    epochs = epochs_of(
        {0: [(0, 0.5), (1, 0.62), (2, 0.6), (3, 0.8)], 1: [(4, 0.5), (5, 0.55), (6, 0.7), (7, 0.6)]}
    )
    table = aggregate("iterations_to_accuracy", epochs)
    reached = table[table["reached"] == 1]
    found = {(row.sequence_set, row.threshold): row.median_iterations for row in reached.itertuples()}
    assert table[table["reached"] == 0]["median_iterations"].isna().all()
    assert set(table["trained_iterations"]) == {20} and set(table["ideal_accuracy"]) == {0.9}
    assert len(table) == 18
    assert found == {
        (0, 0.55): 10, (0, 0.6): 10, (0, 0.65): 20, (0, 0.7): 20, (0, 0.75): 20, (0, 0.8): 20,
        (1, 0.55): 10, (1, 0.6): 15, (1, 0.65): 15, (1, 0.7): 15,
    }  # fmt: skip


def test_a_seed_that_does_not_get_there_counts_as_later_than_those_that_do():
    quick, slow = epochs_of({0: [(0, 0.7)]}), epochs_of({0: [(0, 0.5), (1, 0.7)]})
    never = epochs_of({0: [(0, 0.5), (1, 0.5), (2, 0.58)]})
    table = aggregation.aggregate("iterations_to_accuracy", [quick, slow, never], [{}] * 3, [ARGS] * 3)
    table = table.set_index("threshold")
    # Without the third seed the median of 5 and 10 would be 5.
    assert table.loc[0.7, ["num_seeds", "median_iterations", "reached"]].tolist() == pytest.approx([3, 10, 2 / 3])
    assert table.loc[0.55, ["median_iterations", "reached"]].tolist() == [10, 1]
    assert table.loc[0.75, "reached"] == 0 and math.isnan(table.loc[0.75, "median_iterations"])


def test_an_accuracy_at_the_threshold_reaches_it_in_single_precision():
    epochs = epochs_of({0: [(0, 0.9)]}).astype({"accuracy": np.float32})
    table = aggregate("iterations_to_accuracy", epochs)
    assert table[table["threshold"] == 0.9]["reached"].tolist() == [1]


def epochs_with_ideal(logs):
    """The tests of these logs, with what an ideal observer might have."""
    return epoch_table(logs).assign(ideal_loss=np.float32(0.1), ideal_accuracy=np.float32(0.9))


@pytest.mark.parametrize("table", ["iterations_to_accuracy", "forgetting", "forgetting_curves"])
def test_iterations_of_long_trainings_are_those_of_short_ones(table):
    """The small types of the tables hold the numbers of sets, not of iterations."""
    short, long = 4, 100_000
    times = {length: [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 3] for length in (short, long)}
    found = {}
    for length, moments in times.items():
        logs = [
            {
                "epoch": epoch,
                "iter": int(moment * length),
                "sequence_set": math.ceil(moment) - 1,
                "test_metrics": {
                    "sequence_set": np.arange(math.ceil(moment)),
                    "sequence_rank": np.zeros(math.ceil(moment), int),
                    "logsoftmaxloss": np.full(math.ceil(moment), 0.5, np.float32),
                    "accuracy": np.full(math.ceil(moment), 0.5 + 0.04 * epoch, np.float32),
                },
            }
            for epoch, moment in enumerate(moments, start=1)
        ]
        args = {**ARGS, "num_iters_per_set": length, "num_iters": 3 * length, "num_switches": 2, "K": 1}
        args["num_iters_per_epoch"] = length // 4
        found[length] = aggregation.aggregate(table, [epochs_with_ideal(logs)], [{}], [args])
    time = {"iterations_to_accuracy": "median_iterations"}.get(table, "iters_since_switch")
    assert found[long][time].max() > 2**15
    assert np.array_equal(found[long][time] / long, found[short][time] / short, equal_nan=True)


KNOWN = {
    "exponential": {"amplitude": 0.8, "tau": 30.0},
    "power_law": {"amplitude": 0.9, "tau": 12.0, "beta": 1.5},
    "stretched_exponential": {"amplitude": 0.7, "tau": 25.0, "beta": 0.5},
    "exponential_with_floor": {"amplitude": 0.6, "tau": 30.0, "floor": 0.2},
    "stretched_exponential_with_floor": {"amplitude": 0.7, "tau": 40.0, "beta": 2.0, "floor": 0.15},
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_fit_recovers_the_parameters_that_made_the_data(name, noise):
    t = np.arange(0.0, 300.0, 3.0)
    recall = FORMS[name](t, *KNOWN[name].values())
    recall = recall + noise * np.random.default_rng(1).standard_normal(len(t))
    fits = fit_forgetting(t, recall)
    for parameter, value in KNOWN[name].items():
        assert fits[name].parameters[parameter] == pytest.approx(value, rel=0.15 if noise else 1e-3), parameter


@pytest.mark.parametrize("name", FORMS)
def test_the_law_that_made_the_seeds_has_the_least_error_on_the_one_left_out(name):
    t = np.arange(0.0, 300.0, 3.0)
    noise = 0.02 * np.random.default_rng(2).standard_normal((6, len(t)))
    recalls = FORMS[name](t, *KNOWN[name].values()) + noise
    errors = {form: of_seeds.mean() for form, of_seeds in left_out_errors(t, recalls).items()}
    # The exponential is a special case of other laws: the error punishes no parameter.
    assert errors[name] < 1.01 * min(errors.values())
    # A law that is right is smoother than the mean of the five other seeds, and as near to the sixth.
    assert errors[name] == pytest.approx(0.02, rel=0.2)
    assert errors[name] <= errors_of_other_seeds(recalls).mean()
    if name != "exponential":
        assert max(errors.values()) > 1.1 * errors[name]


def test_the_error_on_the_seed_left_out_is_that_of_a_fit_to_the_mean_of_the_others():
    t, levels = np.arange(8.0), np.array([0.4, 0.5, 0.9])
    errors = left_out_errors(t, levels[:, None] * np.exp(-t / 3))
    of_decay = math.sqrt((np.exp(-t / 3) ** 2).mean())
    expected = of_decay * np.abs([0.4 - 0.7, 0.5 - 0.65, 0.9 - 0.45])
    assert errors["exponential"] == pytest.approx(expected, rel=1e-3)
    # The mean of the others is itself an exponential.
    of_others = errors_of_other_seeds(levels[:, None] * np.exp(-t / 3))
    assert of_others == pytest.approx(expected)
    assert np.isnan(left_out_errors(t, np.ones((1, 8)))["exponential"]).all()
    assert np.isnan(errors_of_other_seeds(np.ones((1, 8)))).all()


def test_the_half_life_of_an_exponential_is_its_time_scale_times_log_2():
    t = np.arange(0.0, 100.0, 0.5)
    assert half_life_of_curve(t, 0.7 * np.exp(-t / 20)) == pytest.approx(20 * math.log(2), abs=0.01)
    # Half of 0.8 is crossed between 2 and 6, at a quarter of the way.
    assert half_life_of_curve(np.array([0, 2, 6]), np.array([0.8, 0.5, 0.1])) == 3
    assert math.isnan(half_life_of_curve(t, 0.7 - 0.001 * t))
    assert math.isnan(half_life_of_curve(t, -np.exp(-t)))


def test_half_lives_are_counted_from_the_switch_in_the_units_that_they_name():
    changed = {"lr_after_switch": 5e-3, "batch_size_after_switch": 5, "num_iters_of_last_set": 10}
    results, _ = train_small_run(num_switches=2, num_iters_per_epoch=1, num_iters_per_set=40, K=10, **changed)
    args = results["args"]
    table = aggregation.aggregate("half_life", [epoch_table(results["logs"])], [{}], [args])
    assert table["sequence_set"].tolist() == [0, 1]
    for row in table.itertuples():
        end = 40 * (row.sequence_set + 1)
        recall = {}
        for entry in results["logs"][end - 1 :]:
            tests = entry["test_metrics"]
            recall[entry["iter"] - end] = (
                2 * tests["accuracy"][tests["sequence_set"] == row.sequence_set].mean() - 1
            )
        assert row.recall_at_switch_mean == pytest.approx(recall[0], abs=1e-6)
        after = min((t for t, value in recall.items() if value < recall[0] / 2), default=None)
        assert row.reached_mean == (after is not None)
        if after is not None:
            assert after - 1 <= row.half_life_iters_mean <= after
            assert row.half_life_draws_mean == pytest.approx(5 * row.half_life_iters_mean)
            assert row.lr_times_half_life_mean == pytest.approx(5e-3 * row.half_life_iters_mean)
    assert table["reached_mean"].any() and table["queue_half_life_draws_mean"].isna().all()


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_of_noise_is_fitted_within_the_bounds(seed):
    t = np.arange(0.0, 100.0, 2.0)
    fits = fit_forgetting(t, 0.1 * np.random.default_rng(seed).standard_normal(len(t)))
    for fit in fits.values():
        assert 0 <= fit.parameters["amplitude"] <= 2
        assert 0 < fit.parameters["tau"] <= 10 * t[-1]
        assert np.isfinite(fit.fitted).all()


def test_too_few_points_are_not_fitted():
    assert fit_forgetting(np.arange(5.0), np.ones(5)) == {}


def test_forgetting_curves_are_recomputed_from_the_logs_of_a_real_run():
    results, _ = train_small_run(num_switches=3, num_iters_per_epoch=2, K=40)
    args = results["args"]
    table = aggregation.aggregate("forgetting_curves", [epochs_with_ideal(results["logs"])], [{}], [args])
    recall = {}
    for entry in results["logs"]:
        metrics = entry["test_metrics"]
        for s, accuracy in zip(metrics["sequence_set"], metrics["accuracy"], strict=True):
            since = entry["iter"] - (s + 1) * 20
            if since >= 0 and s < 3:
                recall.setdefault(since, []).append(2 * float(accuracy) - 1)
    found = {row.iters_since_switch: row.recall_mean for row in table.itertuples()}
    assert found.keys() == recall.keys()
    np.testing.assert_allclose(table["ideal_recall_mean"], 0.8, rtol=1e-6)
    for key, values in recall.items():
        assert found[key] == pytest.approx(np.mean(values), abs=1e-6), key


def test_forgetting_fits_compare_the_seeds_of_a_condition_and_of_no_other():
    runs, conditions, settings = [], [], []
    for lr, seed in ((1e-2, 0), (2e-2, 0), (1e-2, 1), (2e-2, 1), (1e-2, 2)):
        results, _ = train_small_run(num_switches=3, num_iters_per_epoch=2, K=40, lr=lr, seed=seed)
        runs.append(epochs_with_ideal(results["logs"]))
        conditions.append({"lr": lr})
        settings.append(results["args"])
    table = aggregation.aggregate("forgetting_fits", runs, conditions, settings)
    for _, rows in table.groupby("lr"):
        assert sorted(rows["form"]) == sorted(FORMS)
        # What no law can predict is the same for all laws.
        unpredictable = rows["left_out_error_mean"] - rows["excess_error_mean"]
        assert unpredictable.to_numpy() == pytest.approx(np.full(len(FORMS), unpredictable.iloc[0]))
        assert (unpredictable > 0).all()
    assert table.loc[table["form"] == "exponential", "beta_mean"].isna().all()
    alone = aggregation.aggregate("forgetting_fits", runs[1:4:2], conditions[1:4:2], settings[1:4:2])
    pd.testing.assert_frame_equal(alone, table[table["lr"] == 2e-2].reset_index(drop=True))


def attention_of(weights, deviations):
    """An attention table of 2 heads over the cells (1, 0), (2, 0) and (2, 1): 1 and 1/2 ± deviation."""
    rows = [
        {
            "layer": 0, "head": head, "predicted_position": n, "key_position": i, "query_bit": -1,
            "key_bit": -1, "attention": value, "weights": weights,
        }
        for head, deviation in enumerate(deviations)
        for n, i, value in ((1, 0, 1.0), (2, 0, 0.5 + deviation), (2, 1, 0.5 - deviation))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_attention_similarity_is_one_of_heads_that_stay_and_minus_one_of_heads_that_turn():
    run = pd.concat([attention_of("pre_switch_1", [0.2, 0.1]), attention_of("final", [0.4, -0.3])])
    table = aggregate("attention_similarity", run).set_index("heads")
    # Head 0 with itself 1, head 1 with itself -1; head 0 with 1 is -1, head 1 with 0 is 1.
    assert table.loc["same", "similarity_mean"] == pytest.approx(0)
    assert table.loc["other", "similarity_mean"] == pytest.approx(0)
    run = pd.concat([attention_of("pre_switch_1", [0.2, -0.1]), attention_of("final", [0.4, -0.3])])
    table = aggregate("attention_similarity", run).set_index("heads")
    assert table["similarity_mean"].to_dict() == pytest.approx({"same": 1, "other": -1})


def test_frozen_attention_over_frozen_embeddings_stays_the_same():
    results, sets = train_small_run()
    results["model_state_dict"] = results["pre_switch_state_dict"][0]
    attention = evaluate_run(results, sets, NUM_HELD_OUT)["attention"]
    table = aggregation.aggregate("attention_similarity", [attention], [{}], [results["args"]])
    assert table.set_index("heads").loc["same", "similarity_mean"] == pytest.approx(1)
