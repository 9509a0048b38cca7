"""The dense associative memory against its equations in loops of NumPy float64."""

import math
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import NUM_HELD_OUT, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from memorization.configuration.settings import DamSettings
from memorization.models.dam import head_correlation, sharpness
from memorization.models.learners import build_learner
from memorization.models.queue_memory import QueueMemory, distinct_rows
from memorization.models.retrieval import Stored, attention, bit_losses, loss_and_gradients, predict
from memorization.sequences import (
    cumulative_probabilities,
    generate_sequence_set,
    rank_probabilities,
    sample_batch_ranks,
)
from memorization.training.evaluation import evaluate_run, evaluated_weights, weights_with_new_memory


def softmax(logits):
    weights = [math.exp(x - max(logits)) for x in logits]
    return [w / sum(weights) for w in weights]


def reference_probabilities(A_logits, B_logits, eta, memory, zeta, value=1):
    """P(value) of each bit of one sequence, one stored sequence and bit at a time."""
    N, H, _ = A_logits.shape
    probabilities = []
    for n in range(N):
        if len(memory) == 0:
            probabilities.append(0.5)
            continue
        if n == 0:
            probabilities.append(sum(1 for chi in memory if chi[0] == value) / len(memory))
            continue
        phi_hat = []
        for h in range(H):
            A_row = softmax(list(A_logits[n, h, :n]))
            phi_hat.append(sum(A_row[i] * zeta[i] for i in range(n)))
        scores = []
        for chi in memory:
            phi = [sum(w * bit for w, bit in zip(softmax(list(B_logits[h])), chi, strict=True)) for h in range(H)]
            scores.append(eta * sum(a * b for a, b in zip(phi_hat, phi, strict=True)))
        pi = softmax(scores)
        probabilities.append(sum(p for p, chi in zip(pi, memory, strict=True) if chi[n] == value))
    return np.array(probabilities)


def reference_loss(A_logits, B_logits, eta, memory, batch):
    """The loss of a batch, averaged over bits and sequences."""
    losses = []
    for zeta in batch:
        of_one, of_minus = (reference_probabilities(A_logits, B_logits, eta, memory, zeta, b) for b in (1, -1))
        losses.append(negative_log(np.where(zeta > 0, of_one, of_minus)))
    return float(np.mean(losses))


def negative_log(of_true):
    """The mean loss of bits whose true value has these probabilities."""
    return float(np.mean([-math.log(max(p, 1e-12)) for p in of_true]))


def bce(of_one, zeta):
    """The mean loss of the bits of one sequence, from the P(+1) of each."""
    return negative_log(np.where(zeta > 0, of_one, 1 - of_one))


def reference_gradients(logits, eta, memory, batch, step=1e-5):
    """The gradient of the reference's loss in A and in B, by central differences."""
    gradients = [np.zeros_like(x) for x in logits]
    for values, gradient in zip(logits, gradients, strict=True):
        for index in np.ndindex(*values.shape):
            value, losses = values[index], []
            for shifted in (value + step, value - step):
                values[index] = shifted
                losses.append(reference_loss(*logits, eta, memory, batch))
            values[index] = value
            gradient[index] = (losses[0] - losses[1]) / (2 * step)
    return gradients


def problem(seed, N, H, stored, batch, distinct=None):
    """Random logits, a memory of few distinct sequences, and a batch, in float64."""
    rng = np.random.default_rng(seed)
    pool = rng.choice([-1.0, 1.0], size=(distinct or max(stored, 1), N))
    memory = pool[rng.integers(0, len(pool), size=stored)] if stored else np.empty((0, N))
    queries = np.concatenate([pool[:1], rng.choice([-1.0, 1.0], size=(batch - 1, N))])
    return rng.normal(size=(N, H, N)), rng.normal(size=(H, N)), memory, queries


def multiset_of(memory, dtype=torch.float64):
    """The distinct rows of ``memory`` (M, N) and their numbers."""
    return Stored.of(*distinct_rows(np.asarray(memory)), like=torch.zeros((), dtype=dtype))


def our_probabilities(A_logits, B_logits, eta, memory, zeta):
    """P of −1 and of +1 for each bit of each sequence, (N, 2, B)."""
    return predict(
        torch.from_numpy(A_logits), torch.from_numpy(B_logits), eta, multiset_of(memory), torch.from_numpy(zeta)
    )


