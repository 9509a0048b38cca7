"""The workflow on a SLURM, with all that can go wrong: the bytes of a local run."""

import json
import os
import re
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, SNAKEMAKE, copy_repository, results
from slurm import NODES, Cluster, die_with_parent, wait_until, why_it_cannot_run

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

# The trainings of `long` are hit by faults; each is one of its seeds.
FAULTS = ("scancel", "time limit", "requeue", "node lost", "memory", "killed", "told to end", "away", "ctrl-c")
# Seconds of training, so that a fault can happen meanwhile.
ITERATIONS = 7_000
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
            "figures": ["by_epoch", "by_weights"],
        },
        "long": {
            "model": "one_layer_attention",
            "num_switches": 0,
            "num_iters_per_set": ITERATIONS,
            "num_iters_per_epoch": ITERATIONS // 4,
            "seeds": len(FAULTS),
        },
    },
}  # fmt: skip
# Small nodes, quick looks; the rest is that of the profile that is tested.
MEMORY = {"train_trunk": 2000, "train": 2000, "evaluate_validation": 2000, "aggregate": 1000}
# As docs/scaling.md says: GPT on the partition with GPUs, in each rule of the group of a run.
ON_GPUS = re.search(
    r"^ *set-resources:$.*?(?=^ *```$)", (REPOSITORY / "docs" / "scaling.md").read_text(), re.M | re.S
)


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
    }
    asked = yaml.safe_load(textwrap.dedent(ON_GPUS[0]))["set-resources"]
    for rule, memory in MEMORY.items():
        asked.setdefault(rule, {})["mem_mb"] = f"{memory} * attempt"
    # There is the partition, but no GPU: with one, the controller of SLURM 22.05 dies after a node was lost.
    for of_rule in asked.values():
        of_rule.pop("gpu_model", None)
    settings["set-resources"] = asked
    profile.write_text(yaml.safe_dump(settings))
    return folder


def results_without_checkpoints(folder):
    """Every file that is compared byte for byte."""
    return {name: content for name, content in results(folder).items() if "checkpoint" not in Path(name).name}


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


