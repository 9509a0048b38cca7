"""Differences between conditions, paired by seed, and times that some seeds do not reach, by hand and by SciPy."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import train_small_run
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memorization.sequences import rank_probabilities
from memorization.tables import aggregation
from memorization.tables.contrasts import difference_over_seeds, holm, seeds_for_power
from memorization.tables.survival import median_with_interval
from memorization.training.evaluation import evaluate_run

# The two-sided 95 % quantile of Student's t with 2 degrees of freedom, from a printed table.
T_2 = 4.3027
DIFFERENCES = st.lists(st.floats(-0.5, 0.5).map(lambda x: round(x, 6)), min_size=2, max_size=12)


def evaluation(accuracy, ideal=0.9, weights="final"):
    """A run's evaluation of set 0 with these accuracies at the ranks 0, 1, …, and of three held-out sequences."""
    ranks = [*range(len(accuracy)), 0, 1, 2]
    return pd.DataFrame(
        {
            "weights": weights,
            "sequence_set": [0] * len(accuracy) + [-1] * 3,
            "sequence_rank": ranks,
            "loss": 1 - np.float64([*accuracy, 0.5, 0.5, 0.5]),
            "accuracy": [*accuracy, 0.5, 0.5, 0.5],
            "ideal_loss": 0.1,
            "ideal_accuracy": ideal,
        }
    )


def contrasts(runs, reference):
    """The table of runs (condition, seed, accuracies), each condition a value of ``freeze``."""
    conditions = [{"model": "gpt", "freeze": freeze} for freeze, _, _ in runs]
    resolved = [{"K": 3, "zipf_exponent": 1.0, "seed": seed} for _, seed, _ in runs]
    tables = [evaluation(accuracy) for _, _, accuracy in runs]
    references = {"gpt": {"model": "gpt", "freeze": reference}}
    table = aggregation.aggregate("contrasts", tables, conditions, resolved, references)
    return table.set_index(["freeze", "metric"])


def test_a_contrast_is_the_mean_difference_of_the_runs_of_one_seed():
    # The order of the seeds differs, and condition b lacks seed 3: by hand the differences are −0.1, −0.2, 0.0.
    runs = [
        ("a", 0, [0.9, 0.9, 0.9]), ("a", 1, [0.8, 0.8, 0.8]), ("a", 2, [0.6, 0.6, 0.6]), ("a", 3, [0.5, 0.5, 0.5]),
        ("b", 2, [0.6, 0.6, 0.6]), ("b", 0, [0.8, 0.8, 0.8]), ("b", 1, [0.6, 0.6, 0.6]),
    ]  # fmt: skip
    table = contrasts(runs, "a")
    assert set(table.index.get_level_values("freeze")) == {"b"}
    row = table.loc[("b", "accuracy")]
    assert (row["num_seeds"], row["weights"], row["sequence_set"]) == (3, "final", 0)
    assert json.loads(row["reference"]) == {"model": "gpt", "freeze": "a"}
    half_width = T_2 * 0.1 / math.sqrt(3)
    assert row[["difference_mean", "difference_low", "difference_high"]].tolist() == pytest.approx(
        [-0.1, -0.1 - half_width, -0.1 + half_width], abs=1e-5
    )
    assert table.loc[("b", "loss"), "difference_mean"] == pytest.approx(0.1)
    assert math.isnan(table.loc[("b", "loss"), "p_equivalent"])
    assert table.loc[("b", "fraction_of_ideal"), "difference_mean"] == pytest.approx(-0.1 / 0.4)


def test_each_sequence_counts_by_its_probability_in_the_weighted_contrast():
    table = contrasts(
        [("a", s, [0.5, 0.5, 0.5]) for s in (0, 1)] + [("b", s, [0.6, 0.5, 0.5]) for s in (0, 1)], "a"
    )
    # p ∝ 1, 1/2, 1/3.
    assert table.loc[("b", "weighted_accuracy"), "difference_mean"] == pytest.approx(0.1 * 6 / 11)
    assert table.loc[("b", "accuracy"), "difference_mean"] == pytest.approx(0.1 / 3)


