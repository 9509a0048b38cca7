"""The comparison of transformers with theories: distances, fits on other seeds, and what each candidate says."""

import math

import numpy as np
import pandas as pd
import pytest
from conftest import resolved_settings, sets_of, train_small_run

from memorization.configuration.settings import DamSettings
from memorization.ideal_observer import ideal_predictions
from memorization.sequences import cumulative_probabilities, rank_probabilities, sample_batch_ranks
from memorization.tables.aggregation import aggregate
from memorization.tables.comparison import chosen_on_other_half, kl_bits
from memorization.tables.theory import drawn_sequences

BITS = [f"bit_{n}" for n in range(1, 12)]


def dam_settings(**changed):
    settings = dict(
        model="dam", N=12, H=4, M=60, K=30, batch_size=16, num_iters_per_set=20, num_iters_per_epoch=10
    )
    return DamSettings(**settings | changed).resolved()


def predictions(args, probabilities):
    """A run's table of predictions; ``probabilities(weights, set)`` are those of bits 1 … L−1, (K, L − 1)."""
    bits = [f"bit_{n}" for n in range(args["len_context"])] if args["model"] == "dam" else BITS
    parts = []
    for weights in ("pre_switch_1", "final"):
        for sequence_set in (0, 1):
            P = np.asarray(probabilities(weights, sequence_set), dtype=np.float32)
            P = np.concatenate([np.full((len(P), len(bits) - P.shape[1]), 0.5), P], axis=1)
            key = {"weights": weights, "sequence_set": sequence_set, "sequence_rank": np.arange(len(P))}
            parts.append(pd.DataFrame(key | dict(zip(bits, P.T, strict=True))))
    return pd.concat(parts, ignore_index=True)


def of_observer(args, weights, known, tested):
    return np.stack([*ideal_predictions(known, weights, tested)][1:], axis=1)


def compared(runs):
    """The table of an experiment whose runs are (predictions, resolved settings, condition) each."""
    tables, settings, conditions = zip(*runs, strict=True)
    table = aggregate("model_comparison", tables, list(conditions), list(settings))
    return table.set_index(["weights", "sequence_set", "candidate"])


def test_the_divergence_is_its_definition_and_zero_only_of_equals():
    rng = np.random.default_rng(0)
    p, q = rng.random((2, 5, 7))
    expected = [
        a * math.log2(a / b) + (1 - a) * math.log2((1 - a) / (1 - b)) for a, b in zip(p.flat, q.flat, strict=True)
    ]
    assert kl_bits(p, q) == pytest.approx(np.mean(expected))
    assert kl_bits(p, p) == 0
    certain = np.array([0.0, 1.0])
    assert kl_bits(certain, certain) == 0
    assert kl_bits(certain, np.array([0.5, 0.5])) == 1
    assert kl_bits(np.array([0.5]), np.array([1.0])) == math.inf


def test_options_are_chosen_on_the_other_half_of_the_seeds():
    # Seeds 0 and 2 are nearest to option (1, 0), seeds 1 and 3 to option (0, 1).
    distances = np.ones((4, 2, 2))
    distances[0::2, 1, 0] = 0
    distances[1::2, 0, 1] = 0
    assert chosen_on_other_half(distances) == [(0, 1), (1, 0), (0, 1), (1, 0)]
    assert chosen_on_other_half(distances[:1]) == [(-1, -1)]


@pytest.mark.parametrize("changed", [{}, {"batch_size_after_switch": 5}, {"sequences_seed": 9}])
def test_the_draws_of_a_run_are_its_batches(changed):
    results, _ = train_small_run(**changed)
    args = results["args"]
    for entry in results["logs"]:
        drawn = drawn_sequences(args, entry["iter"])
        counts = np.bincount(drawn, minlength=60).reshape(2, 30)
        assert counts[entry["sequence_set"]].tolist() == entry["num_appearances"].tolist()
    cumulative = cumulative_probabilities(rank_probabilities(30, 1.0))
    assert (
        drawn_sequences(args, 1).tolist() == sample_batch_ranks(cumulative, 16, args["sequences_seed"], 0).tolist()
    )


