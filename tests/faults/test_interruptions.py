"""Real jobs that are killed, stopped or cannot write: the same command then ends with the same bytes."""

import json
import os
import random
import re
import resource
import signal
import subprocess
import time
from typing import NamedTuple

import pytest
from jobs import OUTPUTS, SMALL, Run, die, kill_after, wait

from memorization.storage import provenance, result_lock
from memorization.storage.cache import read_pickle
from memorization.training import evaluation, training

pytestmark = pytest.mark.slow

# How many random kills there are; the chosen ones come on top.
KILLS = int(os.environ.get("KILLS", "12"))
MODELS = list(SMALL)


class Reference(NamedTuple):
    """The files of an uninterrupted run, and how many seconds its training takes."""

    files: dict[str, bytes]
    seconds: float

    def up_to(self, rule):
        """The files that are there when a job and those before it have ended."""
        rules = list(OUTPUTS)
        names = [name for done in rules[: rules.index(rule) + 1] for name in OUTPUTS[done].values()]
        return {name: self.files[name] for name in names}


@pytest.fixture(scope="session")
def references(tmp_path_factory):
    """The uninterrupted run of each model."""
    found = {}
    for model in MODELS:
        run = Run(tmp_path_factory.mktemp("reference") / model, model)
        seconds = {}
        for rule in OUTPUTS:
            start = time.monotonic()
            assert run.run(rule) == 0, run.said(rule)
            seconds[rule] = time.monotonic() - start
        found[model] = Reference(run.files(), seconds["train"])
    return found


def ready_for(rule, reference, folder, model, checkpoint_seconds=1e-9):
    """A run whose jobs before ``rule`` have ended; by default it writes a checkpoint after every iteration."""
    run = Run(folder, model, checkpoint_seconds)
    for name, content in reference.up_to(rule).items():
        if name not in OUTPUTS[rule].values():
            (run.folder / name).write_bytes(content)
    return run


def run_until_done(run, rule):
    """Give the same command again until it ends well."""
    for _ in range(50):
        status = run.run(rule)
        if status == 0:
            return
        assert status < 0, run.said(rule)
    raise AssertionError("never done")


def left_over(run):
    """Locks and half-written files. A checkpoint stays until the workflow has ended."""
    return [path.name for path in run.folder.iterdir() if path.suffix in (".lock", ".tmp")]


def log_of_training(run):
    return (run.folder / "train.log").read_text()


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_training_killed_at_random_ends_with_the_same_bytes(kill, references, tmp_path):
    generator = random.Random(kill)
    model = MODELS[kill % len(MODELS)]
    expected = references[model].up_to("train")
    run = ready_for("train", references[model], tmp_path, model, checkpoint_seconds=0.01)
    # Twice, so that a training that went on from a checkpoint is killed too.
    for _ in range(2):
        status = kill_after(run.start("train"), generator.uniform(0, references[model].seconds))
        assert status in (0, -signal.SIGKILL), run.said("train")
        assert run.files().get("run.pkl") in (None, expected["run.pkl"])
    run_until_done(run, "train")
    assert run.files() == expected
    assert left_over(run) == []


def die_at_call(module, name, call, *, after=False):
    """Return what makes a process die at the ``call``-th call of a function, before it or after."""
    count = 0

    def patch():
        original = getattr(module, name)

        def dying(*args, **kwargs):
            nonlocal count
            count += 1
            if count == call and not after:
                die()
            result = original(*args, **kwargs)
            if count == call and after:
                die()
            return result

        setattr(module, name, dying)

    return patch


