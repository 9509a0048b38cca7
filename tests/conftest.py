import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memorization.sequences import generate_sequence_set
from memorization.settings import OneLayerAttentionSettings, Stage, settings_until
from memorization.training import Training

REPOSITORY = Path(__file__).resolve().parent.parent
# Held-out sequences in the evaluation of a small run.
NUM_HELD_OUT = 25
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def resolved_settings(**changed):
    """The resolved settings of a run small enough for a test."""
    settings = {
        "model": "one_layer_attention",
        "K": 30,
        "len_context": 12,
        "num_heads": 2,
        "num_hidden_features": 4,
        "num_mlp_layers": 2,
        "batch_size": 16,
        "lr": 1e-2,
        "num_iters_per_set": 20,
        "num_iters_per_epoch": 10,
        "seed": 3,
    }
    resolved = OneLayerAttentionSettings(**settings | changed).resolved()
    return settings_until(Stage.EVALUATION, resolved)


def train_small_run(**changed):
    """Train a small run: its results and its sequence sets."""
    settings = resolved_settings(**changed)
    switch_start_iter = list(range(0, settings["num_iters"], settings["num_iters_per_set"]))
    sets = [
        generate_sequence_set(settings["seed"], s, settings["K"], settings["len_context"])
        for s in range(len(switch_start_iter))
    ]
    training = Training(settings, sets, switch_start_iter)
    training.run(settings["num_iters"])
    return training.results(), sets


@pytest.fixture(scope="session")
def small_run():
    return train_small_run()


def copy_repository(folder):
    """Copy what git tracks, or would, to ``folder``: a fresh clone with the changes of the moment."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def snakemake(folder, *arguments, check=True):
    """Call snakemake in ``folder``; the result has its output and errors as text."""
    result = subprocess.run(
        [SNAKEMAKE, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result
