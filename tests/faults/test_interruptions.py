"""Real jobs killed, stopped and refused the disk, at random and chosen moments: what is left, what comes out."""

import os
import random
import re
import resource
import signal
import subprocess
import time

import pytest
from jobs import SMALL, Run, die, kill_after

from memorization.storage import cache, provenance
from memorization.storage.cache import read_pickle
from memorization.training import evaluation, training
from memorization.training.checkpoints import Checkpoint

# How many random kills there are; the chosen ones come on top.
KILLS = int(os.environ.get("KILLS", "18"))
MODELS = list(SMALL)


@pytest.fixture(scope="session")
def references(tmp_path_factory):
    """For each model the files of an uninterrupted run, and how long its training takes."""
    found = {}
    for model in MODELS:
        run = Run(tmp_path_factory.mktemp("reference") / model, model)
        run.run_all()
        start = time.monotonic()
        (run.folder / "run.pkl").unlink()
        assert run.run("train") == 0
        found[model] = run.files(), time.monotonic() - start
    return found


def run_until_done(run, rule):
    """Give the same command again until it ends well."""
    for _ in range(50):
        status = run.run(rule)
        if status == 0:
            return
        assert status < 0, run.said(rule)
    raise AssertionError("never done")


def finish(run):
    """Run every job that has not ended, and return the files."""
    for rule, result in (
        ("generate_sequences", "run_sequences.pkl"),
        ("train_trunk", "trunk.pkl"),
        ("train", "run.pkl"),
        ("evaluate_validation", "run_diagnostics.parquet"),
    ):
        if not (run.folder / result).exists():
            run_until_done(run, rule)
    return run.files()


def left_over(run):
    """Checkpoints and half-written files."""
    return [path.name for path in run.folder.iterdir() if "checkpoint" in path.name or path.suffix == ".tmp"]


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_training_killed_at_random_ends_with_the_same_bytes(kill, references, tmp_path):
    generator = random.Random(kill)
    model = MODELS[kill % len(MODELS)]
    expected, seconds = references[model]
    run = Run(tmp_path, model)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0
    # Twice, so that a training that went on from a checkpoint is killed too.
    for _ in range(2):
        status = kill_after(run.start("train"), generator.uniform(0, seconds))
        assert status in (0, -signal.SIGKILL), run.said("train")
        for path in run.folder.glob("run.pkl"):
            assert path.read_bytes() == expected["run.pkl"]
    run_until_done(run, "train")
    assert run.run("evaluate_validation") == 0
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
    "when the result is written and the checkpoint not removed": (
        "train",
        lambda: die_at_call(Checkpoint, "remove", 1),
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
    expected, _ = references[model]
    # A checkpoint after every iteration: the moments do not depend on how fast the machine is.
    run = Run(tmp_path, model, checkpoint_seconds=1e-9)
    for before in ("generate_sequences", "train_trunk", "train", "evaluate_validation"):
        if before == rule:
            break
        assert run.run(before) == 0, run.said(before)
    assert run.run(rule, patch()) == -signal.SIGKILL, run.said(rule)
    for name, content in run.files().items():
        assert content == expected[name], f"{name} is half-written"
    run_until_done(run, rule)
    assert finish(run) == expected
    assert left_over(run) == []


def test_a_training_killed_while_its_provenance_is_written_is_not_trained_again(references, tmp_path):
    run = Run(tmp_path, "dam", checkpoint_seconds=1e-9)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0
    assert run.run("train", die_at_call(provenance, "sha256", 1)) == -signal.SIGKILL
    assert run.run("train") == 0
    assert "going on from the checkpoint after iteration 119" in (run.folder / "train.log").read_text()
    assert finish(run) == references["dam"][0]
    assert left_over(run) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_the_training_after_the_iteration_with_a_checkpoint(number, references, tmp_path):
    expected, _ = references["dam"]
    # No checkpoint but for the signal's.
    run = Run(tmp_path, "dam", checkpoint_seconds=1000)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0

    def signal_in_iteration():
        learn, done = training.build_learner, []

        def build(*args):
            learner = learn(*args)
            original = learner.learn

            def counted(*batch):
                done.append(None)
                if len(done) == 7:
                    os.kill(os.getpid(), number)
                return original(*batch)

            learner.learn = counted
            return learner

        training.build_learner = build

    assert run.run("train", signal_in_iteration) == 1
    name = signal.Signals(number).name
    assert run.said("train")[-1].startswith(
        f"Interrupted: {name} after iteration 47 of 120: a checkpoint is kept, the same command goes on from it"
    )
    assert left_over(run) == ["run.checkpoint.pkl"]
    assert not (run.folder / "run.pkl").exists()
    assert run.run("train") == 0
    assert "going on from the checkpoint after iteration 47" in (run.folder / "train.log").read_text()
    assert finish(run) == expected
    assert left_over(run) == []


def stopped(tmp_path, model="one_layer_attention"):
    """A run whose training was killed after some iterations."""
    run = Run(tmp_path, model, checkpoint_seconds=1e-9)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0
    assert run.run("train", die_at_call(os, "replace", 9, after=True)) == -signal.SIGKILL
    return run, run.folder / "run.checkpoint.pkl"


def flip_a_bit(content):
    return (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    )


@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda content: content[:-40], lambda content: b"", lambda content: b"\x80\x05N."]
)
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_anew(damage, references, tmp_path):
    run, checkpoint = stopped(tmp_path)
    damaged = damage(checkpoint.read_bytes())
    checkpoint.write_bytes(damaged)
    assert run.run("train") == 0
    (line,) = [line for line in (run.folder / "train.log").read_text().splitlines() if "checkpoint" in line]
    assert "the checkpoint is not used, it is damaged: its checksum is wrong; it is now" in line
    assert (run.folder / "run.checkpoint.pkl.set_aside").read_bytes() == damaged
    assert finish(run) == references["one_layer_attention"][0]