CHOSEN = {
    "before the first checkpoint is in place": ("train", lambda: die_at_call(os, "replace", 1)),
    "after the first checkpoint is in place": ("train", lambda: die_at_call(os, "replace", 1, after=True)),
    "before the second checkpoint is in place": ("train", lambda: die_at_call(os, "replace", 2)),
    "within the write of a checkpoint": ("train", lambda: die_at_call(os, "fsync", 1)),
    "within the write of the second checkpoint": ("train", lambda: die_at_call(os, "fsync", 3)),
    "before a switch": ("train", lambda: die_at_call(training.Training, "_switch", 1)),
    "after a switch": ("train", lambda: die_at_call(training.Training, "_switch", 1, after=True)),
    "before the result is written": ("train", lambda: die_at_call(training.Training, "results", 1)),
    "when the result is written and the lock not released": (
        "train",
        lambda: die_at_call(result_lock, "remove_if_possible", 1),
    ),
    "in the trunk, within the write of its result": (
        "train_trunk",
        lambda: die_at_call(training.Training, "checkpoint", 2, after=True),
    ),
    "in the generation of the sequences": ("generate_sequences", lambda: die_at_call(os, "fsync", 1)),
    "in the evaluation": ("evaluate_validation", lambda: die_at_call(evaluation, "attention_table", 2)),
    "between two tables of the evaluation": ("evaluate_validation", lambda: die_at_call(os, "replace", 2)),
    "within the write of a table": ("evaluate_validation", lambda: die_at_call(os, "fsync", 3)),
}


@pytest.mark.parametrize("moment", CHOSEN)
def test_a_job_killed_at_a_chosen_moment_ends_with_the_same_bytes(moment, references, tmp_path):
    rule, patch = CHOSEN[moment]
    model = MODELS[list(CHOSEN).index(moment) % len(MODELS)]
    expected = references[model].up_to(rule)
    run = ready_for(rule, references[model], tmp_path, model)
    assert run.run(rule, patch()) == -signal.SIGKILL, run.said(rule)
    for name, content in run.files().items():
        assert content == expected[name], f"{name} is half-written"
    run_until_done(run, rule)
    assert run.files() == expected
    assert left_over(run) == []


def test_a_training_killed_while_its_provenance_is_written_is_not_trained_again(references, tmp_path):
    run = ready_for("train", references["dam"], tmp_path, "dam")
    assert run.run("train", die_at_call(provenance, "sha256", 1)) == -signal.SIGKILL
    assert run.run("train") == 0
    assert "going on from the checkpoint after iteration 120" in log_of_training(run)
    assert run.files() == references["dam"].up_to("train")
    assert left_over(run) == []


def signalled(number, handler=signal.SIG_DFL):
    """Return what sends a training a signal in its seventh iteration; it begins with this ``handler`` of it."""

    def patch():
        signal.signal(number, handler)
        build, done = training.build_learner, []

        def build_counting(*args):
            learner = build(*args)
            learn = learner.learn

            def counted(*batch):
                done.append(None)
                if len(done) == 7:
                    os.kill(os.getpid(), number)
                return learn(*batch)

            learner.learn = counted
            return learner

        training.build_learner = build_counting

    return patch


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU"])
def test_a_signal_ends_the_training_after_the_iteration_with_a_checkpoint(name, references, tmp_path):
    # No checkpoint but for the signal's.
    run = ready_for("train", references["dam"], tmp_path, "dam", checkpoint_seconds=1000)
    assert run.run("train", signalled(signal.Signals[name])) == 1
    assert run.said("train")[-1].startswith(
        f"Interrupted: {name} after iteration 47 of 120: a checkpoint is kept, the same command goes on from it"
    )
    assert left_over(run) == []
    assert (run.folder / "run.checkpoint.pkl").exists()
    assert not (run.folder / "run.pkl").exists()
    assert run.run("train") == 0
    assert "going on from the checkpoint after iteration 47" in log_of_training(run)
    assert run.files() == references["dam"].up_to("train")
    assert left_over(run) == []


def test_a_signal_that_is_ignored_from_the_start_stays_so(references, tmp_path):
    """As nohup asks for."""
    run = ready_for("train", references["dam"], tmp_path, "dam", checkpoint_seconds=1000)
    assert run.run("train", signalled(signal.SIGHUP, signal.SIG_IGN)) == 0
    assert run.files() == references["dam"].up_to("train")


