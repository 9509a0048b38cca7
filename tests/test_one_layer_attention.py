"""The model against its equations, written once more in NumPy float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import learner_with_random_weights, resolved_settings
from numpy_reference import attention, embedded, layer_norm, linear, loss_and_accuracy

from memorization.models.learners import build_learner


def reference_forward(state, tokens, num_heads):
    """Logits (B, T, 2) by the equations."""
    logits = np.zeros((*tokens.shape, 2))
    for b, sequence in enumerate(tokens):
        attended, _ = attention(linear(embedded(sequence, state), state, "c_attn"), num_heads)
        y = layer_norm(attended, state, "ln_f")
        i = 0
        while f"linear_modules.{i}.weight" in state:
            z = linear(y, state, f"linear_modules.{i}")
            y = np.maximum(z, 0) if i == 0 else np.maximum(z, 0) + y
            i += 1
        logits[b] = linear(y, state, "lm_head")
    return logits


def random_learner(**changed):
    args = resolved_settings(**changed)
    return *learner_with_random_weights(args), SimpleNamespace(**args)


def build_model(**changed):
    return build_learner(SimpleNamespace(**resolved_settings(**changed)), []).model


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"num_heads": 1, "num_hidden_features": 8},
        {"num_heads": 4, "num_hidden_features": 3, "num_mlp_layers": 3},
        {"num_hidden_features_mlp": 5, "num_mlp_layers": 1},
    ],
)
def test_forward_and_loss_follow_the_equations(changed):
    learner, state, settings = random_learner(**changed)
    sequences = np.random.default_rng(0).integers(0, 2, size=(7, settings.len_context))
    logits = learner.model(torch.from_numpy(sequences[:, :-1])).detach().numpy()
    expected = reference_forward(state, sequences[:, :-1], settings.num_heads)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(logits, expected, atol=1e-5, rtol=1e-5)
    loss, accuracy = learner.evaluate(sequences)
    expected_loss, expected_accuracy = loss_and_accuracy(expected, sequences[:, 1:])
    np.testing.assert_allclose(loss, expected_loss, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(accuracy, expected_accuracy, atol=1e-6)


def test_changing_a_bit_changes_no_prediction_before_it():
    learner, _, settings = random_learner()
    sequences = torch.from_numpy(np.random.default_rng(1).integers(0, 2, size=(5, settings.len_context)))
    before = learner.model(sequences)
    for j in range(settings.len_context):
        changed = sequences.clone()
        changed[:, j] = 1 - changed[:, j]
        after = learner.model(changed)
        assert torch.equal(after[:, :j], before[:, :j])
        assert not torch.equal(after[:, j:], before[:, j:])


def test_state_dict_names_and_shapes_are_the_contract():
    model = build_model(num_heads=3, num_hidden_features_mlp=7, num_mlp_layers=3)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == {
        "wte.weight": (2, 12),
        "wpe.weight": (12, 12),
        "c_attn.weight": (36, 12),
        "c_attn.bias": (36,),
        "ln_f.weight": (12,),
        "ln_f.bias": (12,),
        "linear_modules.0.weight": (7, 12),
        "linear_modules.0.bias": (7,),
        "linear_modules.1.weight": (7, 7),
        "linear_modules.1.bias": (7,),
        "linear_modules.2.weight": (7, 7),
        "linear_modules.2.bias": (7,),
        "lm_head.weight": (2, 7),
        "lm_head.bias": (2,),
    }


def test_initial_weights_are_normal_with_std_0_02_and_biases_zero():
    model = build_model(num_heads=8, num_hidden_features=16)
    for name, value in model.state_dict().items():
        if name.startswith("ln_f"):
            assert torch.equal(value, torch.full_like(value, float(name.endswith("weight"))))
        elif name.endswith("bias"):
            assert not value.any()
        else:
            # Five standard errors of the mean and of the standard deviation.
            assert abs(value.mean()) < 5 * 0.02 / value.numel() ** 0.5
            assert abs(value.std() - 0.02) < 5 * 0.02 / (2 * value.numel()) ** 0.5


def test_queries_and_keys_have_an_initial_size_of_their_own():
    usual, large = build_model(), build_model(attention_init_std=1.0)
    C = large.wte.weight.shape[1]
    queries_and_keys = large.c_attn.weight[: 2 * C]
    assert abs(queries_and_keys.std() - 1) < 5 / (2 * queries_and_keys.numel()) ** 0.5
    for name, value in usual.state_dict().items():
        same = large.state_dict()[name]
        if name == "c_attn.weight":
            value, same = value[2 * C :], same[2 * C :]
        assert torch.equal(value, same), name
    attention = large.attention_weights(torch.tensor([[0, 1, 1, 0, 1, 0]]))[0]
    uniform = torch.tril(torch.ones(6, 6)) / torch.arange(1, 7)[:, None]
    assert (attention - uniform).abs().max() > 1e-3


def test_mlp_and_head_have_an_initial_size_of_their_own():
    usual, large = build_model().state_dict(), build_model(mlp_init_std=0.5).state_dict()
    for name, value in usual.items():
        factor = 25 if name.startswith(("linear_modules", "lm_head")) else 1
        torch.testing.assert_close(large[name], factor * value)


def test_initial_weights_depend_on_the_seed_alone():
    first, same, other = (build_model(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["c_attn.weight"], other["c_attn.weight"])


def test_zero_attention_weighs_all_positions_alike():
    model = build_model(attention_init="zero")
    queries, keys_and_values = model.c_attn.weight.split([8, 16])
    assert not queries.any()
    assert keys_and_values.all()
    sequences = torch.from_numpy(np.random.default_rng(2).integers(0, 2, size=(4, 12)))
    (weights,) = model.attention_weights(sequences)
    expected = torch.ones(12, 12).tril() / torch.arange(1, 13)[:, None]
    torch.testing.assert_close(weights, expected.expand_as(weights))