def test_a_checkpoint_of_other_settings_is_set_aside(tmp_path):
    run, checkpoint = stopped(tmp_path)
    run.settings["lr"] = 0.02
    assert run.run("train_trunk") == run.run("train") == 0
    assert "its settings are others" in (run.folder / "train.log").read_text()
    other = Run(tmp_path / "other", "one_layer_attention")
    other.settings["lr"] = 0.02
    other.run_all()
    assert (run.folder / "run.pkl").read_bytes() == other.files()["run.pkl"]
    assert not checkpoint.exists()


def test_a_training_goes_on_from_a_checkpoint_that_is_older_than_a_setting(tmp_path):
    run, _ = stopped(tmp_path)
    original = run.job

    def with_a_new_setting(rule):
        job = original(rule)
        job.params.settings = job.params.settings | {"later": 0.0}
        return job

    run.job = with_a_new_setting
    assert run.run("train") == 0
    assert "going on from the checkpoint" in (run.folder / "train.log").read_text()
    assert read_pickle(run.folder / "run.pkl")["args"]["later"] == 0


def test_a_checkpoint_of_other_code_is_set_aside(references, tmp_path):
    run, _ = stopped(tmp_path)
    original = run.job

    def of_other_code(rule):
        job = original(rule)
        job.params.code = "another version"
        return job

    run.job = of_other_code
    assert run.run("train") == 0
    assert "the code has changed since" in (run.folder / "train.log").read_text()
    assert run.files()["run.pkl"] == references["one_layer_attention"][0]["run.pkl"]


def limit_file_size(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_limit_of_the_file_size_ends_a_job_in_one_line_that_names_the_file(references, tmp_path):
    run = Run(tmp_path, "one_layer_attention", checkpoint_seconds=1000)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0
    before = run.files()
    assert run.run("train", limit_file_size(20_000)) == 1
    (line,) = run.said("train")
    assert line.startswith("OSError: [Errno 27] File too large")
    assert "run.pkl" in line or "run.checkpoint.pkl" in line
    assert run.files() == before
    assert [path.name for path in run.folder.glob(".*")] == []
    assert finish(run) == references["one_layer_attention"][0]


@pytest.fixture
def disk(tmp_path):
    """A disk of 160 KiB of its own; None where none may be mounted."""
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
        # The device that is always full shows the same error.
        with pytest.raises(OSError, match="No space left on device"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")
        return
    run = Run(disk / "run", "one_layer_attention", checkpoint_seconds=1000)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0, run.said(rule)
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
    assert finish(run) == references["one_layer_attention"][0]


def test_a_cache_that_may_not_be_written_ends_a_job_in_one_line(disk, references, tmp_path):
    run = Run((disk or tmp_path) / "run", "dam", checkpoint_seconds=1000)
    for rule in ("generate_sequences", "train_trunk"):
        assert run.run(rule) == 0, run.said(rule)
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
    assert finish(run) == references["dam"][0]


def test_every_write_goes_through_a_temporary_file_in_the_same_folder(tmp_path):
    seen = []
    with cache.atomic_write(tmp_path / "file.pkl") as file:
        file.write(b"new")
        seen = [path.name for path in tmp_path.iterdir()]
    (name,) = seen
    assert re.fullmatch(rf"\.file\.pkl\.[0-9a-f]{{8}}\.{os.getpid()}\.tmp", name)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pkl"]


def test_what_a_killed_write_left_is_removed_by_the_next_and_what_is_being_written_is_not(tmp_path):
    for name in ("file.pkl", "other.pkl"):
        writing = cache.atomic_write(tmp_path / name)
        child = os.fork()
        if child == 0:
            writing.__enter__()
            die()
        os.waitpid(child, 0)
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    with cache.atomic_write(tmp_path / "file.pkl") as first:
        first.write(b"first")
        if (child := os.fork()) == 0:
            with cache.atomic_write(tmp_path / "file.pkl") as second:
                second.write(b"second")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert (tmp_path / "file.pkl").read_bytes() == b"second"
    assert (tmp_path / "file.pkl").read_bytes() == b"first"
    assert [path.name.split(".")[1] for path in tmp_path.glob(".*.tmp")] == ["other"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "file.pkl").write_bytes(b"old")
    with pytest.raises(OSError, match=r"file\.pkl"), cache.atomic_write(tmp_path / "file.pkl") as file:
        file.write(b"new")
        raise OSError(28, "No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == ["file.pkl"]
    assert (tmp_path / "file.pkl").read_bytes() == b"old"
