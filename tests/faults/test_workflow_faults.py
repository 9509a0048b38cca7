"""The workflow as a whole, killed with its jobs or started twice in one folder."""

import os
import signal
import subprocess
import time

import pytest
import yaml
from conftest import SNAKEMAKE, copy_repository, results, snakemake

# `make faults` deals out single tests, but for those of a group.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

SMALL = {
    "checkpoint_seconds": 0.1,
    "defaults": {
        "one_layer_attention": {
            "K": 30, "len_context": 12, "num_heads": 2, "num_hidden_features": 4, "batch_size": 16,
            "num_iters_per_set": 1000, "num_iters_per_epoch": 250, "num_held_out": 20,
        }
    },
    "experiments": {
        "freeze": {"model": "one_layer_attention", "freeze": "mlp", "seeds": 1, "figures": ["by_weights"]},
    },
}  # fmt: skip
FIGURE = "results/freeze/by_weights.png"


def repository(folder):
    copy_repository(folder)
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


def start(folder):
    """Start the workflow, as far as one figure, in a process group of its own."""
    with open(folder / "printed", "a") as printed:
        return subprocess.Popen(
            [SNAKEMAKE, "--cores", "2", FIGURE],
            cwd=folder,
            stdout=printed,
            stderr=printed,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def wait_for(pattern, folder, process):
    """Wait until a file of this pattern is there, while the workflow runs."""
    while not list(folder.glob(pattern)):
        assert process.poll() is None, (folder / "printed").read_text()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def beside_another(tmp_path_factory):
    """The folder of a run, and how calls beside it ended: those that write, and a dry run."""
    folder = repository(tmp_path_factory.mktemp("beside"))
    first = start(folder)
    wait_for("cache/*/*/*.log", folder, first)
    calls = [["--cores", "2", "--no-hooks", FIGURE], ["--delete-all-output"]]
    # Stopped, so that it does not end before the others.
    os.killpg(first.pid, signal.SIGSTOP)
    *writing, dry = [snakemake(folder, *call, check=False) for call in (*calls, ["-n"])]
    os.killpg(first.pid, signal.SIGCONT)
    assert first.wait() == 0, (folder / "printed").read_text()
    return folder, writing, dry


def test_a_call_beside_a_run_that_writes_or_deletes_says_so_in_one_line(beside_another):
    _, writing, _ = beside_another
    said = "another run of the workflow is going on in this folder: wait for it to end, or run in another folder"
    for call in writing:
        assert call.returncode == 1
        assert call.stderr.splitlines()[-1] == said
        assert "Traceback" not in call.stderr


def test_a_dry_run_beside_a_run_is_let_through(beside_another):
    _, _, dry = beside_another
    assert dry.returncode == 0, dry.stderr


def test_the_workflow_killed_with_its_jobs_goes_on_by_itself_to_the_same_bytes(beside_another, tmp_path):
    """The bytes of a run that was never killed, and beside which a second one was refused."""
    folder = repository(tmp_path)
    # In the training of the trunk, in that of a branch, and in what follows them.
    for moment in (
        "cache/_trunks/*/*.checkpoint.pkl",
        "cache/freeze/*/*.checkpoint.pkl",
        "results/freeze/logs/*.log",
    ):
        process = start(folder)
        wait_for(moment, folder, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    snakemake(folder, "--cores", "2", FIGURE)
    assert results(folder) == results(beside_another[0])
    endings = (".tmp", "checkpoint", ".attempts")
    left = [path for path in (folder / "cache").rglob("*") if any(ending in path.name for ending in endings)]
    assert left == []


def test_what_a_job_makes_after_snakemake_was_killed_is_noted_without_training_again(beside_another, tmp_path):
    folder = repository(tmp_path)
    process = start(folder)
    wait_for("cache/freeze/*/*.checkpoint.pkl", folder, process)
    # Alone: the training goes on.
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = (folder / "cache" / "freeze").iterdir()
    while (run / f"{run.name}.lock").exists():
        time.sleep(0.05)
    assert (run / f"{run.name}.pkl").exists()
    # A call for something else that ends well takes nothing from it.
    (trunk,) = (folder / "cache" / "_trunks").iterdir()
    snakemake(folder, "--cores", "1", f"cache/_trunks/{trunk.name}/{trunk.name}.pkl")
    snakemake(folder, "--cores", "2", FIGURE)
    trained, noted = (run / f"{run.name}.log").read_text().split("---- another attempt")
    assert "train loss" in trained
    assert "going on from the checkpoint after iteration 2000" in noted
    assert "train loss" not in noted
    assert results(folder) == results(beside_another[0])