def test_weighted_means_are_recomputed_from_the_evaluation_of_a_real_run(monkeypatch):
    results, sets = train_small_run(test_stride=7)
    run, args = evaluate_run(results, sets, 50), results["args"]
    p = rank_probabilities(args["K"], args["zipf_exponent"])
    for rows_at_once in (aggregation.ROWS_AT_ONCE, 9):
        monkeypatch.setattr(aggregation, "ROWS_AT_ONCE", rows_at_once)
        for name, source in (("by_weights", "evaluation"), ("by_epoch", "epochs")):
            table = aggregation.aggregate(name, [run[source]], [{}], [args])
            keys = ["weights", "sequence_set"] if name == "by_weights" else ["iter", "sequence_set"]
            for key, rows in run[source].groupby(keys, observed=True):
                (row,) = table[(table[keys] == list(key)).all(axis=1)].to_dict("records")
                weight = np.ones(len(rows)) if key[1] == -1 else p[rows["sequence_rank"]]
                for metric in ("loss", "accuracy", "ideal_loss", "ideal_accuracy"):
                    expected = np.average(rows[metric].astype(float), weights=weight)
                    assert row[f"weighted_{metric}_mean"] == pytest.approx(expected, abs=1e-12), (key, metric)
                    if key[1] == -1:
                        assert row[f"{metric}_mean"] == pytest.approx(expected, abs=1e-12)


def test_the_metrics_of_a_model_without_other_conditions_have_no_contrasts():
    assert contrasts([("a", seed, [0.5, 0.6, 0.7]) for seed in (0, 1)], "a").empty


@given(DIFFERENCES)
def test_the_tests_of_a_difference_are_those_of_scipy(differences):
    x = np.array(differences)
    if x.std() < 1e-7:
        return
    found = difference_over_seeds(x, 0.02)
    expected = stats.ttest_1samp(x, 0)
    low, high = expected.confidence_interval(0.95)
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert (found["difference_low"], found["difference_high"]) == pytest.approx((low, high), rel=1e-6, abs=1e-9)
    one_sided = (
        stats.ttest_1samp(x, -0.02, alternative="greater"),
        stats.ttest_1samp(x, 0.02, alternative="less"),
    )
    assert found["p_equivalent"] == pytest.approx(max(test.pvalue for test in one_sided), rel=1e-6, abs=1e-12)
    # The test and the interval agree.
    assert (found["p_value"] < 0.05) == (low > 0 or high < 0)


@given(DIFFERENCES)
def test_swapping_a_condition_and_its_reference_turns_the_sign_alone(differences):
    there, back = (difference_over_seeds(sign * np.array(differences), 0.02) for sign in (1, -1))
    assert back["difference_mean"] == -there["difference_mean"]
    assert (back["difference_low"], back["difference_high"]) == (
        -there["difference_high"],
        -there["difference_low"],
    )
    for statistic in ("p_value", "p_equivalent", "seeds_for_80_percent"):
        assert back[statistic] == there[statistic]


def test_a_difference_without_spread_or_of_one_seed_has_clear_values():
    none, same, outside, one, empty = (
        difference_over_seeds(np.array(values), 0.02) for values in ([0.0] * 3, [0.01] * 3, [0.125] * 4, [0.3], [])
    )
    assert (none["p_value"], none["p_equivalent"], none["seeds_for_80_percent"]) == (1, 0, math.inf)
    assert (none["difference_low"], none["difference_high"]) == (0, 0)
    assert (same["p_value"], same["p_equivalent"]) == (0, 0)
    assert (outside["p_value"], outside["p_equivalent"], outside["seeds_for_80_percent"]) == (0, 1, 2)
    assert (one["num_seeds"], one["difference_mean"]) == (1, 0.3)
    statistics = ("difference_low", "difference_high", "p_value", "p_equivalent", "seeds_for_80_percent")
    assert all(math.isnan(one[statistic]) for statistic in statistics)
    assert empty["num_seeds"] == 0 and math.isnan(empty["difference_mean"])


