"""Trunks and branches: what is trained in two jobs, or stopped and continued, ends with the same bytes."""

import pytest
from conftest import resolved_settings, sets_of
from test_dam import dam_settings
from test_gpt import gpt_settings

from memorization.configuration.settings import Stage, settings_until
from memorization.storage.cache import read_pickle, write_pickle
from memorization.training.training import Training

SETTINGS = {"one_layer_attention": resolved_settings, "gpt": gpt_settings, "dam": dam_settings}
BRANCHES = [
    ("one_layer_attention", {}),
    ("one_layer_attention", {"freeze": "attention", "num_switches": 2}),
    ("one_layer_attention", {"freeze": "mlp", "optimizer": "adamw", "weight_decay": 0.1}),
    ("one_layer_attention", {"reset_optimizer_at_switch": True, "num_switches": 2}),
    ("one_layer_attention", {"reset_model_at_switch": True}),
    ("gpt", {"freeze": "attention", "num_switches": 2}),
    ("gpt", {"freeze": "mlp", "optimizer": "adamw", "weight_decay": 0.1}),
    ("gpt", {"freeze": "embeddings"}),
    ("dam", {}),
    ("dam", {"freeze": "A", "num_switches": 2}),
    ("dam", {"freeze": "both", "clear_memory_at_switch": True}),
    ("dam", {"reset_optimizer_at_switch": True, "M": 200}),
    ("dam", {"reset_model_at_switch": True}),
    ("one_layer_attention", {"lr_after_switch": 1e-3, "num_switches": 2, "test_stride": 7}),
    ("gpt", {"batch_size_after_switch": 3, "reset_model_at_switch": True}),
    ("dam", {"lr_after_switch": 1e-3, "batch_size_after_switch": 3}),
    ("dam", {"num_switches": 2, "num_iters_of_last_set": 10}),
]


def settings_and_sets(model, changed):
    args = SETTINGS[model](**changed)
    return args, *sets_of(args)


def written_and_read(content, path):
    write_pickle(content, path)
    return read_pickle(path)


@pytest.mark.parametrize("model, changed", BRANCHES)
def test_a_branch_and_a_continued_training_end_with_the_bytes_of_the_run_trained_alone(model, changed, tmp_path):
    args, sets, starts = settings_and_sets(model, changed)
    alone = Training(args, sets, starts)
    alone.run(args["num_iters"])
    write_pickle(alone.results(), tmp_path / "alone.pkl")

    trunk = Training(settings_until(Stage.SWITCH, args), sets[:1], [0])
    trunk.run(args["num_iters_per_set"])
    branch = Training(args, sets, starts)
    branch.restore(written_and_read(trunk.checkpoint(), tmp_path / "trunk.pkl"))
    branch.run(args["num_iters"])
    write_pickle(branch.results(), tmp_path / "branch.pkl")
    assert (tmp_path / "branch.pkl").read_bytes() == (tmp_path / "alone.pkl").read_bytes()

    continued = Training(args, sets, starts)
    # In an epoch, at its end, at a switch, just after it at a test, between two tests.
    for stop in (7, 10, 20, 21, 24, 33):
        continued.run(stop)
        checkpoint = written_and_read(continued.checkpoint(), tmp_path / "checkpoint.pkl")
        continued = Training(args, sets, starts)
        continued.restore(checkpoint)
        assert continued.iteration == stop
    continued.run(args["num_iters"])
    write_pickle(continued.results(), tmp_path / "continued.pkl")
    assert (tmp_path / "continued.pkl").read_bytes() == (tmp_path / "alone.pkl").read_bytes()


@pytest.mark.parametrize("model", SETTINGS)
def test_reset_model_trains_the_next_set_from_the_initial_weights(model):
    args, sets, starts = settings_and_sets(model, {"reset_model_at_switch": True})
    training = Training(args, sets, starts)
    initial = training.learner.state_dict()
    training.run(args["num_iters_per_set"])
    trained = training.learner.state_dict()
    training._switch()
    anew = training.learner.state_dict()
    names = [name for name in initial if name not in ("memory", "memory_size")]
    assert all((initial[name] == anew[name]).all() for name in names)
    assert not all((trained[name] == anew[name]).all() for name in names)


def test_reset_optimizer_forgets_the_moments_at_each_switch():
    args, sets, starts = settings_and_sets("one_layer_attention", {"reset_optimizer_at_switch": True})
    training = Training(args, sets, starts)
    training.run(args["num_iters_per_set"])
    assert training.learner.optimizer.state
    training._switch()
    assert not training.learner.optimizer.state