shapes = {
    "seed": st.integers(0, 1000),
    "N": st.integers(2, 6),
    "H": st.integers(1, 4),
    "stored": st.integers(0, 8),
    "distinct": st.integers(1, 4),
    "batch": st.integers(1, 3),
}


@settings(max_examples=60)
@given(**shapes, eta=st.floats(0.1, 30))
def test_the_form_over_distinct_sequences_is_the_plain_one(seed, N, H, stored, distinct, batch, eta):
    A_logits, B_logits, memory, zeta = problem(seed, N, H, stored, batch, distinct)
    P = our_probabilities(A_logits, B_logits, eta, memory, zeta)
    expected = np.array([reference_probabilities(A_logits, B_logits, eta, memory, z) for z in zeta]).T
    np.testing.assert_allclose(P[:, 1], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(P.sum(dim=1), 1, rtol=0, atol=1e-12)
    assert P.min() >= 0
    loss = bit_losses(P, torch.from_numpy(zeta)).mean().item()
    assert loss == pytest.approx(reference_loss(A_logits, B_logits, eta, memory, zeta), abs=1e-9)


@settings(max_examples=30)
@given(**shapes)
def test_order_of_the_queue_and_sign_of_all_bits(seed, N, H, stored, distinct, batch):
    A_logits, B_logits, memory, zeta = problem(seed, N, H, stored, batch, distinct)
    P = our_probabilities(A_logits, B_logits, 5.0, memory, zeta)
    shuffled = np.random.default_rng(seed).permutation(memory)
    assert torch.equal(our_probabilities(A_logits, B_logits, 5.0, shuffled, zeta), P)
    flipped = our_probabilities(A_logits, B_logits, 5.0, -memory, -zeta)
    np.testing.assert_allclose(flipped.flip(1), P, rtol=0, atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    A_logits, B_logits, memory, zeta = problem(1, N=5, H=3, stored=7, batch=2, distinct=4)
    A, B = (torch.from_numpy(x.copy()).requires_grad_() for x in (A_logits, B_logits))
    share = torch.full((2,), 0.5, dtype=torch.float64)
    _, *gradients = loss_and_gradients(A, B, 4.0, multiset_of(memory), torch.from_numpy(zeta), share)
    expected = reference_gradients((A_logits, B_logits), 4.0, memory, zeta)
    for gradient, of_differences in zip(gradients, expected, strict=True):
        assert np.abs(of_differences).max() > 1e-3
        np.testing.assert_allclose(gradient, of_differences, atol=1e-8)


@given(seed=st.integers(0, 100), N=st.integers(2, 12), H=st.integers(1, 5))
def test_attention_is_row_stochastic_and_never_looks_at_or_past_its_bit(seed, N, H):
    A = attention(torch.from_numpy(np.random.default_rng(seed).normal(size=(N, H, N)) * 3))
    assert A.min() >= 0
    for n in range(N):
        assert not A[n, :, n:].any()
        np.testing.assert_allclose(A[n].sum(dim=-1), 1.0 if n else 0.0, rtol=0, atol=1e-12)


def test_changing_a_bit_changes_no_prediction_at_or_before_it():
    A_logits, B_logits, memory, zeta = problem(3, N=6, H=3, stored=5, batch=2)
    before = our_probabilities(A_logits, B_logits, 5.0, memory, zeta)
    for j in range(6):
        changed = zeta.copy()
        changed[:, j] *= -1
        after = our_probabilities(A_logits, B_logits, 5.0, memory, changed)
        np.testing.assert_allclose(after[: j + 1], before[: j + 1], rtol=0, atol=1e-12)
        assert j == 5 or not torch.allclose(after[j + 1 :], before[j + 1 :], atol=1e-6)


class TestEdges:
    def test_an_empty_memory_gives_exactly_one_half(self):
        P = our_probabilities(
            *problem(0, N=4, H=2, stored=0, batch=3)[:2], 10.0, np.empty((0, 4)), np.ones((3, 4))
        )
        assert torch.equal(P, torch.full((4, 2, 3), 0.5, dtype=torch.float64))

    def test_the_first_bit_is_the_stored_fraction(self):
        memory = np.array([[1.0, 1], [1, -1], [1, 1], [-1, 1]])
        A_logits, B_logits, _, _ = problem(0, N=2, H=3, stored=0, batch=1)
        P = our_probabilities(A_logits, B_logits, 50.0, memory, np.ones((1, 2)))
        np.testing.assert_allclose(P[0, :, 0], [0.25, 0.75], rtol=0, atol=1e-12)

    def test_one_stored_sequence_predicts_itself_whatever_is_asked(self):
        A_logits, B_logits, memory, zeta = problem(4, N=5, H=2, stored=1, batch=3)
        P = our_probabilities(A_logits, B_logits, 10.0, memory, zeta)
        np.testing.assert_allclose(P[:, 1], np.repeat(memory.T > 0, 3, axis=1), rtol=0, atol=1e-12)

    def test_all_stored_equal_are_as_one(self):
        A_logits, B_logits, memory, zeta = problem(5, N=5, H=2, stored=1, batch=3)
        one = our_probabilities(A_logits, B_logits, 10.0, memory, zeta)
        many = our_probabilities(A_logits, B_logits, 10.0, np.repeat(memory, 9, axis=0), zeta)
        np.testing.assert_allclose(one, many, rtol=0, atol=1e-12)

    def test_only_the_logarithm_of_zero_is_guarded(self):
        of_one = torch.tensor([1.0, 1 - 1e-9, 1e-9, 0.0], dtype=torch.float64)
        P = torch.stack([1 - of_one, of_one])[None]  # (N, 2, B) with N = 1
        losses = bit_losses(P, torch.ones(4, 1, dtype=torch.float64))
        np.testing.assert_allclose(losses[0], -np.log([1, 1 - 1e-9, 1e-9, 1e-12]), rtol=1e-9)


@settings(max_examples=200)
@given(
    capacity=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    steps=st.lists(st.integers(-1, 20), max_size=12),
)
def test_the_queue_is_a_deque_after_any_appends_and_clears(capacity, seed, steps):
    rng = np.random.default_rng(seed)
    sequences = rng.choice(np.array([-1, 1], dtype=np.int8), size=(6, 3))
    queue, reference = QueueMemory(sequences, capacity), deque(maxlen=capacity)
    for number in steps:
        if number < 0:
            queue.clear()
            reference.clear()
        else:
            rows = rng.integers(0, 6, size=number)
            queue.append(rows)
            reference.extend(tuple(sequences[row]) for row in rows)
        assert queue.size == len(reference)
        matrix = queue.matrix()
        assert matrix.shape == (capacity, 3)
        assert [tuple(row) for row in matrix[: queue.size]] == list(reference)
        assert not matrix[queue.size :].any()
        stored = {tuple(row): count for row, count in zip(*queue.stored(), strict=True)}
        assert stored == {row: reference.count(row) for row in set(reference)}


def dam_settings(**changed):
    small = {
        "model": "dam", "N": 12, "H": 4, "M": 40, "K": 30, "batch_size": 8, "num_iters_per_set": 20,
        "num_iters_per_epoch": 10, "seed": 2,
    }  # fmt: skip
    return DamSettings(**small | changed).resolved()


def train_dam(**changed):
    return trained(dam_settings(**changed))


def drawn(args, iterations, sequence_set=0):
    """The (set, rank) of all sequences of the batches of ``iterations``, in order."""
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], args["zipf_exponent"]))
    return [
        (sequence_set, rank)
        for iteration in iterations
        for rank in sample_batch_ranks(cumulative, args["batch_size"], args["seed"], iteration).tolist()
    ]