def test_holms_correction_is_stepped_down_and_leaves_out_what_was_not_tested():
    p = pd.Series([0.03, math.nan, 0.01, 0.04, 0.2], index=list("abcde"))
    # Ascending 0.01 · 4, 0.03 · 3, 0.04 · 2 (raised to the one before), 0.2 · 1.
    assert holm(p).to_dict() == pytest.approx(
        {"a": 0.09, "b": math.nan, "c": 0.04, "d": 0.09, "e": 0.2}, nan_ok=True
    )
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1, 1]


def test_contrasts_of_one_metric_and_one_set_are_corrected_together():
    spread = {0: 0.0, 1: 0.01, 2: -0.01}
    levels = {"a": 0.6, "b": 0.65, "c": 0.7}
    runs = [
        (freeze, seed, [level + (freeze != "a") * extra] * 3)
        for freeze, level in levels.items()
        for seed, extra in spread.items()
    ]
    table = contrasts(runs, "a")
    b, c = table.loc[("b", "accuracy")], table.loc[("c", "accuracy")]
    assert c["p_value"] < b["p_value"]
    assert (c["p_holm"], b["p_holm"]) == pytest.approx((2 * c["p_value"], b["p_value"]))


# From printed tables of the paired t test: two-sided, 5 %, power 80 %.
@pytest.mark.parametrize("effect, seeds", [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])
def test_the_number_of_seeds_for_80_percent_power_is_that_of_the_tables(effect, seeds):
    assert seeds_for_power(effect, 1.0) == seeds
    assert seeds_for_power(-effect * 0.1, 0.1) == seeds


def test_no_number_of_seeds_shows_what_is_not_there_and_two_show_what_is_certain():
    assert seeds_for_power(1e-9, 1.0) == math.inf
    assert [seeds_for_power(effect, 1.0) for effect in (30, 1e3, 1e8)] == [2, 2, 2]


def test_the_seeds_that_are_asked_for_find_the_effect_in_four_trials_of_five():
    effect = 0.9
    n = int(seeds_for_power(effect, 1.0))
    x = np.random.default_rng(1).normal(effect, 1, (4000, n))
    assert (stats.ttest_1samp(x, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.81, abs=0.03)


def test_the_median_of_times_and_its_interval_are_those_worked_out_by_hand():
    times, all_reached = np.arange(10.0, 130.0, 10.0), np.ones(12, dtype=bool)
    # Greenwood's variance of log(−log S) without censoring is (1/S − 1)/12 / log²S. The bounds of the band are at
    # most 1/2 first after 2 of 12 (S = 10/12: 0.482), and after 10 of 12 (S = 2/12: 0.413; after 9 it is 0.505).
    assert median_with_interval(times, all_reached) == (60, 20, 100)
    # Whoever does not get there is later than everybody else.
    late = times >= 80
    median, low, high = median_with_interval(np.where(late, 75.0, times), ~late)
    assert (median, low) == (60, 20) and math.isnan(high)
    assert median_with_interval(times, times <= 60)[0] == 60
    median, low, high = median_with_interval(times, times <= 50)
    assert math.isnan(median) and low == 20 and math.isnan(high)
    assert np.isnan(median_with_interval(times, ~all_reached)).all()
    assert median_with_interval(np.array([40.0]), np.array([True]))[0] == 40


@given(st.lists(st.tuples(st.integers(1, 20), st.booleans()), min_size=1, max_size=12), st.integers(2, 50))
def test_the_median_of_times_follows_the_unit_of_time(seeds, unit):
    times, reached = (np.array(values) for values in zip(*seeds, strict=True))
    found = np.array(median_with_interval(times.astype(float), reached))
    np.testing.assert_array_equal(
        np.array(median_with_interval(unit * times.astype(float), reached)), unit * found
    )
    bounds = found[[1, 0, 2]][~np.isnan(found[[1, 0, 2]])]
    assert all(a <= b for a, b in itertools.pairwise(bounds))
