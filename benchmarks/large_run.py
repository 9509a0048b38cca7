"""The peak memory of the jobs of a run with a million sequences of 100 bits.

``python benchmarks/large_run.py FOLDER JOB`` does one of `JOBS` and prints its peak in MiB. The jobs are done in
their order, each in a process of its own, because the peak is that of all a process ever held.

The model is a small DAM. It evaluates these sequences in minutes. It needs more memory for the sets than a
transformer, because its queue has a copy of them.
"""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

from memorization.configuration.settings import DamSettings  # noqa: E402
from memorization.sequences import generate_sequence_set  # noqa: E402
from memorization.storage.cache import (  # noqa: E402
    read_pickle,
    read_sequences,
    write_pickle,
    write_sequences,
    write_table,
)

ARGS = DamSettings(
    model="dam", K=1_000_000, N=100, H=2, M=20, batch_size=20, num_switches=1, num_iters_per_set=10,
    num_iters_per_epoch=5, seed=0,
).resolved()  # fmt: skip
LIMIT_MIB = 2048


def generate(folder: Path) -> None:
    """Generate both sets."""
    sets = [generate_sequence_set(0, sequence_set, ARGS["K"], ARGS["N"]) for sequence_set in (0, 1)]
    write_sequences(sets, [0, ARGS["num_iters_per_set"]], folder / "sequences.pkl")


def train(folder: Path) -> None:
    """Train through the switch, with tests of every 10th sequence."""
    from memorization.training.training import Training

    training = Training(ARGS, *read_sequences(folder / "sequences.pkl"))
    training.run(ARGS["num_iters"])
    write_pickle(training.results(), folder / "run.pkl")


def evaluate(folder: Path) -> None:
    """Evaluate all sequences under all kinds of weights."""
    from memorization.training.evaluation import evaluate_run

    results = read_pickle(folder / "run.pkl")
    sequence_sets, _ = read_sequences(folder / "sequences.pkl")
    for name, table in evaluate_run(results, sequence_sets, 10_000).items():
        write_table(table, folder / f"{name}.parquet")


JOBS: dict[str, Callable[[Path], None]] = {"generate": generate, "train": train, "evaluate": evaluate}


def peak_with_a_million_sequences() -> dict:
    """Measure the largest peak of the jobs against its limit."""
    with tempfile.TemporaryDirectory() as folder:
        job = [sys.executable, __file__, folder]
        peaks = {
            name: round(float(subprocess.run([*job, name], check=True, capture_output=True, text=True).stdout))
            for name in JOBS
        }
    of_each = ", ".join(f"{name} {peak} MiB" for name, peak in peaks.items())
    return {
        "benchmark": "peak memory",
        "setting": f"DAM, K 1000000, N 100, two sets, {of_each}",
        "baseline": "2 GiB",
        "ours_mib": max(peaks.values()),
        "baseline_mib": LIMIT_MIB,
    }


if __name__ == "__main__":
    JOBS[sys.argv[2]](Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
