"""Tables over seeds against numbers worked out by hand."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memorization.storage.cache import csv_text, key_columns
from memorization.tables import aggregation
from memorization.tables.student import two_sided_quantile

# The two-sided 95 % quantiles of Student's t with 1 and with 2 degrees of freedom, from a printed table.
T_1, T_2 = 12.7062, 4.3027


def aggregate(table, runs, conditions, **changed):
    args = {"K": len(runs[0]), "model": "one_layer_attention", "zipf_exponent": 1.0} | changed
    return aggregation.aggregate(table, runs, conditions, [args] * len(runs))


def evaluation(accuracy, weights="final", sequence_set=0, appearances=0):
    """A run's evaluation table with these accuracies at the ranks 0, 1, ... and loss = 1 - accuracy."""
    table = pd.DataFrame(
        {
            "weights": weights,
            "sequence_set": sequence_set,
            "sequence_rank": range(len(accuracy)),
            "num_appearances": appearances,
            "loss": np.float32(1 - np.array(accuracy)),
            "accuracy": np.float32(accuracy),
            "ideal_loss": np.float32(0.1),
            "ideal_accuracy": np.float32(0.9),
        }
    )
    table.attrs["num_parameters"] = 10
    return table


def test_mean_and_interval_over_three_seeds_are_those_worked_out_by_hand():
    runs = [evaluation([0.5, 0.7]), evaluation([0.6, 0.8]), evaluation([0.9, 0.9])]
    table = aggregate("by_weights", runs, [{"freeze": "none"}] * 3)
    (row,) = table.to_dict("records")
    # Means of the seeds: 0.6, 0.7, 0.9. Mean 2.2 / 3, variance (0.0178 + 0.0011 + 0.0278) / 2 = 0.02333.
    half_width = T_2 * math.sqrt(0.0233333 / 3)
    assert (row["freeze"], row["weights"], row["sequence_set"]) == ("none", "final", 0)
    assert (row["num_seeds"], row["num_sequences"]) == (3, 6)
    assert row["accuracy_mean"] == pytest.approx(2.2 / 3)
    assert row["accuracy_low"] == pytest.approx(2.2 / 3 - half_width, abs=1e-4)
    assert row["accuracy_high"] == pytest.approx(2.2 / 3 + half_width, abs=1e-4)
    assert row["loss_mean"] == pytest.approx(0.8 / 3)
    assert row["loss_low"] == pytest.approx(0.8 / 3 - half_width, abs=1e-4)


def test_one_seed_has_a_mean_and_no_interval():
    (row,) = aggregate("by_weights", [evaluation([0.5, 1.0])], [{}]).to_dict("records")
    assert row["accuracy_mean"] == 0.75
    assert np.isnan(row["accuracy_low"])
    assert np.isnan(row["accuracy_high"])


def test_conditions_are_apart_and_in_the_order_of_the_configuration():
    runs = [evaluation([accuracy]) for accuracy in (0.9, 0.7, 0.6, 0.8)]
    conditions = [{"freeze": freeze, "num_heads": 4} for freeze in ("none", "none", "attention", "attention")]
    table = aggregate("by_weights", runs, conditions)
    assert table["freeze"].tolist() == ["none", "attention"]
    assert table["num_heads"].tolist() == [4, 4]
    assert table["accuracy_mean"].tolist() == pytest.approx([0.8, 0.7])
    assert table["accuracy_high"].iloc[0] == pytest.approx(0.8 + T_1 * 0.1, abs=1e-4)


def test_weights_keep_their_order_and_sets_are_apart():
    run = pd.concat(
        [
            evaluation([0.9], weights="pre_switch_1"),
            evaluation([0.5], weights="pre_switch_1", sequence_set=1),
            evaluation([0.6], weights="final"),
            evaluation([0.8], weights="final", sequence_set=1),
            evaluation([0.5], weights="final", sequence_set=-1),
        ]
    )
    table = aggregate("by_weights", [run], [{}])
    assert list(zip(table["weights"], table["sequence_set"], strict=True)) == [
        ("pre_switch_1", 0), ("pre_switch_1", 1), ("final", -1), ("final", 0), ("final", 1),
    ]  # fmt: skip
    assert table["accuracy_mean"].tolist() == pytest.approx([0.9, 0.5, 0.5, 0.6, 0.8])