@pytest.fixture(scope="module")
def small_dam():
    return train_dam()


@pytest.mark.parametrize("M", [5, 40, 1000])
@pytest.mark.parametrize("clear", [False, True])
def test_the_memory_is_the_last_sequences_of_the_batches(M, clear):
    results, sets = train_dam(M=M, clear_memory_at_switch=clear)
    before = drawn(results["args"], range(20))
    after = drawn(results["args"], range(20, 40), sequence_set=1)
    for state, history in (
        (results["pre_switch_state_dict"][0], before),
        (results["model_state_dict"], after if clear else before + after),
    ):
        expected = [(2 * sets[s][r] - 1).tolist() for s, r in history[-M:]]
        assert state["memory_size"] == len(expected)
        assert state["memory"].shape == (M, 12)
        assert state["memory"][: len(expected)].tolist() == expected
        assert not state["memory"][len(expected) :].any()


def test_the_first_batch_has_loss_log_2_and_updates_nothing():
    args = dam_settings()
    sets = [generate_sequence_set(2, 0, 30, 12)]
    learner = build_learner(SimpleNamespace(**args), sets)
    start = learner.state_dict()
    ranks = np.array([3, 3, 7])
    loss = learner.learn(torch.from_numpy(sets[0][ranks]), ranks)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-7)
    assert torch.equal(learner.state_dict()["A_logits"], start["A_logits"])
    assert learner.state_dict()["memory_size"] == 3
    learner.learn(torch.from_numpy(sets[0][ranks]), ranks)
    assert not torch.equal(learner.state_dict()["A_logits"], start["A_logits"])


