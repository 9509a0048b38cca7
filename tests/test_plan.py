"""The plan: what is said of a configuration before anything is run is what its runs write."""

import os
import pstats
import subprocess
import sys
from collections import Counter

import pytest
import yaml
from conftest import REPOSITORY, resolved_settings, sets_of, snakemake, trained
from test_dam import dam_settings
from test_gpt import gpt_settings

from memorization.configuration.cost import SECONDS_OF_TRUNK, seconds_of_iteration
from memorization.configuration.experiments import Run
from memorization.configuration.plan import (
    BYTES_BESIDE_RUN,
    BYTES_BESIDE_TRUNK,
    MOST_OF_RUN,
    amount_of,
    amount_of_run,
    bytes_of_checkpoint,
    bytes_of_trunk,
    first_set_alone,
    out_of_proportion,
    rows_of_tables,
    seconds_of_first_set,
    told_plan,
)
from memorization.configuration.settings import SETTINGS_OF_MODEL
from memorization.storage.cache import write_pickle, write_sequences, write_table
from memorization.training.checkpoints import Checkpoint
from memorization.training.evaluation import evaluate_run
from memorization.training.training import Training

SETTINGS = {"one_layer_attention": resolved_settings, "gpt": gpt_settings, "dam": dam_settings}
SHAPES = [
    {"num_switches": 0},
    {"num_switches": 1, "num_iters_of_last_set": 10, "saved_iters": [1, 7, 15], "test_stride": 3},
    {"num_switches": 2, "test_earlier_sets": False, "test_iters_after_switch": [1, 3, 10], "K": 60},
]


of_every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["no switch", "a short last set", "two switches"])


@pytest.mark.parametrize("model", SETTINGS)
@of_every_shape
def test_rows_and_bytes_are_those_that_a_run_writes(model, shape, tmp_path, one_thread):
    num_held_out = 200
    args = SETTINGS[model](num_iters_per_set=20, num_iters_per_epoch=10, **shape)
    settings = args | {"num_held_out": num_held_out}
    results, sets = trained(args)
    tables = evaluate_run(results, sets, num_held_out)
    assert rows_of_tables(settings) == {name: len(table) for name, table in tables.items()}
    write_sequences(sets, [20 * i for i in range(len(sets))], tmp_path / "sequences.pkl")
    write_pickle(results, tmp_path / "run.pkl")
    for name, table in tables.items():
        write_table(table, tmp_path / f"{name}.parquet")
    # Within a factor of 2: the predictions of barely trained weights are alike, and small. The cache of
    # a whole workflow is compared within 1.3, in test_workflow.py.
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written / 2 < amount_of_run(settings).bytes - BYTES_BESIDE_RUN < 2 * written
    if args["num_switches"]:
        trunk = Training(args, sets[:1], [0])
        trunk.run(20)
        write_pickle(trunk.checkpoint(), tmp_path / "trunk.pkl")
        size = (tmp_path / "trunk.pkl").stat().st_size
        assert size / 1.5 < bytes_of_trunk(settings) - BYTES_BESIDE_TRUNK < 1.5 * size


@pytest.mark.parametrize("model", SETTINGS)
@of_every_shape
def test_the_checkpoint_that_a_run_leaves_is_as_large_as_the_plan_says(model, shape, tmp_path, one_thread):
    args = SETTINGS[model](num_iters_per_set=20, num_iters_per_epoch=10, **shape)
    checkpoint = Checkpoint(tmp_path / "run.pkl", "code", args, seconds=300)
    checkpoint.run(Training(args, *sets_of(args)), args["num_iters"])
    size = checkpoint.path.stat().st_size
    assert size / 1.2 < bytes_of_checkpoint(args) < 1.2 * size


@pytest.mark.parametrize(
    "setting, value",
    [
        ("num_switches", 10_000),
        ("K", 10**8),
        ("num_iters_per_set", 10**9),
        ("num_held_out", 10**8),
        ("num_layers", 10**7),
        ("num_hidden_features", 10**6),
        ("num_hidden_features_mlp", 10**8),
        ("batch_size", 3 * 10**7),
        ("batch_size_after_switch", 3 * 10**7),
    ],
)
def test_an_experiment_out_of_proportion_is_named_with_the_setting_to_blame(setting, value):
    usual = resolved_settings(num_switches=1) | {"num_held_out": 1000}
    runs = [
        Run("usual", "a", usual, {}),
        Run("large", "b", usual | {setting: value}, {}),
        Run("large", "c", usual, {}),
    ]
    (line,) = out_of_proportion(runs)
    assert line.startswith("experiments.large: out of proportion: one run has ")
    assert line.endswith(f", most of it by {setting}: {value}")
    assert any(amount > most for amount, most in zip(amount_of_run(runs[1].settings), MOST_OF_RUN, strict=True))
    assert ("has batches of 30 million sequences, " in line) == setting.startswith("batch_size")
    assert out_of_proportion(runs[::2]) == []


