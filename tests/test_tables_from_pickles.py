"""The tables of a run and of a group, computed anew in loops of NumPy from what the run's pickles hold."""

import math

import numpy as np
import pytest
from conftest import resolved_settings, trained
from numpy_reference import attention, embedded, linear, loss_and_accuracy
from test_dam import dam_settings, reference_loss, softmax
from test_gpt import gpt_settings
from test_gpt import reference_forward as gpt_forward
from test_one_layer_attention import reference_forward as one_layer_forward

from memorization.sequences import generate_held_out_sequences
from memorization.tables import aggregation
from memorization.training.evaluation import epoch_table, evaluate_run

SETTINGS = {"one_layer_attention": resolved_settings, "gpt": gpt_settings, "dam": dam_settings}
# More than are mapped at once, of either transformer.
NUM_MAPPED = 140
# Two-sided 95 % quantile of Student's t with 1 degree of freedom, from a printed table.
T_1 = 12.7062
# Learns so fast that the heads soon look far from uniformly, and in ways of their own.
SHARP = {"K": 10, "num_hidden_features": 3, "lr": 0.1}
MAPPED = {
    "one_layer_attention": SHARP | {"len_context": 7},
    "gpt": SHARP | {"len_context": 7},
    "dam": {"N": 7, "K": 10, "lr": 0.1},
}


def numpy_state(state):
    return {name: np.asarray(value, dtype=float) for name, value in state.items()}


def states_of(results):
    """The weights just before the first switch and the final ones, in float64."""
    pre_switch, final = results["pre_switch_state_dict"][0], results["model_state_dict"]
    return {"pre_switch_1": numpy_state(pre_switch), "final": numpy_state(final)}


def held_out_of(args, sets, number):
    return generate_held_out_sequences(args["seed"], number, args["len_context"], sets)


def attention_by_layer(args, state, sequence):
    """How much each position of one sequence attends to each: (layers, heads, T, T), by the equations."""
    if args["model"] == "gpt":
        _, weights = gpt_forward(state, sequence[None], args["num_layers"], args["num_heads"])
        return weights[:, 0]
    return attention(linear(embedded(sequence, state), state, "c_attn"), args["num_heads"])[1][None]


def expected_maps(args, state, sequences):
    """The mean attention of each (layer, head, predicted position, key position, query bit, key bit)."""
    if args["model"] == "dam":
        return {
            (0, h, n, i, -1, -1): weight
            for n in range(1, args["N"])
            for h in range(args["H"])
            for i, weight in enumerate(softmax(list(state["A_logits"][n, h, :n])))
        }
    found = {}
    for sequence in sequences:
        weights = attention_by_layer(args, state, sequence[:-1])
        for layer, head, t, i in np.ndindex(*weights.shape):
            if i <= t:
                key = (layer, head, t + 1, i, int(sequence[t]), int(sequence[i]))
                found.setdefault(key, []).append(weights[layer, head, t, i])
    return {key: np.mean(values) for key, values in found.items()}


@pytest.fixture(scope="module", params=MAPPED)
def mapped_runs(request):
    """Two seeds of a run of each model: settings, table of attention, and by weights what it should be."""
    runs = []
    for seed in (0, 1):
        results, sets = trained(SETTINGS[request.param](**MAPPED[request.param], seed=seed))
        args = results["args"]
        held_out = held_out_of(args, sets, NUM_MAPPED)
        expected = {name: expected_maps(args, state, held_out) for name, state in states_of(results).items()}
        runs.append((args, evaluate_run(results, sets, NUM_MAPPED)["attention"], expected))
    return runs


def test_the_attention_table_is_the_mean_over_held_out_sequences(mapped_runs):
    for _, table, expected in mapped_runs:
        for weights, maps in expected.items():
            rows = table[table["weights"] == weights].drop(columns="weights")
            found = {tuple(map(int, key)): value for *key, value in rows.itertuples(index=False)}
            assert len(found) == len(rows)
            assert found == pytest.approx(maps, abs=1e-5)
            if (0, 0, 3, 1, 0, 1) in maps:
                # Where it looks depends on both bits, and in another way on each.
                assert abs(maps[0, 0, 3, 1, 0, 1] - maps[0, 0, 3, 1, 1, 0]) > 1e-3


def test_the_maps_of_a_group_are_means_over_the_heads_of_the_first_layer_and_heads_of_the_first_seed(mapped_runs):
    args, tables, expected = zip(*mapped_runs, strict=True)
    # The first seed of a study need not be 0.
    args = [one | {"seed": one["seed"] + 5} for one in args]
    table = aggregation.aggregate("attention_maps", tables, [{}, {}], args)
    found = {}
    for row in table.itertuples():
        if row.weights in expected[0]:
            cell = (row.predicted_position, row.key_position, row.query_bit, row.key_bit)
            found[row.weights, row.head, *cell] = (row.num_seeds, row.attention_mean, row.attention_high)
    means = {}
    for of_seed in expected:
        for weights, maps in of_seed.items():
            heads = {}
            for (layer, _, *cell), value in maps.items():
                if layer == 0:
                    heads.setdefault((weights, -1, *cell), []).append(value)
            for key, values in heads.items():
                means.setdefault(key, []).append(sum(values) / len(values))
    for weights, maps in expected[0].items():
        means |= {(weights, head, *cell): [value] for (layer, head, *cell), value in maps.items() if layer == 0}
    assert found.keys() == means.keys()
    for key, values in means.items():
        num_seeds, mean, high = found[key]
        assert num_seeds == len(values)
        assert mean == pytest.approx(sum(values) / len(values), abs=1e-5)
        if len(values) == 2:
            assert high - mean == pytest.approx(T_1 * abs(values[0] - values[1]) / 2, abs=1e-3)
        else:
            assert math.isnan(high)


