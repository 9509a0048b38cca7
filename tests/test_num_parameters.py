"""The number of parameters that the settings state, against a count of those that are built."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from memorization.configuration.settings import SETTINGS_OF_MODEL
from memorization.models.learners import build_learner
from memorization.sequences import generate_sequence_set

COMMON = {"K": 5, "batch_size": 4, "num_iters_per_set": 1, "num_iters_per_epoch": 1, "seed": 0}
SHAPES = {
    "one_layer_attention": [
        {"len_context": 9, "num_heads": 1},
        {"len_context": 9, "num_heads": 1, "num_hidden_features": 1, "num_mlp_layers": 1},
        {"len_context": 14, "num_heads": 3, "num_hidden_features": 5, "num_mlp_layers": 2},
        {"len_context": 14, "num_heads": 2, "num_hidden_features_mlp": 7, "num_mlp_layers": 1},
        {"len_context": 11, "num_heads": 4, "num_hidden_features_mlp": 40, "num_mlp_layers": 4},
        {"len_context": 11, "num_heads": 2, "attention_init": "zero", "attention_trainable": False},
    ],
    "gpt": [
        {"len_context": 9, "num_layers": 1, "num_heads": 1},
        {"len_context": 9, "num_layers": 1, "num_heads": 1, "num_hidden_features": 1},
        {"len_context": 14, "num_layers": 2, "num_heads": 3, "num_hidden_features": 5},
        {"len_context": 11, "num_layers": 5, "num_heads": 4},
    ],
    "dam": [
        {"N": 9, "H": 1, "M": 3},
        {"N": 10, "H": 1, "M": 30},
        {"N": 10, "H": 4, "M": 7},
        {"N": 15, "H": 6, "M": 7},
    ],
}


def settings_and_learner(model, shape):
    settings = SETTINGS_OF_MODEL[model](model=model, **COMMON, **shape).resolved()
    sets = [generate_sequence_set(0, s, COMMON["K"], settings["len_context"]) for s in range(2)]
    return settings, build_learner(SimpleNamespace(**settings), sets)


def used_parameters(model, learner):
    """The parameters that some prediction depends on: of the DAM those of the bits before the predicted one."""
    if model == "dam":
        N, H = learner.settings.N, learner.settings.H
        return [*(learner.A_logits[n, h, :n] for n in range(N) for h in range(H)), learner.B_logits]
    return list(learner.model.parameters())


@pytest.mark.parametrize(
    "model, shape", [(model, shape) for model in SETTINGS_OF_MODEL for shape in SHAPES[model]]
)
def test_the_number_of_parameters_is_that_of_the_learner(model, shape):
    settings, learner = settings_and_learner(model, shape)
    assert settings["num_parameters"] == sum(p.numel() for p in used_parameters(model, learner))


@pytest.mark.parametrize("shape", SHAPES["dam"])
def test_no_prediction_of_the_dam_depends_on_the_logits_that_are_not_counted(shape):
    _, learner = settings_and_learner("dam", shape)
    learner.append(np.arange(2 * COMMON["K"]))
    sequences = generate_sequence_set(1, 0, 20, shape["N"])
    before, _ = learner.evaluate(sequences)
    with torch.no_grad():
        for n in range(shape["N"]):
            learner.A_logits[n, :, n:] += 3
    assert np.array_equal(learner.evaluate(sequences)[0], before)
    # That the counted ones matter shows that the comparison could tell.
    with torch.no_grad():
        for n in range(2, shape["N"]):
            learner.A_logits[n, :, 0] += 3
    assert not np.array_equal(learner.evaluate(sequences)[0], before)
