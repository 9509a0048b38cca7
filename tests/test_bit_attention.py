"""The one-layer model through tables, against its equations and autograd."""

import copy
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import learner_with_random_weights, resolved_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_reference import loss_and_accuracy
from test_one_layer_attention import reference_forward

from memorization.models.learners import build_learner
from memorization.models.one_layer_gradients import log_odds, loss_and_gradients
from memorization.models.prefixes import Prefixes
from memorization.models.transformer import TransformerLearner

pytestmark = pytest.mark.usefixtures("one_thread")


def random_model(**changed):
    """A model in float64 whose attention is far from uniform."""
    learner, _ = learner_with_random_weights(resolved_settings(**changed))
    return learner.model.double()


def random_bits(seed, B, L, distinct=None):
    """B sequences of which at most ``distinct`` differ."""
    rng = np.random.default_rng(seed)
    pool = rng.integers(0, 2, size=(distinct or B, L))
    return torch.from_numpy(pool[rng.integers(0, len(pool), size=B)] if distinct else pool)


def weights_of(model):
    return dict(model.named_parameters())


def gradients_of_autograd(model, batch):
    """The loss of the model as it is written, and its gradients."""
    model = copy.deepcopy(model)
    loss = torch.nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def assert_equals_autograd(model, batch, rtol, **options):
    loss, gradients = loss_and_gradients(weights_of(model), model.num_heads, batch, **options)
    expected_loss, expected = gradients_of_autograd(model, batch)
    assert loss.item() == pytest.approx(expected_loss, rel=rtol)
    assert list(gradients) == list(expected)
    # Gradients can vanish but for rounding, for instance those through a LayerNorm of one feature.
    atol = 1e-12 + rtol * max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=atol, msg=name)


def scale_scores(model, spread):
    """Scale the queries: scores of the bits of a position are ``spread`` apart at most."""
    C, heads = model.wte.weight.shape[1], model.num_heads
    with torch.no_grad():
        x = model.wpe.weight[:, None] + model.wte.weight
        q, k, _ = (t.unflatten(-1, (heads, -1)) for t in model.c_attn(x).chunk(3, dim=-1))
        scores = torch.einsum("iahd,jbhd->hiajb", q, k) / (C // heads) ** 0.5
        factor = spread / (scores[..., 1] - scores[..., 0]).abs().max()
        model.c_attn.weight[:C] *= factor
        model.c_attn.bias[:C] *= factor


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    B=st.integers(1, 9),
    L=st.integers(2, 9),
    distinct=st.sampled_from([None, 1, 3]),
    num_heads=st.integers(1, 4),
    num_hidden_features=st.integers(1, 4),
    num_mlp_layers=st.integers(1, 4),
    num_hidden_features_mlp=st.integers(1, 9),
    frozen=st.sets(st.sampled_from(["embeddings", "attention", "mlp", "ln_f"]), max_size=3),
    num_rows=st.integers(1, 60),
)
def test_the_loss_and_its_gradients_are_those_of_autograd(seed, B, L, distinct, frozen, num_rows, **sizes):
    model = random_model(len_context=L, **sizes)
    for part in frozen:
        for module in model.parts.get(part, (part,)):
            getattr(model, module).requires_grad_(False)
    assert_equals_autograd(model, random_bits(seed, B, L, distinct), 1e-11, num_rows=num_rows)