def test_a_model_that_is_an_observer_with_some_chance_is_explained_by_that_observer():
    runs = []
    for seed in range(4):
        args = resolved_settings(seed=seed)
        sets, _ = sets_of(args)
        p = rank_probabilities(30, 1.0)

        def model(weights, sequence_set, sets=sets, p=p, args=args):
            known = sets[weights == "final"]
            return 0.8 * of_observer(args, p, known, sets[sequence_set]) + 0.1

        runs.append((predictions(args, model), args, {"model": "one_layer_attention"}))
    table = compared(runs)
    for weights, sequence_set, iteration in (("pre_switch_1", 0, 20), ("final", 1, 40)):
        of_moment = table.sort_index().loc[(weights, sequence_set)]
        assert set(of_moment["iter"]) == {iteration}
        assert of_moment.loc["coin", "explained_mean"] == pytest.approx(0, abs=1e-12)
        assert of_moment.loc["ideal_zipf", "kl_mean"] == pytest.approx(0, abs=1e-6)
        assert of_moment.loc["ideal_zipf", "explained_mean"] == pytest.approx(1, abs=1e-5)
        assert of_moment.loc["ideal_zipf", "coin_share_mean"] == pytest.approx(0.2)
        others = of_moment.drop(index="ideal_zipf")
        assert (others["explained_mean"] < 0.999).all()
        assert of_moment["explained_mean"].idxmax() == "ideal_zipf"


def test_the_number_of_last_draws_is_found():
    runs = []
    for seed in range(4):
        args = resolved_settings(seed=seed)
        sets, _ = sets_of(args)
        drawn = drawn_sequences(args, 21)

        def model(weights, sequence_set, sets=sets, args=args):
            drawn = drawn_sequences(args, 20 if weights == "pre_switch_1" else 40)
            counts = np.bincount(drawn[-64:], minlength=60)
            return 0.9 * of_observer(args, counts, np.concatenate(sets), sets[sequence_set]) + 0.05

        assert len(drawn) == 21 * 16
        runs.append((predictions(args, model), args, {"model": "one_layer_attention"}))
    rows = compared(runs).xs("ideal_last_draws", level="candidate")
    assert rows["parameter_mean"].loc[[("pre_switch_1", 0), ("final", 1)]].tolist() == [64, 64]
    np.testing.assert_allclose(rows["kl_mean"].loc[[("pre_switch_1", 0), ("final", 1)]], 0, atol=1e-6)


def test_the_best_run_of_a_memory_is_taken_and_weights_of_its_own_are_kept_apart():
    keys, runs = ["model", "M", "initial_heads", "weights_seed"], []

    def add(args, said, weights_seed=None):
        condition = {key: args.get(key) for key in keys} | {"weights_seed": weights_seed}
        runs.append((predictions(args, lambda *key: said[key]), args, condition))

    for seed in range(2):
        rng = np.random.default_rng(seed)
        P = {(weights, s): rng.random((30, 11)) for weights in ("pre_switch_1", "final") for s in (0, 1)}
        opposite = {key: 1 - value for key, value in P.items()}
        add(resolved_settings(seed=seed), P)
        add(resolved_settings(seed=seed, weights_seed=1000), P, weights_seed=1000)
        # The larger trained memory says what the transformer says, the others nothing of use.
        add(dam_settings(seed=seed, M=10), opposite)
        add(dam_settings(seed=seed, M=60), P)
        add(dam_settings(seed=seed, initial_heads="one_bit", A_and_B_trainable=False), opposite)
    table = compared(runs)
    assert set(table["model"]) == {"one_layer_attention"}
    assert table["weights_seed"].isna().all()
    for candidate in ("dam", "other_weights"):
        rows = table.xs(candidate, level="candidate")
        np.testing.assert_allclose(rows["kl_mean"], 0, atol=1e-6)
        assert (rows["coin_share_mean"] == 0).all()
    rows = table.xs("dam_one_bit", level="candidate")
    assert (rows["coin_share_mean"] == 1).all()
    np.testing.assert_allclose(rows["explained_mean"], 0, atol=1e-12)