def test_bands_of_rank_go_from_power_to_power_of_two():
    accuracy = [1.0, 0.8, 0.6, 0.5, 0.5, 0.7, 0.7, 0.1, 0.3]
    held_out = evaluation([0.0] * 3, sequence_set=-1)
    table = aggregate("by_rank", [pd.concat([evaluation(accuracy), held_out])], [{}], K=9)
    assert table["sequence_set"].unique().tolist() == [0]
    assert table["rank_low"].tolist() == [0, 1, 3, 7]
    assert table["rank_high"].tolist() == [0, 2, 6, 8]
    assert table["num_sequences"].tolist() == [1, 2, 4, 2]
    assert table["accuracy_mean"].tolist() == pytest.approx([1.0, 0.7, 0.6, 0.2])


def test_bands_of_appearances_begin_with_never():
    runs = [
        evaluation([0.5, 0.5, 0.6, 0.7, 0.9], appearances=[0, 0, 1, 3, 4]),
        evaluation([0.3, 0.6, 0.7, 0.9, 0.7], appearances=[0, 1, 2, 3, 7]),
    ]
    table = aggregate("by_appearances", runs, [{}, {}])
    assert table["appearances_low"].tolist() == [0, 1, 2, 4]
    assert table["appearances_high"].tolist() == [0, 1, 3, 7]
    assert table["num_seeds"].tolist() == [2, 2, 2, 2]
    assert table["num_sequences"].tolist() == [3, 2, 3, 2]
    assert table["accuracy_mean"].tolist() == pytest.approx([0.4, 0.6, 0.75, 0.8])


def test_epochs_are_means_over_the_tested_sequences_of_each_set():
    run = pd.DataFrame(
        {
            "epoch": [1, 1, 2, 2, 2],
            "iter": [10, 10, 20, 20, 20],
            "current_set": [0, 0, 1, 1, 1],
            "sequence_set": [0, 0, 0, 1, 1],
            "sequence_rank": [0, 10, 0, 0, 10],
            "loss": [0.2, 0.4, 0.5, 0.1, 0.3],
            "accuracy": [0.8, 0.6, 0.5, 0.9, 0.7],
            "ideal_loss": [0.1, 0.2, 0.1, 0.1, 0.2],
            "ideal_accuracy": [1.0, 0.8, 1.0, 0.5, 0.5],
        }
    )
    table = aggregate("by_epoch", [run], [{}], K=20)
    keys = ["epoch", "iter", "current_set", "sequence_set"]
    assert table[keys].to_numpy().tolist() == [[1, 10, 0, 0], [2, 20, 1, 0], [2, 20, 1, 1]]
    assert table["loss_mean"].tolist() == pytest.approx([0.3, 0.5, 0.2])
    assert table["accuracy_mean"].tolist() == pytest.approx([0.7, 0.5, 0.8])
    assert table["ideal_accuracy_mean"].tolist() == pytest.approx([0.9, 1.0, 0.5])
    # Nobody could be above chance on the last one.
    np.testing.assert_allclose(table["fraction_of_ideal_mean"], [0.5, 0.0, math.nan])


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 10, 99, 1000])
def test_the_quantiles_of_students_distribution_are_those_of_scipy(degrees):
    for confidence in (0.5, 0.95, 0.999):
        expected = stats.t.ppf((1 + confidence) / 2, degrees)
        assert two_sided_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-12)


@given(swept=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5, unique=True))
def test_a_csv_is_read_with_the_keys_that_were_swept_and_with_six_digits_of_what_was_measured(swept):
    # A model without the setting has none, and the whole numbers of a setting are floats beside it.
    conditions = [{"model": "dam", "lr": lr, "M": 2**20 + i} for i, lr in enumerate(swept)]
    conditions.append({"model": "gpt", "lr": 0.0316227766, "M": None})
    table = aggregate("by_weights", [evaluation([1 / 3])] * len(conditions), conditions)
    text = csv_text(table, key_columns(table))
    read = pd.read_csv(io.BytesIO(text))
    assert read["lr"].tolist() == [condition["lr"] for condition in conditions]
    assert read[read["lr"] == swept[0]]["M"].tolist() == [2**20]
    assert np.isnan(read["M"].iloc[-1])
    assert text.splitlines()[-1].startswith(b"gpt,0.0316227766,,final,0,10,1,1,0.666667,,,0.333333,")