def test_the_loss_of_a_batch_is_over_the_memory_before_it_and_repeats_count():
    args = dam_settings(M=6)
    sets = [generate_sequence_set(2, 0, 30, 12)]
    learner = build_learner(SimpleNamespace(**args), sets)
    history = []
    for ranks in ([0, 1, 1, 4], [2, 2, 0, 0], [5, 0, 4, 4, 4, 6, 7, 8]):
        state = learner.state_dict()
        batch = sets[0][ranks]
        loss = learner.learn(torch.from_numpy(batch), np.array(ranks))
        memory = [2 * sets[0][rank] - 1 for rank in history[-6:]]
        logits = (state["A_logits"].numpy().astype(float), state["B_logits"].numpy().astype(float))
        assert loss.item() == pytest.approx(reference_loss(*logits, args["eta"], memory, 2 * batch - 1), abs=1e-5)
        history += ranks


def initial_state(**changed):
    args = dam_settings(**changed)
    sets = [generate_sequence_set(args["seed"], 0, args["K"], args["N"])]
    return build_learner(SimpleNamespace(**args), sets).state_dict()


@pytest.mark.parametrize("std, changed", [(0.1, {}), (0.5, {"logits_std": 0.5})])
def test_random_initial_logits_are_normal_with_their_std(std, changed):
    state = initial_state(N=40, H=25, **changed)
    for name in ("A_logits", "B_logits"):
        logits = state[name].numpy()
        # Five standard errors of the mean and of the standard deviation.
        assert abs(logits.mean()) < 5 * std / logits.size**0.5, name
        assert abs(logits.std() - std) < 5 * std / (2 * logits.size) ** 0.5, name