def test_one_seed_has_no_other_half():
    args = resolved_settings()
    table = compared([(predictions(args, lambda *key: np.full((30, 11), 0.7)), args, {"model": "gpt"})])
    assert table[["kl_mean", "explained_mean"]].isna().all(axis=None)


def test_no_candidate_is_nearer_than_other_weights_to_what_does_not_depend_on_them():
    runs = []
    for seed in range(4):
        args = resolved_settings(seed=seed)
        sets, _ = sets_of(args)
        p, data = rank_probabilities(30, 1.0), np.random.default_rng(seed)
        # All weights agree on what differs from the ideal observer, and add something of their own.
        shared = {
            (weights, s): 0.6 * of_observer(args, p, sets[s], sets[s]) + 0.4 * data.random((30, 11))
            for weights in ("pre_switch_1", "final")
            for s in (0, 1)
        }
        for weights_seed in (None, 1000, 1001, 1002):
            own = np.random.default_rng([seed, weights_seed or 0])
            said = {key: np.clip(P + own.normal(0, 0.03, P.shape), 0, 1) for key, P in shared.items()}
            args = resolved_settings(seed=seed, weights_seed=weights_seed)
            condition = {"model": "one_layer_attention", "weights_seed": weights_seed}
            runs.append((predictions(args, lambda *key, said=said: said[key]), args, condition))
    table = compared(runs)
    for moment in (("pre_switch_1", 0), ("final", 1)):
        of_moment = table.sort_index().loc[moment]
        assert of_moment.loc["other_weights", "explained_mean"] > 0.9
        best = of_moment.drop(index="other_weights")["explained_mean"].max()
        assert 0.5 < best < of_moment.loc["other_weights", "explained_low"]


def random_predictions(seed):
    rng = np.random.default_rng(seed)
    return {(weights, s): rng.random((30, 11)) for weights in ("pre_switch_1", "final") for s in (0, 1)}


def test_other_weights_are_those_of_another_seed_wherever_it_comes_from():
    """Seeds of one set of data are each other's other weights; a run made twice is no other."""

    def run(seed, said, sequences_seed=None, weights_seed=None):
        args = resolved_settings(seed=seed, sequences_seed=sequences_seed, weights_seed=weights_seed)
        condition = {"model": "one_layer_attention", "weights_seed": weights_seed}
        return predictions(args, lambda *key: said[key]), args, condition

    same = compared([run(seed, random_predictions(0), sequences_seed=5) for seed in (0, 1)])
    rows = same.xs("other_weights", level="candidate")
    np.testing.assert_allclose(rows["kl_mean"], 0, atol=1e-6)

    # The run of seed 1 is there twice, and nobody else has its data.
    said = [random_predictions(seed) for seed in (0, 1)]
    runs = [run(seed, said[seed], weights_seed=weights) for weights in (None, 1) for seed in (0, 1)]
    assert "other_weights" not in compared(runs).index.get_level_values("candidate")


def test_a_memory_is_compared_if_it_has_the_moment_and_saw_the_data_of_every_seed():
    keys = ["model", "M", "sequences_seed"]

    def run(args, said, dropped=(), sequences_seed=None):
        table = predictions(args, lambda *key: said[key])
        condition = {key: args.get(key) for key in keys} | {"sequences_seed": sequences_seed}
        return table[~table["weights"].isin(dropped)], args, condition

    runs = []
    for seed in range(2):
        P = random_predictions(seed)
        opposite = {key: 1 - value for key, value in P.items()}
        runs += [
            run(resolved_settings(seed=seed), P),
            run(dam_settings(seed=seed, M=10), opposite),
            # What says the same as the transformer was saved at one moment alone, or for one seed's data.
            run(dam_settings(seed=seed, M=60), P, dropped=["pre_switch_1"]),
            run(dam_settings(seed=seed, M=60, sequences_seed=0), random_predictions(0), sequences_seed=0),
        ]
    kl = compared(runs).xs("dam", level="candidate")["kl_mean"]
    assert (kl.loc["pre_switch_1"] > 0.1).all()
    np.testing.assert_allclose(kl.loc["final"], 0, atol=1e-6)
