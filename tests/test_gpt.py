"""GPT against its equations, written once more in NumPy float64, and its learner against autograd on all rows."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import learner_with_random_weights, resolved_settings
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_reference import attention, embedded, layer_norm, linear, loss_and_accuracy

from memorization.configuration.settings import GptSettings, Stage, settings_until
from memorization.models.gpt import Attention
from memorization.models.learners import build_learner
from memorization.models.transformer import TransformerLearner

SHAPES = [
    {"num_layers": 1, "num_heads": 1, "num_hidden_features": 8},
    {"num_layers": 1, "num_heads": 4, "num_hidden_features": 3},
    {"num_layers": 3, "num_heads": 1, "num_hidden_features": 6},
    {"num_layers": 3, "num_heads": 2},
    {"num_layers": 3, "num_heads": 4, "num_hidden_features": 2, "len_context": 17},
    {"num_layers": 2, "num_heads": 2, "len_context": Attention.few_positions + 2},
]


def gpt_settings(**changed):
    """The resolved settings of a run small enough for a test."""
    small = {
        "model": "gpt", "K": 30, "len_context": 12, "num_layers": 2, "num_heads": 2, "num_hidden_features": 4,
        "batch_size": 16, "lr": 1e-2, "num_iters_per_set": 20, "num_iters_per_epoch": 10, "seed": 3,
    }  # fmt: skip
    return settings_until(Stage.EVALUATION, GptSettings(**small | changed).resolved())


def build_model(**changed):
    return build_learner(SimpleNamespace(**gpt_settings(**changed)), []).model


def random_learner(**changed):
    args = gpt_settings(**changed)
    return *learner_with_random_weights(args), SimpleNamespace(**args)


def random_sequences(seed, number, len_context):
    return np.random.default_rng(seed).integers(0, 2, size=(number, len_context))


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def reference_forward(state, tokens, num_layers, num_heads):
    """Logits (B, T, 2) and attention (layers, B, heads, T, T) by the equations."""
    B, T = tokens.shape
    logits, weights = np.zeros((B, T, 2)), np.zeros((num_layers, B, num_heads, T, T))
    for b, sequence in enumerate(tokens):
        x = embedded(sequence, state)
        for layer in range(num_layers):
            block = f"h.{layer}"
            qkv = linear(layer_norm(x, state, f"{block}.ln_1"), state, f"{block}.attn.c_attn")
            attended, weights[layer, b] = attention(qkv, num_heads)
            x = x + linear(attended, state, f"{block}.attn.c_proj")
            hidden = gelu(linear(layer_norm(x, state, f"{block}.ln_2"), state, f"{block}.mlp.c_fc"))
            x = x + linear(hidden, state, f"{block}.mlp.c_proj")
        logits[b] = layer_norm(x, state, "ln_f") @ state["lm_head.weight"].T
    return logits, weights


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_attention_and_loss_follow_the_equations(shape):
    learner, state, settings = random_learner(**shape)
    sequences = random_sequences(0, 7, settings.len_context)
    tokens = torch.from_numpy(sequences[:, :-1])
    logits = learner.model(tokens).detach().numpy()
    expected, expected_weights = reference_forward(
        state, sequences[:, :-1], settings.num_layers, settings.num_heads
    )
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=1e-5)
    loss, accuracy = learner.evaluate(sequences)
    expected_loss, expected_accuracy = loss_and_accuracy(expected, sequences[:, 1:])
    np.testing.assert_allclose(loss, expected_loss, atol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, atol=1e-6)
    weights = [w.detach().numpy() for w in learner.model.attention_weights(tokens)]
    assert np.ptp(expected_weights[..., 1, 0]) > 0.1
    assert len(weights) == settings.num_layers
    np.testing.assert_allclose(np.stack(weights), expected_weights, atol=1e-5)


def test_attention_weights_are_a_distribution_over_the_positions_so_far():
    learner, _, settings = random_learner()
    sequences = torch.from_numpy(random_sequences(2, 5, settings.len_context))
    for weights in learner.model.attention_weights(sequences):
        assert weights.shape == (5, settings.num_heads, settings.len_context, settings.len_context)
        assert not weights.triu(1).any()
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


def test_changing_a_bit_changes_no_prediction_before_it():
    learner, _, settings = random_learner()
    sequences = torch.from_numpy(random_sequences(3, 5, settings.len_context))
    before = learner.model(sequences)
    for j in range(settings.len_context):
        changed = sequences.clone()
        changed[:, j] = 1 - changed[:, j]
        after = learner.model(changed)
        assert torch.equal(after[:, :j], before[:, :j])
        # Every later prediction of every sequence sees the bit.
        assert (after[:, j:] != before[:, j:]).any(dim=-1).all()


def test_state_dict_names_and_shapes_are_those_of_gpt_2():
    L, C = 11, 12
    model = build_model(num_layers=2, num_heads=3, num_hidden_features=4, len_context=L)
    expected = {"wte.weight": (2, C), "wpe.weight": (L, C)}
    for block in ("h.0", "h.1"):
        expected |= {
            f"{block}.ln_1.weight": (C,),
            f"{block}.ln_1.bias": (C,),
            f"{block}.attn.c_attn.weight": (3 * C, C),
            f"{block}.attn.c_attn.bias": (3 * C,),
            f"{block}.attn.c_proj.weight": (C, C),
            f"{block}.attn.c_proj.bias": (C,),
            f"{block}.ln_2.weight": (C,),
            f"{block}.ln_2.bias": (C,),
            f"{block}.mlp.c_fc.weight": (4 * C, C),
            f"{block}.mlp.c_fc.bias": (4 * C,),
            f"{block}.mlp.c_proj.weight": (C, 4 * C),
            f"{block}.mlp.c_proj.bias": (C,),
        }
    expected |= {"ln_f.weight": (C,), "ln_f.bias": (C,), "lm_head.weight": (2, C)}
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


@pytest.mark.parametrize("num_layers", [1, 3])
def test_initial_weights_are_normal_and_projections_smaller_by_the_root_of_their_number(num_layers):
    model = build_model(num_layers=num_layers, num_heads=8, num_hidden_features=8)
    for name, value in model.state_dict().items():
        if ".ln_" in name or name.startswith("ln_f"):
            assert torch.equal(value, torch.full_like(value, float(name.endswith("weight")))), name
        elif name.endswith("bias"):
            assert not value.any(), name
        else:
            std = 0.02 / np.sqrt(2 * num_layers) if "c_proj" in name else 0.02
            # Five standard errors of the mean and of the standard deviation.
            assert abs(value.mean()) < 5 * std / value.numel() ** 0.5, name
            assert abs(value.std() - std) < 5 * std / (2 * value.numel()) ** 0.5, name


def test_initial_weights_depend_on_the_seed_alone():
    first, same, other = (build_model(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    weights = [name for name in first if name.endswith("weight") and "ln_" not in name]
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_the_layers_start_with_different_weights():
    state = build_model().state_dict()
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        assert not torch.equal(state[f"h.0.{name}.weight"], state[f"h.1.{name}.weight"])


def with_the_usual_operations(learner):
    """The same weights; all rows of a batch go through `scaled_dot_product_attention`."""
    model = copy.deepcopy(learner.model)
    for block in model.h:
        block.attn.few_positions = 0
    return TransformerLearner(model, SimpleNamespace(**vars(learner.settings)))


@settings(max_examples=50)
@given(
    seed=st.integers(0, 1000),
    number=st.integers(1, 9),
    len_context=st.integers(2, 9),
    distinct=st.integers(1, 9),
    num_layers=st.integers(1, 3),
    num_heads=st.integers(1, 3),
    num_hidden_features=st.integers(2, 4),
    freeze=st.sampled_from(["none", "embeddings", "attention", "mlp"]),
)
def test_loss_and_gradients_are_those_of_all_sequences_of_the_batch(
    seed, number, len_context, distinct, **changed
):
    ours, _, _ = random_learner(len_context=len_context, **changed)
    ours.model.double()
    plain = with_the_usual_operations(ours)
    ranks = np.random.default_rng(seed).integers(0, distinct, size=number)
    batch = torch.from_numpy(random_sequences(seed, distinct, len_context)[ranks])
    losses = []
    for learner in (ours, plain):
        learner.freeze()
        losses.append(learner.learn(batch, ranks).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    gradients, expected = ([p.grad for p in learner.model.parameters()] for learner in (ours, plain))
    largest = max(gradient.abs().max().item() for gradient in expected if gradient is not None)
    for gradient, other in zip(gradients, expected, strict=True):
        assert (gradient is None) == (other is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, other, rtol=0, atol=1e-11 * largest)


def test_training_stays_within_rounding_of_all_sequences_of_the_batch():
    # From small initial weights, training lets rounding grow a lot, in the usual form as well.
    ours, _, settings = random_learner(lr=3e-3)
    ours.model.double()
    plain = with_the_usual_operations(ours)
    sequences = torch.from_numpy(random_sequences(7, settings.K, settings.len_context))
    for iteration in range(200):
        if iteration == 100:
            for learner in (ours, plain):
                learner.settings.freeze = "mlp"
                learner.freeze()
        ranks = np.random.default_rng(iteration).integers(0, settings.K, size=settings.batch_size)
        losses = [learner.learn(sequences[ranks], ranks).item() for learner in (ours, plain)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0] < 0.6  # of log 2 = 0.69: it learns
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-8, msg=name)


def test_a_long_evaluation_is_that_of_each_sequence():
    learner, _, settings = random_learner()
    # More sequences than are evaluated at once.
    sequences = random_sequences(8, 1500, settings.len_context)
    loss, accuracy = learner.evaluate(sequences)
    expected_loss, expected_accuracy = with_the_usual_operations(learner).evaluate(sequences)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(accuracy, expected_accuracy)


@pytest.mark.parametrize("model_settings", [gpt_settings, resolved_settings])
def test_on_other_devices_the_model_itself_computes_all_sequences(model_settings):
    args = model_settings(len_context=12) | {"device": "meta"}
    learner = build_learner(SimpleNamespace(**args), [])
    rows = []
    learner.model.register_forward_hook(lambda model, inputs, logits: rows.append(len(logits)))
    learner.optimizer = torch.optim.SGD(learner.model.parameters())  # those of the settings need numbers
    sequences = torch.empty(3, 12, dtype=torch.int64, device="meta")
    learner.learn(sequences, np.array([0, 0, 1]))
    learner._test(sequences)
    assert rows == [3, 3]