@pytest.mark.parametrize("N, H", [(12, 4), (12, 5), (9, 9), (7, 1)])
def test_heads_that_read_one_bit_read_it_or_the_mean_of_what_is_revealed(N, H):
    state = initial_state(N=N, H=H, initial_heads="one_bit")
    A, B = attention(state["A_logits"].clone()), torch.softmax(state["B_logits"], dim=-1)
    positions = [h * N // H for h in range(H)]
    assert len(set(positions)) == H
    for h, read in enumerate(positions):
        assert B[h].argmax() == read and B[h, read] > 0.99
        for n in range(1, N):
            if read < n:
                assert A[n, h].argmax() == read and A[n, h, read] > 0.99
            else:
                np.testing.assert_allclose(A[n, h, :n], 1 / n, rtol=1e-6)


def test_heads_that_read_one_bit_retrieve_what_they_were_never_trained_on_and_learn_more():
    sizes = dict(N=24, H=24, K=20, M=200, eta=10.0, batch_size=20, lr=5e-2, num_switches=0)
    untrained, _ = train_dam(**sizes, initial_heads="one_bit", A_and_B_trainable=False)
    random, _ = train_dam(**sizes, A_and_B_trainable=False)
    learned, _ = train_dam(**sizes, initial_heads="one_bit", num_iters_per_set=60)
    start = initial_state(**sizes, initial_heads="one_bit")
    for name in ("A_logits", "B_logits"):
        assert torch.equal(untrained["model_state_dict"][name], start[name])
    accuracy = [results["logs"][-1]["accuracy"] for results in (random, untrained, learned)]
    assert accuracy[0] < 0.6 < 0.75 < accuracy[1] < accuracy[2]


def test_random_heads_learn_the_set_and_heads_that_read_one_bit_retrieve_any():
    sizes = dict(N=24, H=24, K=20, M=200, batch_size=20, lr=5e-2, num_switches=0, num_iters_per_set=60)
    accuracy = {}
    for heads in ("random", "one_bit"):
        table = evaluate_run(*train_dam(**sizes, initial_heads=heads), NUM_HELD_OUT)["evaluation"]
        means = table.groupby(["weights", "sequence_set"])["accuracy"].mean()
        accuracy[heads] = means["final", 0], means["new_memory_final", 1]
    assert min(accuracy["random"][0], accuracy["one_bit"][0]) > 0.75
    assert accuracy["random"][1] < 0.6 < 0.7 < accuracy["one_bit"][1]


def test_a_training_makes_the_steps_of_adam_with_its_learning_rate():
    results, sets = train_dam(
        N=4, H=2, K=6, batch_size=4, eta=3.0, lr=0.03, num_switches=0, num_iters_per_set=3, num_iters_per_epoch=1
    )
    args = results["args"]
    learner = build_learner(SimpleNamespace(**args), sets)
    logits = [learner.state_dict()[name].numpy().astype(float) for name in ("A_logits", "B_logits")]
    first, *batches = [2 * sets[0][[rank for _, rank in drawn(args, [i])]] - 1 for i in range(3)]
    memory, m, v = [*first], [0.0, 0.0], [0.0, 0.0]
    for t, batch in enumerate(batches, start=1):
        for x, gradient in enumerate(reference_gradients(logits, 3.0, memory, batch)):
            m[x] = 0.9 * m[x] + 0.1 * gradient
            v[x] = 0.999 * v[x] + 0.001 * gradient**2
            logits[x] -= 0.03 * (m[x] / (1 - 0.9**t)) / (np.sqrt(v[x] / (1 - 0.999**t)) + 1e-8)
        memory += [*batch]
    for name, expected in zip(("A_logits", "B_logits"), logits, strict=True):
        np.testing.assert_allclose(results["model_state_dict"][name], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("freeze, moving", [("none", "AB"), ("A", "B"), ("B", "A"), ("both", "")])
def test_frozen_parameters_are_bitwise_unchanged(freeze, moving):
    results, _ = train_dam(freeze=freeze, num_switches=2, weight_decay=0.1)
    first, second = results["pre_switch_state_dict"]
    for later in (second, results["model_state_dict"]):
        for letter in "AB":
            unchanged = torch.equal(first[f"{letter}_logits"], later[f"{letter}_logits"])
            assert unchanged == (letter not in moving)


def test_swaps_put_back_the_memory_or_A(small_dam):
    results, sets = small_dam
    learner = build_learner(SimpleNamespace(**results["args"]), sets)
    weights = {kind.name: kind.state_dict for kind in evaluated_weights(results, learner)}
    assert list(weights) == ["pre_switch_1", "final", "swap_memory", "swap_A"]
    before, final = weights["pre_switch_1"], weights["final"]
    for name, from_before in (("swap_memory", {"memory", "memory_size"}), ("swap_A", {"A_logits"})):
        for entry, value in weights[name].items():
            origin = before if entry in from_before else final
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(origin[entry]))


@pytest.mark.parametrize("M", [5, 40, 1000])
def test_a_new_set_is_put_into_the_memory_of_weights_that_have_not_seen_it(M):
    results, sets = train_dam(M=M)
    args = results["args"]
    never_trained = generate_sequence_set(args["seed"], 2, args["K"], args["N"])
    learner = build_learner(SimpleNamespace(**args), sets)
    weights = list(weights_with_new_memory(results, learner, sets))
    assert [name for name, *_ in weights] == ["new_memory", "new_memory_final"]
    for (_, state, _, in_memory), origin, history, sequences in (
        (weights[0], results["pre_switch_state_dict"][0], drawn(args, range(20, 40)), sets[1]),
        (weights[1], results["model_state_dict"], drawn(args, range(40, 60)), never_trained),
    ):
        assert [np.array_equal(sequences, only) for only in in_memory.values()] == [True]
        for letter in "AB":
            assert torch.equal(state[f"{letter}_logits"], origin[f"{letter}_logits"])
        expected = [(2 * sequences[rank] - 1).tolist() for _, rank in history[-M:]]
        assert state["memory_size"] == len(expected)
        assert state["memory"].shape == (M, 12)
        assert state["memory"][: len(expected)].tolist() == expected
        assert not state["memory"][len(expected) :].any()


@pytest.mark.parametrize(
    "num_switches, kinds", [(0, {"new_memory_final"}), (2, {"new_memory", "new_memory_final"})]
)
def test_a_new_set_in_the_memory_is_the_only_one_evaluated(num_switches, kinds):
    table = evaluate_run(*train_dam(num_switches=num_switches), NUM_HELD_OUT)["evaluation"]
    assert {weights for weights in table["weights"] if weights.startswith("new_memory")} == kinds
    alone = {"new_memory": {1}, "new_memory_final": {num_switches + 1}}
    for weights, rows in table.groupby("weights"):
        assert set(rows["sequence_set"]) == alone.get(weights, {-1, *range(num_switches + 1)})
    assert not table.loc[table["sequence_set"] == num_switches + 1, "num_appearances"].any()


def test_the_evaluation_is_that_of_the_equations(small_dam):
    results, sets = small_dam
    tables = evaluate_run(results, sets, NUM_HELD_OUT)
    by_sequence, by_position = tables["evaluation"], tables["positions"]
    args = results["args"]
    assert set(by_position["position"]) == set(range(12))
    for weights, state in (
        ("pre_switch_1", results["pre_switch_state_dict"][0]),
        ("final", results["model_state_dict"]),
    ):
        memory = state["memory"][: state["memory_size"]].tolist()
        logits = (state["A_logits"].numpy().astype(float), state["B_logits"].numpy().astype(float))
        for sequence_set in (0, 1):
            rows = by_sequence[(by_sequence["weights"] == weights) & (by_sequence["sequence_set"] == sequence_set)]
            for row in rows.iloc[[0, 7, 29]].itertuples():
                zeta = 2 * sets[sequence_set][row.sequence_rank] - 1
                P = reference_probabilities(*logits, args["eta"], memory, zeta)
                assert row.loss == pytest.approx(bce(P, zeta), abs=1e-4)
                assert row.accuracy == pytest.approx(np.mean((P > 0.5) == (zeta > 0)), abs=1e-6)


def test_a_bit_to_which_the_memory_gives_one_half_is_half_right():
    sets = [generate_sequence_set(2, 0, 30, 12)]
    learner = build_learner(SimpleNamespace(**dam_settings()), sets)
    loss, accuracy = learner.evaluate(sets[0])
    assert np.array_equal(accuracy, np.full((30, 12), 0.5))
    np.testing.assert_allclose(loss, math.log(2), rtol=1e-6)
    # Of what is stored, one half begins with 1: of every sequence the first bit is a tie.
    zero, one = (np.flatnonzero(sets[0][:, 0] == bit)[0] for bit in (0, 1))
    learner.append(np.array([zero, one]))
    _, accuracy = learner.evaluate(sets[0])
    assert np.array_equal(accuracy[:, 0], np.full(30, 0.5))
    assert accuracy[one, 1:].mean() > 0.5


def test_loss_and_accuracy_that_are_logged_are_those_of_the_current_set(small_dam):
    results, sets = small_dam
    for entry, state, current in (
        (results["logs"][1], results["pre_switch_state_dict"][0], 0),
        (results["logs"][-1], results["model_state_dict"], 1),
    ):
        logits = (state["A_logits"].numpy().astype(float), state["B_logits"].numpy().astype(float))
        tested = 2 * sets[current][[0, 10, 20]] - 1
        memory = state["memory"][: state["memory_size"]].tolist()
        P = [reference_probabilities(*logits, 10.0, memory, zeta) for zeta in tested]
        assert (entry["sequence_set"], entry["iter"]) == (current, 20 * (current + 1))
        assert entry["loss"] == pytest.approx(np.mean(list(map(bce, P, tested))), abs=1e-4)
        assert entry["accuracy"] == pytest.approx(np.mean((np.array(P) > 0.5) == (tested > 0)), abs=1e-6)


def test_sharpness_and_head_correlation_are_their_definitions():
    A_logits = np.random.default_rng(0).normal(size=(6, 3, 6))
    maxima = [max(softmax(list(A_logits[n, h, :n]))) for n in range(1, 6) for h in range(3)]
    assert sharpness(torch.from_numpy(A_logits)) == pytest.approx(np.mean(maxima))
    correlations = [
        np.corrcoef(A_logits[n, g, :n], A_logits[n, h, :n])[0, 1]
        for n in range(2, 6)
        for g in range(3)
        for h in range(3)
        if g != h
    ]
    assert head_correlation(torch.from_numpy(A_logits)) == pytest.approx(np.mean(correlations))
    assert math.isnan(head_correlation(torch.from_numpy(A_logits[:, :1])))