def test_attention_similarity_is_the_cosine_of_how_the_maps_differ_from_uniform_ones(mapped_runs):
    for args, attention_table, expected in mapped_runs:
        table = aggregation.aggregate("attention_similarity", [attention_table], [{}], [args])
        found = {(row.layer, row.heads): row.similarity_mean for row in table.itertuples()}
        before, after = {}, {}
        for maps, vectors in ((expected["pre_switch_1"], before), (expected["final"], after)):
            for (layer, head, n, *_), value in sorted(maps.items()):
                vectors.setdefault((layer, head), []).append(value - 1 / n)
        similarity = {}
        for (layer, g), x in before.items():
            for h in range(len({head for _, head in after})):
                y = after[layer, h]
                cosine = sum(a * b for a, b in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
                similarity.setdefault((layer, "same" if g == h else "other"), []).append(cosine)
        assert found == pytest.approx({key: np.mean(values) for key, values in similarity.items()}, abs=1e-4)
        assert max(found.values()) - min(found.values()) > 0.01


@pytest.mark.parametrize(
    "model, changed",
    [
        # The first set is at 0.65 only when it is no longer trained on.
        ("one_layer_attention", {"K": 15, "lr": 0.02, "seed": 7}),
        ("gpt", {"K": 12}),
        ("dam", {"K": 15, "lr": 0.05, "eta": 20.0}),
    ],
)
def test_iterations_to_accuracy_are_those_of_the_first_log_that_reaches_it(model, changed):
    uniform = {"sequence_sampling_distribution": "uniform", "num_iters_per_set": 100, "num_iters_per_epoch": 5}
    results, _ = trained(SETTINGS[model](**uniform, **changed))
    expected = {}
    for s in (0, 1):
        for threshold in (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
            expected[s, threshold] = math.nan
            for entry in reversed(results["logs"]):
                tests = entry["test_metrics"]
                accuracies = [
                    float(accuracy)
                    for tested, accuracy in zip(tests["sequence_set"], tests["accuracy"], strict=True)
                    if tested == s
                ]
                if entry["sequence_set"] == s and sum(accuracies) / len(accuracies) > threshold - 1e-6:
                    expected[s, threshold] = entry["iter"] - 100 * s
    # Some are reached, early and late, and some are not.
    assert len(set(expected.values())) > 3
    assert math.isnan(expected[1, 0.95])
    # The tests in an epoch, which the first set does not have, do not count.
    assert results["tests_after_switch"]
    epochs = epoch_table(results["logs"], results["tests_after_switch"]).assign(ideal_accuracy=1.0)
    table = aggregation.aggregate("iterations_to_accuracy", [epochs], [{}], [results["args"]])
    found = {(row.sequence_set, row.threshold): row.median_iterations for row in table.itertuples()}
    assert found == pytest.approx(expected, nan_ok=True)
    reached = {(row.sequence_set, row.threshold): row.reached for row in table.itertuples()}
    assert reached == {key: float(not math.isnan(value)) for key, value in expected.items()}


def mean_loss(args, state, sequences):
    """The mean loss of a model's predictions of these sequences, by the equations."""
    if args["model"] == "dam":
        memory = state["memory"][: int(state["memory_size"])]
        return reference_loss(state["A_logits"], state["B_logits"], args["eta"], memory, 2 * sequences - 1)
    if args["model"] == "gpt":
        logits, _ = gpt_forward(state, sequences[:, :-1], args["num_layers"], args["num_heads"])
    else:
        logits = one_layer_forward(state, sequences[:, :-1], args["num_heads"])
    return loss_and_accuracy(logits, sequences[:, 1:])[0].mean()


@pytest.mark.parametrize(
    "model, predictions, changed",
    [
        ("one_layer_attention", 9, {"len_context": 10, "num_iters_per_set": 100}),
        ("gpt", 9, {"len_context": 10, "num_iters_per_set": 100}),
        ("dam", 8, {"N": 8, "H": 2, "lr": 0.1, "num_iters_per_set": 50}),
    ],
)
def test_capacity_is_what_the_weights_gain_on_the_sets_and_not_on_held_out_sequences(model, predictions, changed):
    results, sets = trained(SETTINGS[model](K=8, sequence_sampling_distribution="uniform", **changed))
    args = results["args"]
    evaluation = evaluate_run(results, sets, 8)["evaluation"]
    table = aggregation.aggregate("capacity", [evaluation], [{}], [args])
    found = {(row.weights, row.sequence_set): row for row in table.itertuples()}
    # Of the DAM, the logits of bits past the predicted one are no parameters.
    parameters = sum(value.numel() for value in results["model_state_dict"].values()) if model != "dam" else 72
    for current, (weights, state) in enumerate(states_of(results).items()):
        gains = [
            max(0.0, 1 - mean_loss(args, state, sequences) / math.log(2))
            for sequences in (*sets, held_out_of(args, sets, 8))
        ]
        for s in (0, 1):
            bits = (gains[s] - gains[2]) * 8 * predictions
            assert found[weights, s].bits_mean == pytest.approx(bits, abs=1e-2)
            assert found[weights, s].bits_per_parameter_mean == pytest.approx(bits / parameters, abs=1e-4)
        assert gains[current] > 0.1