@pytest.mark.parametrize(
    "model, sizes, milliseconds",
    [
        ("one_layer_attention", {"K": 100_000, "len_context": 100, "num_heads": 8, "batch_size": 256}, 50),
        ("one_layer_attention", {"K": 100_000, "len_context": 100, "num_heads": 20, "batch_size": 256}, 163),
        ("one_layer_attention", {"K": 32, "len_context": 16, "num_heads": 8, "batch_size": 256}, 3.5),
        ("gpt", {"K": 100_000, "len_context": 100, "num_heads": 8, "num_layers": 12, "batch_size": 256}, 3235),
        ("gpt", {"K": 100_000, "len_context": 100, "num_heads": 16, "num_layers": 24, "batch_size": 32}, 2374),
        ("gpt", {"K": 32, "len_context": 16, "num_heads": 8, "num_layers": 1, "batch_size": 256}, 6.4),
        ("dam", {"K": 500, "N": 50, "H": 30, "M": 3000, "batch_size": 50}, 3.6),
        ("dam", {"K": 500, "N": 50, "H": 30, "M": 3000, "batch_size": 1000}, 22.5),
        ("dam", {"K": 32, "N": 16, "H": 16, "M": 300, "batch_size": 64}, 0.54),
    ],
)
def test_the_cost_of_an_iteration_is_what_was_measured(model, sizes, milliseconds):
    settings = SETTINGS_OF_MODEL[model](
        model=model, seed=0, num_iters_per_set=10, num_iters_per_epoch=10, **sizes
    ).resolved()
    assert milliseconds / 1.5 < 1000 * seconds_of_iteration(settings, settings["batch_size"]) < 1.5 * milliseconds


def test_a_large_batch_without_a_switch_is_named_by_the_setting_that_was_given():
    settings = resolved_settings(num_switches=0, batch_size=3 * 10**7) | {"num_held_out": 1000}
    (line,) = out_of_proportion([Run("large", "a", settings, {})])
    assert line.endswith(", most of it by batch_size: 30000000")
    # However few sequences are computed.
    assert 30 < seconds_of_iteration(settings, settings["batch_size"]) < 36


def test_a_shared_trunk_is_paid_once():
    settings = resolved_settings(num_switches=1) | {"num_held_out": 1000}
    runs = [Run("group", name, settings, {}) for name in "abc"]
    alone, together = amount_of(runs[:1], {"trunk": settings}), amount_of(runs, {"trunk": settings})
    of_trunk = SECONDS_OF_TRUNK + seconds_of_first_set(settings)
    assert together.seconds == pytest.approx(3 * (alone.seconds - of_trunk) + of_trunk)
    assert alone.seconds == pytest.approx(amount_of_run(settings).seconds + SECONDS_OF_TRUNK)
    # So is its checkpoint, while each run has one of its own.
    of_run, of_trunk = bytes_of_checkpoint(settings), bytes_of_checkpoint(first_set_alone(settings))
    assert together.bytes_of_checkpoints == 3 * of_run + of_trunk


def test_a_model_whose_speed_is_not_known_is_named_beside_the_hours():
    settings = resolved_settings() | {"num_held_out": 1000}
    models = ("one_layer_attention", "perceptron")
    runs = [Run("group", model, settings | {"model": model}, {}) for model in models]
    (line,) = told_plan(runs, {}, num_jobs=8)
    assert line.endswith(" core hours without a GPU, and those of perceptron, whose speed is not known")
    (line,) = told_plan(runs[:1], {}, num_jobs=5)
    assert line.endswith(" core hours without a GPU")


def calls_of_plan(folder, seeds):
    """Plan 4 conditions in two experiments with so many seeds.

    Returns how often the plan called each function of the repository, and each of the parser of patterns.
    """
    sizes = {"K": 8, "num_iters_per_set": 10, "num_iters_per_epoch": 10, "batch_size": 8, "N": 8, "H": 2, "M": 8}
    swept = {
        "model": "dam",
        "sweep": {"freeze": ["none", "A"]},
        "seeds": seeds,
        "figures": ["by_rank", "contrasts"],
    }
    config = {
        "cache_dir": str(folder / "cache"),
        "results_dir": str(folder / "results"),
        "experiments": {"one": swept | sizes, "two": swept | sizes | {"num_switches": 2}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    call = [sys.executable, "-m", "cProfile", "-o", folder / "calls", "-m", "snakemake"]
    call += ["-n", "-q", "--configfile", folder / "config.yaml"]
    subprocess.run(call, cwd=REPOSITORY, check=True, capture_output=True, env=os.environ)
    ours, patterns = Counter(), Counter()
    for (file, line, name), (_, calls, *_) in pstats.Stats(str(folder / "calls")).stats.items():
        if file.startswith((str(REPOSITORY / "rules"), str(REPOSITORY / "workflow"))):
            ours[file, line, name] += calls
        elif file.endswith("re/_parser.py"):
            patterns[name] += calls
    return ours, patterns


@pytest.mark.slow
def test_the_plan_grows_with_the_number_of_runs_and_not_with_its_square(tmp_path):
    few, patterns_of_few = calls_of_plan(tmp_path, seeds=5)
    many, patterns_of_many = calls_of_plan(tmp_path, seeds=20)
    assert {function: calls for function, calls in many.items() if calls > 4 * few[function]} == {}
    # Snakemake goes through the patterns of the rules for each file: no name of a run is in them.
    assert patterns_of_many == patterns_of_few
    # An identity for the run, one for its trunk, and one for the job of the trunk, however many tables ask for it.
    runs, trunks = 4 * 20, 2 * 20
    (identities,) = [calls for (_, _, name), calls in many.items() if name == "identity" and calls > runs]
    assert identities <= 2 * runs + trunks


@pytest.mark.slow
def test_a_run_that_does_not_exist_is_named_in_one_line():
    name = "dam_freeze_A_seed_7"
    target = f"cache_smoke/freeze/{name}/{name}_sequences.pkl"
    call = snakemake(REPOSITORY, "-n", target, "--configfile", "config/smoke.yaml", check=False)
    assert call.returncode == 1
    line = f"experiments.freeze: no run {name}; did you mean dam_"
    assert [printed for printed in call.stderr.splitlines() if printed.startswith(line)]
    assert "Traceback" not in call.stderr