def as_from_a_terminal():
    """Heed Ctrl-C, which is ignored by what a script starts in the background."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Call:
    """A call of snakemake, on the cluster if there is one."""

    def __init__(self, folder: Path, cluster: Cluster | None, *arguments):
        self.folder = folder
        self.path = folder / "printed"
        with open(self.path, "w") as printed:
            self.process = subprocess.Popen(
                [SNAKEMAKE, *(["--profile", "profiles/slurm"] if cluster else []), *map(str, arguments)],
                cwd=folder,
                env=cluster.environment if cluster else None,
                stdout=printed,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=as_from_a_terminal,
            )

    def printed(self) -> str:
        return self.path.read_text()

    def said_of(self, job: dict) -> list[str]:
        """Return the lines about a job of SLURM."""
        return [
            line for line in self.printed().splitlines() if re.search(rf"job '{job['slurm_job']}'", line, re.I)
        ]

    def wait(self, seconds=600) -> int:
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
        """Wait until the run has a checkpoint; return what its lock says of the job."""

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
        starts = [
            re.search(r"going on from the checkpoint after iteration (\d+)", attempt) for attempt in attempts
        ]
        return [int(start[1]) if start else 0 for start in starts]


def accounts_of(cluster, columns, *arguments):
    """Return these columns for each job, as the accounts of the SLURM have them."""
    answer = cluster.call(
        "sacct", "-X", "--noheader", "--parsable2", f"--format={columns}", "--duplicates", *arguments
    )
    return [tuple(line.split("|")) for line in answer.stdout.splitlines()]


def states_of(cluster, job):
    """Return the states of the attempts of a job that SLURM itself has made."""
    return [state for (state,) in accounts_of(cluster, "state", "-j", job["slurm_job"])]


@pytest.fixture(scope="module")
def local_call(tmp_path_factory):
    """The same workflow on this machine alone; it goes on beside the first tests."""
    with Call(repository(tmp_path_factory.mktemp("local")), None, "--cores", 1) as call:
        yield call


@pytest.fixture
def equals_local(local_call, folder):
    """Return a function that compares what was made on the cluster with a local run."""

    def equals():
        assert local_call.wait(600) == 0, local_call.printed()
        assert (
            results_without_checkpoints(folder).items() <= results_without_checkpoints(local_call.folder).items()
        )

    return equals


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return repository(tmp_path_factory.mktemp("on_the_cluster"))


def test_all_models_run_on_both_nodes(cluster, folder, local_call):
    with Call(folder, cluster, "models") as call:
        assert call.wait() == 0, call.printed()
    accounts = accounts_of(cluster, "nodelist,state")
    assert {node for node, _ in accounts} == set(NODES)
    assert {state for _, state in accounts} == {"COMPLETED"}
    # The trunks, the runs with all their stages, the tables, and the figures.
    assert len(accounts) == 3 + 3 + 1 + 1
    # The four tables and the two figures are made one after another. GPT's trunk and run are where the GPUs are.
    asked = accounts_of(cluster, "partition,reqmem,reqcpus,timelimit")
    of_trunks, of_runs = ("2000M", "1", "20:00:00"), ("2000M", "1", "22:15:00")
    of_tables, of_figures = ("1000M", "1", "04:00:00"), ("1000M", "1", "00:40:00")
    expected = (
        [("main", *of_trunks)] * 2 + [("main", *of_runs)] * 2 + [("main", *of_tables), ("main", *of_figures)]
    )
    expected += [("gpu", *of_trunks), ("gpu", *of_runs)]
    assert sorted(asked) == sorted(expected)
    assert {path.name.split("_seed")[0] for path in folder.glob("cache/models/*/*_evaluation.parquet")} == {
        "one_layer_attention", "gpt", "dam",
    }  # fmt: skip
    left = [
        path for pattern in ("*.lock", "*.attempts", "*checkpoint*") for path in (folder / "cache").rglob(pattern)
    ]
    assert left == []


def cancel(cluster, job):
    cluster.call("scancel", job["slurm_job"])


def requeue(cluster, job):
    cluster.call("scontrol", "requeue", job["slurm_job"])


def start_at_once(cluster, job):
    """Start a requeued job before the two minutes that SLURM gives a node."""
    queue = ["squeue", "--noheader", "--format=%T", f"--jobs={job['slurm_job']}"]
    wait_until(lambda: cluster.call(*queue).stdout.strip() == "PENDING", 60, "a job that waits for its next start")
    cluster.call("scontrol", "update", f"JobId={job['slurm_job']}", "StartTime=now")


def reach_time_limit(cluster, job):
    """Give a job a minute, and stop its training until then. SLURM lets it go on."""
    os.kill(job["process"], signal.SIGSTOP)
    cluster.call("scontrol", "update", f"JobId={job['slurm_job']}", "TimeLimit=1")


FAULT = {"scancel": cancel, "requeue": requeue, "time limit": reach_time_limit}


def test_a_training_goes_on_after_its_job_was_stopped(cluster, folder, equals_local):
    runs = {fault: Run(folder, fault) for fault in FAULT}
    jobs = {}
    with Call(folder, cluster, *(run.target for run in runs.values())) as call:
        for fault, happens in FAULT.items():
            jobs[fault] = runs[fault].job(call)
            happens(cluster, jobs[fault])
        start_at_once(cluster, jobs["requeue"])
        assert call.wait() == 0, call.printed()
    states = {fault: states_of(cluster, job) for fault, job in jobs.items()}
    assert states == {
        "scancel": ["CANCELLED by 0"],
        "requeue": ["REQUEUED", "COMPLETED"],
        # By the signal ahead of the limit.
        "time limit": ["FAILED"],
    }
    said = {fault: call.said_of(job) for fault, job in jobs.items()}
    assert [len(lines) for lines in said.values()] == [1, 0, 1], said
    assert "failed, SLURM status is: 'CANCELLED'" in said["scancel"][0]
    assert "failed, SLURM status is: 'FAILED'" in said["time limit"][0]
    assert "Interrupted: SIGTERM after iteration" in runs["time limit"].log()
    for fault, run in runs.items():
        first, second = run.starts_at()
        assert first == 0 < second, (fault, run.log())
    equals_local()


def test_a_training_goes_on_after_its_node_was_lost(cluster, folder, equals_local):
    run = Run(folder, "node lost")
    with Call(folder, cluster, run.target) as call:
        job = run.job(call)
        cluster.kill_node(job["slurm_node"])
        wait_until(lambda: any(state.startswith("down") for state in cluster.states_of_nodes()), 60, "a lost node")
        cluster.start_node(job["slurm_node"])
        wait_until(lambda: call.said_of(job), 60, "a line about the lost node")
        start_at_once(cluster, job)
        assert call.wait() == 0, call.printed()
    assert states_of(cluster, job) == ["NODE_FAIL", "COMPLETED"]
    assert "failed with status 'NODE_FAIL', but requeue is enabled" in call.said_of(job)[0]
    first, second = run.starts_at()
    assert first == 0 < second, run.log()
    equals_local()


def test_a_job_over_its_memory_is_tried_again_with_more(cluster, folder, equals_local):
    run = Run(folder, "memory")
    stages = ("generate_sequences", "train", "evaluate_validation")
    asked = [f"{rule}:mem_mb=300 * attempt ** 3" for rule in stages]
    with Call(folder, cluster, run.target, "--set-resources", *asked) as call:
        # It is over its memory from the first moment, and is kept from ending until SLURM looks.
        os.kill(run.job(call)["process"], signal.SIGSTOP)
        assert call.wait() == 0, call.printed()
    first, second = re.findall(r"submitted with SLURM jobid (\d+) \(log: (.*)\)", call.printed())
    assert accounts_of(cluster, "reqmem", "-j", f"{first[0]},{second[0]}") == [("300M",), ("2400M",)]
    assert re.search("exceeded memory limit|oom", Path(first[1]).read_text(), re.IGNORECASE)
    assert len(call.said_of({"slurm_job": first[0]})) == 1
    began, went_on = run.starts_at()
    assert began == 0 < went_on, run.log()
    equals_local()


def test_after_a_killed_snakemake_the_next_waits_for_the_jobs_that_still_run(cluster, folder, equals_local):
    run = Run(folder, "killed")
    with Call(folder, cluster, run.target) as call:
        job = run.job(call)
    # It is killed by now, with -9.
    with Call(folder, cluster, run.target) as call:
        assert call.wait() == 0, call.printed()
    (line,) = [line for line in call.printed().splitlines() if "of an earlier call in this folder" in line]
    assert f"still in SLURM's queue: {job['slurm_job']}. To end them now: scancel" in line
    assert states_of(cluster, job) == ["COMPLETED"]
    # What the job has made is noted without training again.
    assert run.starts_at() == [0, ITERATIONS]
    equals_local()


def test_a_snakemake_that_is_told_to_end_waits_for_its_jobs(cluster, folder, equals_local):
    run = Run(folder, "told to end")
    with Call(folder, cluster, run.target) as call:
        job = run.job(call)
        call.process.terminate()
        assert call.wait() == 1, call.printed()
    assert "Will exit after finishing currently running jobs" in call.printed()
    assert states_of(cluster, job) == ["COMPLETED"]
    with Call(folder, cluster, run.target) as call:
        assert call.wait() == 0, call.printed()
    assert "Nothing to be done" in call.printed()
    assert run.starts_at() == [0]
    equals_local()


def test_jobs_go_on_while_the_controller_is_away(cluster, folder, equals_local):
    run = Run(folder, "away")
    with Call(folder, cluster, run.target) as call:
        job = run.job(call)
        cluster.stop_controller()
        time.sleep(60)
        cluster.start_controller()
        assert call.wait() == 0, call.printed()
    # A stage of a submission cannot begin while the controller is away. The next attempt trains nothing again.
    failures = states_of(cluster, job).count("FAILED")
    assert len(call.said_of(job)) == failures
    assert run.starts_at() == ([0, ITERATIONS] if failures else [0])
    equals_local()


def test_after_ctrl_c_the_same_command_goes_on_from_the_checkpoint(cluster, folder, equals_local):
    run = Run(folder, "ctrl-c")
    with Call(folder, cluster, run.target) as call:
        job = run.job(call)
        os.killpg(call.process.pid, signal.SIGINT)
        assert call.wait() == 1
    assert "Terminating processes on user request" in call.printed()
    assert states_of(cluster, job) == ["CANCELLED by 0"]
    with Call(folder, cluster, run.target) as call:
        assert call.wait() == 0, call.printed()
    assert "Interrupted: SIGTERM after iteration" in run.log()
    first, second = run.starts_at()
    assert first == 0 < second, run.log()
    equals_local()


def test_in_the_end_everything_has_the_bytes_of_a_local_run(cluster, folder, local_call, equals_local):
    with Call(folder, cluster) as call:
        assert call.wait() == 0, call.printed()
    equals_local()
    assert results_without_checkpoints(folder) == results_without_checkpoints(local_call.folder)