def test_the_log_keeps_what_earlier_attempts_wrote(references, tmp_path):
    run = ready_for("train", references["dam"], tmp_path, "dam")
    log = run.folder / "train.log"
    for call in (9, 19):
        assert run.run("train", die_at_call(os, "replace", call, after=True)) == -signal.SIGKILL
        # Snakemake does so before each attempt.
        log.unlink()
    assert run.run("train") == 0
    attempts = re.split(r"^---- another attempt, .* ----$", log.read_text(), flags=re.MULTILINE)
    assert len(attempts) == 3
    assert "going on from the checkpoint" not in attempts[0]
    assert "going on from the checkpoint after iteration 49" in attempts[1]
    assert "going on from the checkpoint after iteration 68" in attempts[2]


def test_a_training_that_diverged_ends_at_once_when_it_is_tried_again(tmp_path):
    run = Run(tmp_path / "run", "one_layer_attention")
    right = run.settings["lr"]
    run.settings["lr"] = 1e30
    assert run.run("train_trunk") == 1
    # It does not begin: otherwise it would be killed.
    assert run.run("train_trunk", die_at_call(training.Training, "iterations", 1)) == 1
    first, second = run.said("train_trunk")
    assert first == second
    assert first.startswith("FloatingPointError: the training diverged: ")
    # With another setting it begins anew.
    run.settings["lr"] = right
    assert run.run("train_trunk") == 0


def test_a_second_job_of_a_run_waits_for_the_first_and_trains_nothing_again(references, tmp_path):
    run = ready_for("train", references["dam"], tmp_path, "dam")

    def slowly():
        original = training.Training._log

        def log(self):
            time.sleep(0.1)
            original(self)

        training.Training._log = log

    first = run.start("train", slowly)
    while not (run.folder / "run.lock").exists():
        time.sleep(0.01)
    # As for the first, which ended while Snakemake prepared the second.
    second = run.start("train", lambda: (run.folder / "run.pkl").unlink(missing_ok=True))
    assert (wait(first), wait(second)) == (0, 0)
    log = log_of_training(run)
    assert re.search(rf"run.pkl is made by process {first} on \S+ since .*: waiting until it ends", log)
    assert "going on from the checkpoint after iteration 120" in log
    assert run.files() == references["dam"].up_to("train")
    assert left_over(run) == []


def test_a_training_whose_lock_was_taken_over_leaves_the_newer_checkpoint(references, tmp_path):
    run = ready_for("train", references["dam"], tmp_path, "dam")
    lock, checkpoint = run.folder / "run.lock", run.folder / "run.checkpoint.pkl"

    def taken_over_while_suspended():
        replace, written = os.replace, []

        def replace_and_be_suspended(source, target):
            replace(source, target)
            written.append(target)
            if len(written) == 9:
                lock.write_text(json.dumps(result_lock.this_job() | {"host": "elsewhere", "boot": "another"}))
                checkpoint.write_bytes(b"a newer one")

        os.replace = replace_and_be_suspended

    assert run.run("train", taken_over_while_suspended) == -signal.SIGKILL
    assert checkpoint.read_bytes() == b"a newer one"
    assert json.loads(lock.read_text())["host"] == "elsewhere"
    assert "another job has taken the lock over, this one ends" in log_of_training(run)


@pytest.fixture
def stopped(references, tmp_path):
    """A run whose training was killed after some iterations, and its checkpoint."""
    run = ready_for("train", references["one_layer_attention"], tmp_path / "stopped", "one_layer_attention")
    assert run.run("train", die_at_call(os, "replace", 9, after=True)) == -signal.SIGKILL
    return run, run.folder / "run.checkpoint.pkl"


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda content: content[:-40], lambda content: b"", lambda content: b"\x80\x05N."]
)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_anew(damage, stopped, references):
    run, checkpoint = stopped
    damaged = damage(checkpoint.read_bytes())
    checkpoint.write_bytes(damaged)
    assert run.run("train") == 0
    # Not those that only name the folder of this test.
    (line,) = [line for line in log_of_training(run).splitlines() if "the checkpoint" in line]
    assert "the checkpoint is not used, it is damaged: its checksum is wrong; it is now" in line
    assert (run.folder / "run.checkpoint.pkl.set_aside").read_bytes() == damaged
    assert run.files() == references["one_layer_attention"].up_to("train")


