"""The workflow as a whole, killed with its jobs or started twice in one folder."""

import os
import signal
import subprocess
import time

import pytest
import yaml
from conftest import SNAKEMAKE, copy_repository, snakemake

pytestmark = pytest.mark.slow

SMALL = {
    "checkpoint_seconds": 0.2,
    "defaults": {
        "one_layer_attention": {
            "K": 30, "len_context": 12, "num_heads": 2, "num_hidden_features": 4, "batch_size": 16,
            "num_iters_per_set": 400, "num_iters_per_epoch": 100, "num_held_out": 20,
        }
    },
    "experiments": {
        "freeze": {
            "model": "one_layer_attention", "sweep": {"freeze": ["none", "mlp"]}, "seeds": 1,
            "figures": ["by_weights"],
        },
    },
}  # fmt: skip


def repository(folder):
    copy_repository(folder)
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


def results(folder):
    """Every file that is compared byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for root in ("cache", "results")
        for path in sorted((folder / root).rglob("*"))
        if path.suffix in (".pkl", ".parquet", ".csv", ".pdf", ".png")
    }


def start(folder):
    """Start the workflow in a process group of its own."""
    with open(folder / "printed", "w") as printed:
        return subprocess.Popen(
            [SNAKEMAKE, "--cores", "2"],
            cwd=folder,
            stdout=printed,
            stderr=printed,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The files of an uninterrupted run, and how long it takes."""
    folder = repository(tmp_path_factory.mktemp("reference"))
    begin = time.monotonic()
    snakemake(folder, "--cores", "2")
    return results(folder), time.monotonic() - begin


def test_the_workflow_killed_with_its_jobs_goes_on_by_itself_to_the_same_bytes(reference, tmp_path):
    expected, seconds = reference
    folder = repository(tmp_path)
    # In the trunk, in the branches, in the tables.
    for share in (0.3, 0.3, 0.3):
        process = start(folder)
        time.sleep(share * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    snakemake(folder, "--cores", "2")
    assert results(folder) == expected
    left = [path for path in (folder / "cache").rglob("*") if ".tmp" in path.name or "checkpoint" in path.name]
    assert left == []


def test_a_second_run_in_the_same_folder_says_so_in_one_line_and_harms_nothing(reference, tmp_path):
    expected, _ = reference
    folder = repository(tmp_path)
    first = start(folder)
    while "rule train" not in (folder / "printed").read_text():
        time.sleep(0.1)
        assert first.poll() is None
    second = snakemake(folder, "--cores", "2", check=False)
    assert second.returncode == 1
    said = "another run of the workflow is going on in this folder: wait for it to end, or run in another folder"
    assert second.stderr.splitlines()[-1] == said
    assert "Traceback" not in second.stderr
    assert first.wait() == 0, (folder / "printed").read_text()
    assert results(folder) == expected


def test_a_dry_run_beside_a_run_is_let_through(reference, tmp_path):
    folder = repository(tmp_path)
    first = start(folder)
    while "rule train" not in (folder / "printed").read_text():
        time.sleep(0.1)
        assert first.poll() is None
    assert snakemake(folder, "-n").returncode == 0
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
