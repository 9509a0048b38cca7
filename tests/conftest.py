"""What the tests share: small runs, and copies of the repository in which Snakemake is called.

pytest reads this file in every process before it knows which tests will run. What imports torch is therefore
imported in the functions that use it: the process that only deals out the tests does without it.
"""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest

# With GIT_DIR, for example, git would commit into the caller's repository and not into the one that a test makes.
for name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[name]

REPOSITORY = Path(__file__).resolve().parent.parent
# Held-out sequences in the evaluation of a small run.
NUM_HELD_OUT = 25
SNAKEMAKE = Path(sys.executable).parent / "snakemake"
# An example may take as long as a busy machine makes it take.
hypothesis.settings.register_profile("without a deadline", deadline=None)
hypothesis.settings.load_profile("without a deadline")


def resolved_settings(**changed):
    """The resolved settings of a run small enough for a test."""
    from memorization.configuration.settings import OneLayerAttentionSettings, Stage, settings_until

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


def sets_of(args):
    """The sequence sets of a run with these resolved settings, and the iteration from which each is trained on."""
    from memorization.sequences import generate_sequence_set

    starts = list(range(0, args["num_iters"], args["num_iters_per_set"]))
    sets = [
        generate_sequence_set(args["sequences_seed"], s, args["K"], args["len_context"])
        for s in range(len(starts))
    ]
    return sets, starts


def trained(args):
    """Train a run: its results and its sequence sets."""
    from memorization.training.training import Training

    sets, starts = sets_of(args)
    training = Training(args, sets, starts)
    training.run(args["num_iters"])
    return training.results(), sets


def train_small_run(**changed):
    """Train a small run: its results and its sequence sets."""
    return trained(resolved_settings(**changed))


def learner_with_random_weights(args):
    """A learner whose model has weights of order 1, so that attention is far from uniform, and its state."""
    import torch

    from memorization.models.learners import build_learner

    learner = build_learner(SimpleNamespace(**args), [])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
    return learner, {name: value.numpy().astype(np.float64) for name, value in learner.model.state_dict().items()}


class Named(SimpleNamespace):
    """What a script sees as ``snakemake.input``, ``.output`` or ``.params``."""

    def items(self):
        return vars(self).items()

    def __iter__(self):
        return iter(vars(self).values())

    def __getitem__(self, key):
        return vars(self)[key]


@pytest.fixture(scope="session")
def small_run():
    return train_small_run()


def results(folder):
    """The contents of every result in a folder that is compared byte for byte, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for root in ("cache", "results")
        for path in sorted((folder / root).rglob("*"))
        if path.suffix in (".pkl", ".parquet", ".csv", ".pdf", ".png")
    }


def copy_repository(folder):
    """Copy the repository to ``folder``, but for .git and what .gitignore names."""
    lines = (REPOSITORY / ".gitignore").read_text().splitlines()
    of_the_top = [".git", *(line.strip("/") for line in lines if line.startswith("/"))]
    of_any_folder = [line.strip("/") for line in lines if not line.startswith("/")]

    def ignored(parent, names):
        patterns = of_any_folder + (of_the_top if Path(parent) == REPOSITORY else [])
        return {name for pattern in patterns for name in fnmatch.filter(names, pattern)}

    return Path(shutil.copytree(REPOSITORY, folder, ignore=ignored, dirs_exist_ok=True))


def snakemake(folder, *arguments, check=True, **variables):
    """Call snakemake in ``folder``, with more environment ``variables``; the result has what it prints as text."""
    result = subprocess.run(
        [SNAKEMAKE, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | variables,
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def pytest_collection_modifyitems(items):
    """Begin with the modules that have slow tests, so that no long one is left to one worker at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def one_thread():
    """One thread of torch, as in a job; afterwards all settings as they were."""
    import torch

    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True