def test_a_checkpoint_of_other_settings_is_set_aside(stopped, references, tmp_path):
    run, _ = stopped
    model = "one_layer_attention"
    uninterrupted = ready_for("train", references[model], tmp_path / "other", model, checkpoint_seconds=1000)
    for changed in (run, uninterrupted):
        changed.settings["weight_decay"] = 0.1
        assert changed.run("train") == 0
    assert "its settings are others" in log_of_training(run)
    assert "another attempt" not in log_of_training(run)
    assert run.files() == uninterrupted.files() != references[model].up_to("train")


def test_a_training_goes_on_from_a_checkpoint_that_is_older_than_a_setting(stopped):
    run, _ = stopped
    original = run.job

    def with_a_new_setting(rule):
        job = original(rule)
        job.params.settings = job.params.settings | {"later": 0.0}
        return job

    run.job = with_a_new_setting
    assert run.run("train") == 0
    assert "going on from the checkpoint" in (run.folder / "train.log").read_text()
    assert read_pickle(run.folder / "run.pkl")["args"]["later"] == 0


def test_a_checkpoint_of_other_code_is_set_aside(stopped, references):
    run, _ = stopped
    original = run.job

    def of_other_code(rule):
        job = original(rule)
        job.params.code = "another version"
        return job

    run.job = of_other_code
    assert run.run("train") == 0
    assert "the code has changed since" in log_of_training(run)
    assert run.files() == references["one_layer_attention"].up_to("train")


def limit_file_size(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_limit_of_the_file_size_ends_a_job_in_one_line_that_names_the_file(references, tmp_path):
    reference = references["one_layer_attention"]
    run = ready_for("train", reference, tmp_path, "one_layer_attention", checkpoint_seconds=1000)
    before = run.files()
    assert run.run("train", limit_file_size(20_000)) == 1
    (line,) = run.said("train")
    assert line.startswith("OSError: [Errno 27] File too large")
    assert "run.pkl" in line or "run.checkpoint.pkl" in line
    assert run.files() == before
    assert [path.name for path in run.folder.glob(".*")] == []
    run_until_done(run, "train")
    assert run.files() == reference.up_to("train")


@pytest.fixture
def disk(tmp_path):
    """A disk of 160 KiB of its own; None if none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_ends_a_job_in_one_line_and_harms_nothing(disk, references):
    if disk is None:
        pytest.skip("no disk may be mounted here")
    reference = references["one_layer_attention"]
    run = ready_for("train", reference, disk / "run", "one_layer_attention", checkpoint_seconds=1000)
    before = run.files()
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filling").write_bytes(b"x" * (free - 20_000))
    assert run.run("train") == 1
    (line,) = run.said("train")
    assert line.startswith("OSError: [Errno 28] No space left on device")
    assert "/run/run." in line
    assert run.files() == before
    (disk / "filling").unlink()
    subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
    run_until_done(run, "train")
    assert run.files() == reference.up_to("train")


def test_a_cache_that_may_not_be_written_ends_a_job_in_one_line(disk, references, tmp_path):
    run = ready_for("train", references["dam"], (disk or tmp_path) / "run", "dam", checkpoint_seconds=1000)
    before = run.files()
    run._printed = lambda rule: tmp_path / rule
    if disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    else:
        run.folder.chmod(0o555)
    assert run.run("train") == 1
    (line,) = run.said("train")
    assert re.match(r"OSError: \[Errno 30\] Read-only|PermissionError: \[Errno 13\] Permission denied", line)
    assert run.files() == before
    if disk:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    else:
        run.folder.chmod(0o755)
    run_until_done(run, "train")
    assert run.files() == references["dam"].up_to("train")
