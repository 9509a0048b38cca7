"""The number of parameters: how it is counted and where it is saved."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import NUM_HELD_OUT, resolved_settings, trained
from test_dam import dam_settings
from test_gpt import gpt_settings

from memorization.models.learners import build_learner
from memorization.sequences import generate_sequence_set
from memorization.storage.cache import read_pickle, read_table, write_pickle, write_table
from memorization.training.evaluation import evaluate_run

SETTINGS = {"one_layer_attention": resolved_settings, "gpt": gpt_settings, "dam": dam_settings}
SHAPES = {
    "one_layer_attention": [
        {"len_context": 9, "num_heads": 1},
        {"len_context": 9, "num_heads": 1, "num_hidden_features": 1, "num_mlp_layers": 1},
        {"len_context": 14, "num_heads": 3, "num_hidden_features": 5, "num_mlp_layers": 2},
        {"len_context": 14, "num_heads": 2, "num_hidden_features_mlp": 7, "num_mlp_layers": 1},
        {"len_context": 11, "num_heads": 4, "num_hidden_features_mlp": 40, "num_mlp_layers": 4},
        {"len_context": 11, "num_heads": 2, "attention_init": "zero", "attention_trainable": False},
        {"len_context": 11, "num_heads": 2, "mlp_trainable": False},
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


def small_learner(args):
    return build_learner(SimpleNamespace(**args), [generate_sequence_set(0, 0, args["K"], args["len_context"])])


def number_by_formula(args):
    """The number of weights and biases by the equations of the model, written out."""
    if args["model"] == "dam":
        # Of the logits of A those of the n bits before bit n, and all of B.
        return args["H"] * (args["N"] * (args["N"] - 1) // 2 + args["N"])
    C = args["num_heads"] * args["num_hidden_features"]
    embeddings, norm = (2 + args["len_context"]) * C, 2 * C
    if args["model"] == "gpt":
        attention, mlp = 4 * C * (C + 1), 4 * C * (C + 1) + C * (4 * C + 1)
        return embeddings + args["num_layers"] * (attention + mlp + 2 * norm) + norm + 2 * C
    C_mlp = args["num_hidden_features_mlp"]
    mlp = (C + 1) * C_mlp + (args["num_mlp_layers"] - 1) * (C_mlp + 1) * C_mlp + (C_mlp + 1) * 2
    return embeddings + 3 * C * (C + 1) + norm + mlp


@pytest.mark.parametrize("model", SHAPES)
def test_the_number_of_parameters_is_that_of_the_equations(model):
    for shape in SHAPES[model]:
        args = SETTINGS[model](**shape)
        assert small_learner(args).num_parameters == number_by_formula(args), shape


@pytest.mark.parametrize("model", SHAPES)
def test_the_number_is_saved_with_the_results_and_with_the_table_that_is_made_of_them(model, tmp_path):
    args = SETTINGS[model](num_iters_per_set=10)
    assert "num_parameters" not in args
    results, sets = trained(args)
    write_pickle(results, tmp_path / "run.pkl")
    results = read_pickle(tmp_path / "run.pkl")
    assert results["args"] == {**args, "num_parameters": number_by_formula(args)}
    written = []
    for name in ("first.parquet", "second.parquet"):
        write_table(evaluate_run(results, sets, NUM_HELD_OUT)["evaluation"], tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    for columns in (None, ["weights", "loss"]):
        table = read_table(tmp_path / "first.parquet", columns=columns)
        assert table.attrs == {"num_parameters": number_by_formula(args)}


def test_no_prediction_of_the_dam_depends_on_the_logits_that_are_not_counted():
    N = 12
    learner = small_learner(dam_settings(N=N))
    learner.append(np.arange(10))
    sequences = generate_sequence_set(1, 0, 20, N)
    before, _ = learner.evaluate(sequences)
    with torch.no_grad():
        for n in range(N):
            learner.A_logits[n, :, n:] += 3
    assert np.array_equal(learner.evaluate(sequences)[0], before)
    # The comparison can tell: it does depend on the logits that are counted.
    with torch.no_grad():
        for n in range(2, N):
            learner.A_logits[n, :, 0] += 3
    assert not np.array_equal(learner.evaluate(sequences)[0], before)