@pytest.mark.parametrize("sizes", [{}, {"num_heads": 3, "num_hidden_features_mlp": 5, "num_mlp_layers": 3}])
def test_the_loss_and_its_slope_are_those_of_the_equations(sizes):
    model = random_model(len_context=6, **sizes)
    batch = random_bits(1, 4, 6)
    _, gradients = loss_and_gradients(weights_of(model), model.num_heads, batch)
    rng = np.random.default_rng(2)
    direction = {name: rng.normal(size=gradient.shape) for name, gradient in gradients.items()}

    def loss(step):
        state = {name: value.numpy() + step * direction[name] for name, value in model.state_dict().items()}
        logits = reference_forward(state, batch[:, :-1].numpy(), model.num_heads)
        return loss_and_accuracy(logits, batch[:, 1:].numpy())[0].mean()

    slope = sum((gradients[name].numpy() * direction[name]).sum() for name in gradients)
    assert loss_and_gradients(weights_of(model), model.num_heads, batch)[0].item() == pytest.approx(loss(0))
    assert slope == pytest.approx((loss(1e-6) - loss(-1e-6)) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("bit", [0, 1])
def test_a_position_may_have_the_same_bit_in_all_sequences(bit):
    batch = random_bits(3, 6, 8)
    batch[:, [0, 3, 6]] = bit
    assert_equals_autograd(random_model(len_context=8), batch, 1e-11)


@pytest.mark.parametrize("spread", [1e-3, 30, 88, 200, 709])
def test_scores_far_apart_lose_nothing(spread):
    model = random_model(len_context=10)
    scale_scores(model, spread)
    assert_equals_autograd(model, random_bits(4, 12, 10), 1e-11)


@pytest.mark.parametrize("spread, in_range", [(30, True), (88, True), (100, True), (709, True), (2000, False)])
def test_in_single_precision_scores_far_apart_lose_nothing_either(spread, in_range):
    learner, _ = learner_with_random_weights(resolved_settings(len_context=10))
    scale_scores(learner.model, spread)
    batch = random_bits(4, 12, 10)
    expected_loss, expected = gradients_of_autograd(copy.deepcopy(learner.model).double(), batch)
    assert (loss_and_gradients(weights_of(learner.model), 2, batch) is not None) == in_range
    assert (log_odds(weights_of(learner.model), 2, batch) is not None) == in_range
    # If the tables cannot hold the scores, the learner uses the model as it is written.
    loss, _ = learner.evaluate(batch.numpy())
    assert loss.mean() == pytest.approx(expected_loss, rel=1e-4)
    assert learner.learn(batch, np.arange(12)).item() == pytest.approx(expected_loss, rel=1e-4)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, parameter in learner.model.named_parameters():
        assert (parameter.grad - expected[name]).abs().max() < 1e-4 * largest, name


def test_the_tables_do_not_hold_scores_that_are_not_numbers():
    model = random_model()
    with torch.no_grad():
        model.wpe.weight[7, 1] = torch.nan
    for num_rows in (1, 100):
        assert loss_and_gradients(weights_of(model), model.num_heads, random_bits(0, 4, 12), num_rows) is None


def test_a_sequence_is_predicted_alike_alone_and_among_others():
    model = random_model()
    sequences = random_bits(5, 40, 12, distinct=30)
    together = log_odds(weights_of(model), model.num_heads, sequences)
    alone = [log_odds(weights_of(model), model.num_heads, sequence) for sequence in sequences.split(1)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


def test_the_evaluation_is_that_of_the_model_as_it_is_written():
    learner, _ = learner_with_random_weights(resolved_settings(len_context=6))
    # More sequences than are evaluated at once.
    sequences = random_bits(6, 1500, 6).numpy()
    loss, accuracy = learner.evaluate(sequences)
    expected_loss, expected_accuracy = TransformerLearner(learner.model, learner.settings).evaluate(sequences)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(accuracy, expected_accuracy)


def test_the_more_probable_value_counts_however_little_more_probable_it_is():
    learner, _ = learner_with_random_weights(resolved_settings())
    as_written = TransformerLearner(learner.model, learner.settings)
    sequences = random_bits(6, 30, 12).numpy()
    head = learner.model.lm_head

    def expected_log_odds():
        state = {name: value.numpy().astype(float) for name, value in learner.state_dict().items()}
        return np.diff(reference_forward(state, sequences[:, :-1], 2))[..., 0]

    with torch.no_grad():
        head.weight *= 1e-3
        # Each value is the more probable one for half of the bits.
        head.bias[1] -= np.median(expected_log_odds())
    z = expected_log_odds()
    assert np.abs(z).max() < 0.01
    for form in (learner, as_written):
        _, accuracy = form.evaluate(sequences)
        np.testing.assert_array_equal(accuracy, (z > 0) == sequences[:, 1:])
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    for form in (learner, as_written):
        loss, accuracy = form.evaluate(sequences)
        np.testing.assert_allclose(loss, np.log(2), rtol=1e-6)
        np.testing.assert_array_equal(accuracy, 0.5)


@pytest.mark.parametrize("changed", [{}, {"optimizer": "adamw", "weight_decay": 0.1, "num_mlp_layers": 3}])
def test_training_stays_within_rounding_of_the_model_as_it_is_written(changed):
    args = resolved_settings(**changed)
    ours, plain = (build_learner(SimpleNamespace(**args), []) for _ in range(2))
    ours.model.double()
    plain = TransformerLearner(plain.model.double(), plain.settings)
    sequences = random_bits(7, args["K"], args["len_context"])
    for iteration in range(200):
        if iteration == 100:
            for learner in (ours, plain):
                learner.settings.freeze = "mlp"
                learner.freeze()
        ranks = np.random.default_rng(iteration).integers(0, args["K"], size=args["batch_size"])
        losses = [learner.learn(sequences[ranks], ranks).item() for learner in (ours, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0] < 0.66  # of log 2 = 0.69: it learns
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-8, msg=name)


def bytes_of(model, batch):
    loss, gradients = loss_and_gradients(weights_of(model), model.num_heads, batch)
    return [value.numpy().tobytes() for value in (loss, *gradients.values())]


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_same_threads_give_the_same_bytes(num_threads):
    torch.set_num_threads(num_threads)
    torch.set_deterministic_debug_mode("error")
    model = random_model(len_context=20, num_heads=4, num_hidden_features=8).float()
    batch = random_bits(8, 100, 20)
    assert bytes_of(model, batch) == bytes_of(model, batch)


def test_no_number_is_read_before_it_is_written():
    torch.set_deterministic_debug_mode("error")
    model, batch = random_model(len_context=20), random_bits(9, 30, 20, distinct=20)
    found = []
    for filled_with_nan in (True, False):
        torch.utils.deterministic.fill_uninitialized_memory = filled_with_nan
        found.append(bytes_of(model, batch))
    assert found[0] == found[1]
    assert not any(np.isnan(np.frombuffer(value)).any() for value in found[0])


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    B=st.integers(1, 30),
    L=st.integers(2, 12),
    distinct=st.sampled_from([None, 1, 4]),
    num_positions=st.integers(1, 5),
)
def test_each_distinct_prefix_is_one_row_and_counts_as_often_as_it_occurs(seed, B, L, distinct, num_positions):
    sequences = random_bits(seed, B, L, distinct)
    prefixes = Prefixes(sequences, torch.float64)
    found, number = [], 0
    for block in prefixes.blocks(num_positions):
        queries = [(i, a) for i in range(block.first, block.end) for a in (0, 1)]
        position_and_bit = [query for query, size in zip(queries, block.sizes, strict=True) for _ in range(size)]
        for row, (position, bit) in enumerate(position_and_bit):
            pairs = block.one_hot[row].view(-1, 2)
            assert (pairs.sum(dim=1) == 1).all()
            prefix = tuple(pairs[: position + 1, 1].int().tolist())
            assert prefix[-1] == bit
            found.append((prefix, *block.counts[:, row].int().tolist()))
        number += len(position_and_bit)
    following = Counter((tuple(s[: i + 1]), s[i + 1]) for s in sequences.tolist() for i in range(L - 1))
    expected = {prefix: (following[prefix, 0], following[prefix, 1]) for prefix, _ in following}
    assert len(found) == len(expected)
    assert {prefix: (zeros, ones) for prefix, zeros, ones in found} == expected
    rows = {prefix: row for row, (prefix, _, _) in enumerate(found)}
    of_each = prefixes.of_each_sequence(torch.arange(number, dtype=torch.float64))
    assert of_each.tolist() == [[rows[tuple(s[: i + 1])] for i in range(L - 1)] for s in sequences.tolist()]
