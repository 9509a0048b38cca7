"""CPU seconds and peak MiB of the plan of a generated configuration.

``python benchmarks/plan.py RUNS [RUNS ...]`` calls ``snakemake -n -q`` once for each number of runs.
"""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parent.parent
SIZES = {"K": 8, "batch_size": 16, "num_iters_per_set": 30, "num_iters_per_epoch": 5, "num_held_out": 8}
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


def configuration(num_runs: int, folder: Path) -> dict:
    """Return a configuration of ``num_runs`` runs in one experiment."""
    experiment = SIZES | {"conditions": CONDITIONS, "figures": ["contrasts", "by_epoch"]}
    return {
        "cache_dir": str(folder / "cache"),
        "results_dir": str(folder / "results"),
        "experiments": {"planned": experiment | {"seeds": max(1, num_runs // NUM_CONDITIONS)}},
    }


def measure(num_runs: int) -> None:
    """Plan so many runs in a process of its own, and print what that took."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(configuration(num_runs, Path(folder))))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call = [sys.executable, "-m", "snakemake", "-n", "-q", "--configfile", file]
        subprocess.run(call, cwd=REPOSITORY, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The peak is that of the largest plan so far: give the numbers of runs in increasing order.
    print(f"{num_runs} runs: {seconds:.1f} CPU seconds, {after.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    for number in sys.argv[1:]:
        measure(int(number))
