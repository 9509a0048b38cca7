"""The workflow on a SLURM of two nodes, and all that can go wrong there: the same bytes as of a local run."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import SNAKEMAKE, copy_repository, snakemake
from slurm import NODES, Cluster, wait_until, why_it_cannot_run

pytestmark = pytest.mark.slow

# The trainings of `long` are hit by faults; each is one of its seeds.
FAULTS = ("scancel", "time limit", "requeue", "node lost", "memory", "killed", "away", "ctrl-c")
CONFIGURATION = {
    "checkpoint_seconds": 0.5,
    "defaults": {
        "one_layer_attention": {
            "K": 30, "len_context": 12, "num_heads": 2, "num_hidden_features": 4, "batch_size": 16,
            "num_iters_per_set": 40, "num_iters_per_epoch": 20, "num_held_out": 20,
        },
        "gpt": {
            "K": 20, "len_context": 10, "num_heads": 2, "num_hidden_features": 4, "num_layers": 2, "batch_size": 8,
            "num_iters_per_set": 20, "num_iters_per_epoch": 10, "num_held_out": 20,
        },
        "dam": {
            "K": 20, "N": 10, "H": 4, "M": 60, "batch_size": 8, "num_iters_per_set": 40, "num_iters_per_epoch": 20,
            "num_held_out": 20,
        },
    },
    "experiments": {
        "models": {
            "conditions": [{"model": "one_layer_attention"}, {"model": "gpt"}, {"model": "dam"}],
            "seeds": 1,
            "figures": ["by_epoch"],
        },
        "long": {
            "model": "one_layer_attention",
            "num_switches": 0,
            "num_iters_per_set": 60_000,
            "num_iters_per_epoch": 20_000,
            "seeds": len(FAULTS),
        },
    },
}  # fmt: skip
# Small nodes, quick looks; the rest is that of the profile that is tested.
MEMORY = {"train_trunk": 2000, "train": 2000, "evaluate_validation": 2000, "aggregate": 1000}


def repository(folder):
    copy_repository(folder)
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    profile = folder / "profiles" / "slurm" / "config.yaml"
    settings = yaml.safe_load(profile.read_text())
    settings |= {
        "jobs": 4,
        "latency-wait": 5,
        "slurm-init-seconds-before-status-checks": 2,
        "seconds-between-status-checks": 1,
        "set-resources": {rule: {"mem_mb": f"{memory} * attempt"} for rule, memory in MEMORY.items()},
    }
    profile.write_text(yaml.safe_dump(settings))
    return folder


def results(folder):
    """Every file that is compared byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for root in ("cache", "results")
        for path in sorted((folder / root).rglob("*"))
        if path.suffix in (".pkl", ".parquet", ".csv", ".pdf", ".png") and "checkpoint" not in path.name
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if reason := why_it_cannot_run():
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class Call:
    """A call of snakemake with the profile of the cluster, in a process group of its own."""

    def __init__(self, folder: Path, cluster: Cluster, *arguments):
        self.path = folder / "printed"
        with open(self.path, "w") as printed:
            self.process = subprocess.Popen(
                [SNAKEMAKE, "--profile", "profiles/slurm", *arguments],
                cwd=folder,
                env=cluster.environment,
                stdout=printed,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.path.read_text()

    def wait(self, seconds=300) -> int:
        return self.process.wait(seconds)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()


class Run:
    """A run of the experiment `long`: its files, and the job that trains it."""

    def __init__(self, folder: Path, fault: str):
        name = f"one_layer_attention_seed_{FAULTS.index(fault)}"
        self.start = folder / "cache" / "long" / name / name
        self.target = f"cache/long/{name}/{name}_evaluation.parquet"

    def file(self, ending: str) -> Path:
        return self.start.with_name(self.start.name + ending)

    def job(self, call: Call) -> dict:
        """Wait until the run has a checkpoint while it is trained; return what its lock says of the job."""

        def training():
            assert call.process.poll() is None, call.printed()
            try:
                lock = json.loads(self.file(".lock").read_text())
            except (OSError, ValueError):
                return None
            return lock if self.file(".checkpoint.pkl").exists() else None

        return wait_until(training, 120, f"a checkpoint of {self.start.name}")

    def log(self) -> str:
        return self.file(".log").read_text()

    def starts_at(self) -> list[int]:
        """Return the iteration at which each attempt began to train."""
        attempts = re.split(r"^---- another attempt.*$", self.log(), flags=re.MULTILINE)
        starts = [re.search(r"going on from the checkpoint after iteration (\d+)", attempt) for attempt in attempts]
        return [int(start[1]) if start else 0 for start in starts]


def state_of(cluster, job):
    """Return how a job has ended, as the accounts of the SLURM say."""
    answer = cluster.call("sacct", "-X", "--noheader", "--parsable2", "--format=state", "--duplicates", "-j", job["slurm_job"])
    return answer.stdout.split()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The results of a run on this machine alone."""
    folder = repository(tmp_path_factory.mktemp("local"))
    snakemake(folder, "--cores", os.cpu_count())
    return results(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return repository(tmp_path_factory.mktemp("on_the_cluster"))


def test_all_models_give_the_bytes_of_a_local_run_on_both_nodes(cluster, folder, local):
    with Call(folder, cluster, "models") as call:
        assert call.wait() == 0, call.printed()
    made = results(folder)
    assert {path.split("_seed")[0].split("/")[-1] for path in made if path.endswith("_evaluation.parquet")} == {
        "one_layer_attention", "gpt", "dam",
    }  # fmt: skip
    assert made.items() <= local.items()
    answer = cluster.call("sacct", "-X", "--noheader", "--parsable2", "--format=nodelist,state")
    assert {line.split("|")[0] for line in answer.stdout.split()} == set(NODES)
    assert {line.split("|")[1] for line in answer.stdout.split()} == {"COMPLETED"}
    assert list((folder / "cache").rglob("*.lock")) == []
