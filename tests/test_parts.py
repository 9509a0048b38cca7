"""The parts of a transformer: how they are frozen, swapped and saved."""

import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
import torch
from conftest import NUM_HELD_OUT, resolved_settings, trained
from test_gpt import gpt_settings
from torch import nn
from torch.nn import functional as F

from memorization.models.learners import build_learner, initial_generator
from memorization.models.transformer import TransformerLearner, causal_attention_weights, initialise, split_heads
from memorization.training.evaluation import evaluate_run, evaluated_weights


class AttentionOnly(nn.Module):
    """A transformer without an MLP, whose head is in no part."""

    parts: ClassVar = {"attention": ("c_attn",), "embeddings": ("wte", "wpe")}

    def __init__(self, settings, generator):
        super().__init__()
        self.num_heads = settings.num_heads
        C = settings.num_heads * settings.num_hidden_features
        self.wte, self.wpe = nn.Embedding(2, C), nn.Embedding(settings.len_context, C)
        self.c_attn, self.lm_head = nn.Linear(C, 3 * C), nn.Linear(C, 2)
        initialise(self, generator)

    def queries_keys_values(self, tokens):
        return split_heads(self.c_attn(self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]), self.num_heads)

    def forward(self, tokens):
        attended = F.scaled_dot_product_attention(*self.queries_keys_values(tokens), is_causal=True)
        return self.lm_head(attended.transpose(1, 2).flatten(2))

    def attention_weights(self, tokens):
        return [causal_attention_weights(*self.queries_keys_values(tokens)[:2])]


def attention_only_settings(**changed):
    settings = resolved_settings(**changed)
    del settings["num_layers"], settings["num_mlp_layers"], settings["num_hidden_features_mlp"]
    return settings | {"model": "attention_only"}


@pytest.fixture(scope="module")
def attention_only():
    """Make `AttentionOnly` a model that a run can name, as a file of the package does."""
    module = ModuleType("memorization.models.attention_only")
    module.build = lambda settings, sets: TransformerLearner(
        AttentionOnly(settings, initial_generator(settings)), settings
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)
        yield


# The settings of a small run, its optimiser, and the modules of each part.
MODELS = {
    "one_layer_attention": (
        resolved_settings,
        "adam",
        {"mlp": ("linear_modules", "lm_head"), "attention": ("c_attn",), "embeddings": ("wte", "wpe")},
    ),
    "gpt": (
        gpt_settings,
        "adamw",
        {"mlp": ("h.0.mlp", "h.1.mlp", "lm_head"), "attention": ("h.0.attn", "h.1.attn"),
         "embeddings": ("wte", "wpe")},
    ),
    "attention_only": (
        attention_only_settings, "adam", {"attention": ("c_attn",), "embeddings": ("wte", "wpe")},
    ),
}  # fmt: skip


class Runs(SimpleNamespace):
    """Runs of one model with two switches that differ in ``freeze`` alone."""

    def part_of(self, entry):
        """The part that an entry of the state dict belongs to, None if it is in none."""
        module = entry.rpartition(".")[0] + "."
        names = [name for name, modules in self.parts.items() for m in modules if module.startswith(f"{m}.")]
        assert len(names) <= 1
        return names[0] if names else None


@pytest.fixture(scope="module", params=MODELS)
def runs(request, attention_only):
    settings, optimizer, parts = MODELS[request.param]
    results = {
        freeze: trained(settings(freeze=freeze, num_switches=2, optimizer=optimizer, weight_decay=0.1))
        for freeze in ("none", *parts)
    }
    sets = results["none"][1]
    learner = build_learner(SimpleNamespace(**results["none"][0]["args"]), sets)
    return Runs(parts=parts, results={name: run[0] for name, run in results.items()}, sets=sets, learner=learner)


def test_a_frozen_part_is_bitwise_unchanged_after_the_switch_and_all_else_moves(runs):
    for freeze, results in runs.results.items():
        start, before = results["pre_switch_state_dict"]
        assert {runs.part_of(name) for name in start} >= runs.parts.keys()
        for name in start:
            frozen = runs.part_of(name) == freeze
            assert torch.equal(start[name], before[name]) == frozen, (freeze, name)
            assert torch.equal(start[name], results["model_state_dict"][name]) == frozen, (freeze, name)


def test_freezing_changes_nothing_before_the_switch(runs):
    free = runs.results["none"]["pre_switch_state_dict"][0]
    for results in runs.results.values():
        for name, value in free.items():
            assert torch.equal(value, results["pre_switch_state_dict"][0][name]), name


def test_swapped_parts_are_bitwise_those_before_the_first_switch_and_the_rest_is_final(runs):
    weights = {kind.name: kind.state_dict for kind in evaluated_weights(runs.results["none"], runs.learner)}
    swapped = [part for part in ("mlp", "attention") if part in runs.parts]
    kinds = ["pre_switch_1", "pre_switch_2", "final", *(f"swap_{part}" for part in swapped)]
    assert list(weights) == kinds
    for part in swapped:
        assert list(weights[f"swap_{part}"]) == list(weights["final"])
        for name, value in weights[f"swap_{part}"].items():
            from_before = runs.part_of(name) == part
            assert torch.equal(value, weights["pre_switch_1"][name]) == from_before, (part, name)
            assert torch.equal(value, weights["final"][name]) != from_before, (part, name)


def test_swapping_a_frozen_part_back_is_the_final_model(runs):
    tables = evaluate_run(runs.results["attention"], runs.sets, NUM_HELD_OUT)
    table = tables["evaluation"].set_index("weights")
    for column in ("loss", "accuracy"):
        assert table.loc["swap_attention", column].tolist() == table.loc["final", column].tolist()
    mapped = {"pre_switch_1", "pre_switch_2", "final", *runs.learner.swaps}
    assert set(table.index) == set(tables["attention"]["weights"]) == mapped


def test_the_results_hold_each_swapped_part_before_the_switch_and_at_the_end(runs):
    results = runs.results["none"]
    parts = [part for part in runs.parts if part != "embeddings"]
    assert [key for key in results if key.endswith("_state_dict")] == [
        "pre_switch_state_dict",
        "saved_state_dict",
        "model_state_dict",
        *(f"{part}_state_dict" for part in parts),
    ]
    states = {"pre_switch": results["pre_switch_state_dict"][0], "post_switch": results["model_state_dict"]}
    for part in parts:
        for moment, state in states.items():
            modules = results[f"{part}_state_dict"][moment]
            assert tuple(modules) == runs.parts[part]
            held = {f"{module}.{name}": value for module in modules for name, value in modules[module].items()}
            assert set(held) == {name for name in state if runs.part_of(name) == part}
            assert all(torch.equal(value, state[name]) for name, value in held.items())


def test_a_part_that_a_model_lacks_cannot_be_frozen(attention_only):
    with pytest.raises(ValueError, match='freeze: "mlp" is not one of none, attention, embeddings'):
        trained(attention_only_settings(freeze="mlp"))
