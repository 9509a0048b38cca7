"""Aggregate generated tables of runs of the reference scale in their own process.

It prints seconds and peak MiB. ``python benchmarks/aggregation_job.py FOLDER TABLE RUNS (one_by_one | at_once)``;
the folder is filled at the first call. A process of its own, because the peak is that of all a process ever held.
"""

import resource
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "workflow" / "scripts"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from memorization.storage.cache import read_table, write_table  # noqa: E402
from memorization.tables.aggregation import aggregate  # noqa: E402
from memorization.tables.registry import TABLES  # noqa: E402

K, HELD_OUT, SEEDS = 100_000, 10_000, 5
WEIGHTS = ("pre_switch_1", "final", "swap_mlp", "swap_attention")
ARGS = {
    "model": "one_layer_attention",
    "K": K,
    "len_context": 100,
    "num_predictions": 99,
    "zipf_exponent": 1.0,
}


def generated_evaluation(seed: int) -> pd.DataFrame:
    """Return a table of the shape of a run's evaluation.

    It has four kinds of weights, two sets and held-out sequences.
    """
    generator = np.random.default_rng(seed)
    parts = []
    for weights in WEIGHTS:
        for sequence_set, number in ((0, K), (1, K), (-1, HELD_OUT)):
            parts.append(
                pd.DataFrame(
                    {
                        "weights": weights,
                        "sequence_set": sequence_set,
                        "sequence_rank": np.arange(number),
                        "num_appearances": generator.poisson(1e6 / np.arange(1, number + 1)),
                        "loss": generator.random(number, dtype=np.float32),
                        "accuracy": generator.random(number, dtype=np.float32),
                        "ideal_loss": generator.random(number, dtype=np.float32),
                        "ideal_accuracy": generator.random(number, dtype=np.float32),
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    table.attrs["num_parameters"] = 30_000
    return table


# The experiment `forgetting` of config/paper.yaml: six sets, tested each 20 iterations.
FORGETTING = {"K": 10_000, "num_switches": 5, "num_iters_per_set": 20_000, "num_iters": 120_000}
ITERS_PER_EPOCH = 20


def generated_epochs(seed: int) -> pd.DataFrame:
    """Return a table of the shape of a run's epochs.

    It has every 10th sequence of the sets so far.
    """
    generator = np.random.default_rng(seed)
    ranks = np.arange(0, FORGETTING["K"], 10, dtype=np.int32)
    iteration = np.arange(ITERS_PER_EPOCH, FORGETTING["num_iters"] + 1, ITERS_PER_EPOCH, dtype=np.int32)
    current = ((iteration - 1) // FORGETTING["num_iters_per_set"]).astype(np.int16)
    rows = (current + 1) * len(ranks)
    number = int(rows.sum())
    sets = np.concatenate([np.arange(last + 1, dtype=np.int16) for last in current])
    return pd.DataFrame(
        {
            "epoch": np.repeat(iteration // ITERS_PER_EPOCH, rows),
            "iter": np.repeat(iteration, rows),
            "current_set": np.repeat(current, rows),
            "sequence_set": np.repeat(sets, len(ranks)),
            "sequence_rank": np.tile(ranks, len(sets)),
            "loss": generator.random(number, dtype=np.float32),
            "accuracy": generator.random(number, dtype=np.float32),
            "ideal_loss": generator.random(number, dtype=np.float32),
            "ideal_accuracy": generator.random(number, dtype=np.float32),
        }
    )


GENERATED = {"evaluation": (generated_evaluation, SEEDS, {}), "epochs": (generated_epochs, 1, FORGETTING)}


def main(folder: Path, table: str, runs: int, how: str) -> None:
    """Aggregate ``runs`` runs, of five seeds each condition."""
    source = TABLES[table].source
    generate, different, changed = GENERATED[source]
    files = [folder / f"{seed}_{source}.parquet" for seed in range(different)]
    for seed, path in enumerate(files):
        if not path.exists():
            write_table(generate(seed), path)
    paths = [files[run % different] for run in range(runs)]
    conditions = [{"num_heads": run // SEEDS} for run in range(runs)]
    start = time.perf_counter()
    if how == "one_by_one":
        tables = (read_table(path, columns=TABLES[table].columns) for path in paths)
    else:
        tables = [read_table(path) for path in paths]
    aggregate(table, tables, conditions, [ARGS | changed | {"seed": run % SEEDS} for run in range(runs)])
    seconds = time.perf_counter() - start
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
