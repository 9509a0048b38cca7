"""CPU seconds and peak memory of the plan of a generated configuration.

``python benchmarks/plan.py RUNS [RUNS ...] [--experiments N]`` calls ``snakemake -n -q`` once for each number of
runs, which are divided among the experiments.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
SIZES = {"K": 8, "batch_size": 16, "num_iters_per_epoch": 5, "num_held_out": 8}
CONDITIONS = [
    {"model": "dam", "N": 8, "H": 4, "M": 45, "sweep": {"freeze": ["none", "A", "B", "both"], "lr": [0.01, 0.02]}},
    {
        "model": "one_layer_attention",
        "len_context": 8,
        "num_heads": 2,
        "sweep": {"freeze": ["none", "attention", "mlp", "embeddings"], "lr": [0.01, 0.02, 0.03]},
    },
]
NUM_CONDITIONS = 20


def configuration(num_experiments: int, seeds: int, folder: Path) -> dict:
    """Return a configuration of so many experiments with so many ``seeds`` each."""
    experiment = SIZES | {"conditions": CONDITIONS, "figures": ["contrasts", "by_epoch"], "seeds": seeds}
    # Trainings of different length share no trunk.
    lengths = [{"num_iters_per_set": 30 + 5 * number} for number in range(num_experiments)]
    return {
        "cache_dir": str(folder / "cache"),
        "results_dir": str(folder / "results"),
        "experiments": {f"planned_{i}": experiment | length for i, length in enumerate(lengths)},
    }


def measure(num_runs: int, num_experiments: int) -> None:
    """Plan so many runs, or a few less, in a process of its own, and print what that took."""
    seeds = max(1, num_runs // (NUM_CONDITIONS * num_experiments))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(configuration(num_experiments, seeds, Path(folder))))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call = [sys.executable, "-m", "snakemake", "-n", "-q", "--configfile", file]
        subprocess.run(call, cwd=REPOSITORY, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The peak is that of the largest plan so far: give the numbers of runs in increasing order.
    planned, megabytes = NUM_CONDITIONS * num_experiments * seeds, after.ru_maxrss * 1024 / 10**6
    print(f"{planned} runs in {num_experiments} experiments: {seconds:.1f} CPU seconds, {megabytes:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=int, nargs="+")
    parser.add_argument("--experiments", type=int, default=1)
    arguments = parser.parse_args()
    for number in arguments.runs:
        measure(number, arguments.experiments)
