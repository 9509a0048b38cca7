"""How many jobs, iterations, rows, bytes and core hours a configuration asks for.

The numbers follow from the settings alone, before anything is run. The rows are exact, but for pairs of bits
that no held-out sequence has. The bytes are those of the pickles, and for the rest those of earlier runs. The
hours are those of `cost`.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from .cost import (
    SECONDS_OF_ROW,
    SECONDS_OF_RUN,
    SECONDS_OF_TRUNK,
    SPEEDS,
    seconds_of_iteration,
    seconds_of_tests,
)
from .experiments import Run

Settings = dict[str, Any]

# The numbers that the amounts grow with; one of them is to blame for an amount out of proportion.
GROWING = (
    "num_switches", "K", "num_iters_per_set", "num_held_out", "len_context", "num_layers", "num_heads",
    "num_hidden_features", "num_hidden_features_mlp", "num_mlp_layers", "M", "N", "H", "batch_size_after_switch",
    "batch_size",
)  # fmt: skip
# A setting that follows another one is lowered with it, unless it is larger.
LOWERED_WITH = {"num_iters_per_set": "num_iters_of_last_set", "batch_size": "batch_size_after_switch"}
# As in training/evaluation.py: sequences of a set whose single predictions are kept.
ALL_PREDICTED, PREDICTED_STRIDE, MOST_PREDICTED = 1000, 10, 10_000
# Of each .parquet file of a run: the bytes that it has without rows, and those of each row.
BYTES_OF_TABLE = {
    "evaluation": (7000, 6.6),
    "positions": (4800, 6.9),
    "predictions": (4000, 13.0),
    "attention": (5000, 5.5),
    "epochs": (5800, 6.9),
    "diagnostics": (4500, 45.0),
}
BYTES_OF_PREDICTED_BIT = 2.7
BYTES_OF_PREDICTED_COLUMN = 450
BYTES_OF_ENTRY = 200
# Logs, benchmarks and the records of where a file comes from.
BYTES_BESIDE_RUN, BYTES_BESIDE_TRUNK = 18_000, 5_000


class Amount(NamedTuple):
    """What a run, an experiment or a configuration asks for."""

    iterations: int
    rows: int
    bytes: int
    bytes_of_checkpoints: int
    """Beside ``bytes``, until the call of Snakemake has ended well."""
    seconds: float
    """Of one core, without a GPU."""
    batch: int
    """Sequences of the largest batch."""


# With more rows, the tables of a run need more memory than its job asks for (rules/evaluation.smk), and days. So
# does a training with more sequences in a batch. The hours that are too many depend on the machine.
MOST_OF_RUN = Amount(
    iterations=10**8,
    rows=10**8,
    bytes=100 * 10**9,
    bytes_of_checkpoints=100 * 10**9,
    seconds=math.inf,
    batch=10**7,
)


def amount_of(runs: Collection[Run], trunks: Mapping[str, Settings]) -> Amount:
    """Return what ``runs`` and the ``trunks`` that they share ask for together."""
    of_runs = [amount_of_run(run.settings) for run in runs]
    branches = [run.settings for run in runs if run.settings["num_switches"]]
    shared = sum(settings["num_iters_per_set"] for settings in branches)
    return Amount(
        sum(amount.iterations for amount in of_runs)
        - shared
        + sum(settings["num_iters_per_set"] for settings in trunks.values()),
        sum(amount.rows for amount in of_runs),
        sum(amount.bytes for amount in of_runs) + sum(map(bytes_of_trunk, trunks.values())),
        sum(amount.bytes_of_checkpoints for amount in of_runs)
        + sum(bytes_of_checkpoint(first_set_alone(settings)) for settings in trunks.values()),
        sum(amount.seconds for amount in of_runs)
        - sum(map(seconds_of_first_set, branches))
        + sum(SECONDS_OF_TRUNK + seconds_of_first_set(settings) for settings in trunks.values()),
        max((amount.batch for amount in of_runs), default=0),
    )


def amount_of_run(settings: Settings) -> Amount:
    """Return what one run asks for, its trunk not counted in the bytes."""
    rows = rows_of_tables(settings)
    return Amount(
        num_iterations(settings),
        sum(rows.values()),
        bytes_of_run(settings, rows),
        bytes_of_checkpoint(settings),
        seconds_of_run(settings, rows),
        largest_batch(settings),
    )


def largest_batch(settings: Settings) -> int:
    """Return the sequences of the largest batch of a run."""
    return max(settings["batch_size"], settings["batch_size_after_switch"] if settings["num_switches"] else 0)


def seconds_of_run(settings: Settings, rows: dict[str, int]) -> float:
    """Return the CPU seconds of the jobs of a run, its trunk among them.

    Its tables have so many ``rows``.
    """
    later_sets = [(sets, length) for sets, length in sets_and_lengths(settings) if sets.start]
    later = sum(len(sets) * length for sets, length in later_sets)
    epochs = later // settings["num_iters_per_epoch"]
    # A sequence has a row for each test, and for each kind of weights that it is evaluated under.
    tests = rows["epochs"] - tests_of_first_set(settings)
    return (
        SECONDS_OF_RUN
        + seconds_of_first_set(settings)
        + later * seconds_of_iteration(settings, settings["batch_size_after_switch"])
        + seconds_of_tests(settings, epochs, tests + rows["evaluation"])
        + SECONDS_OF_ROW * sum(rows.values())
    )


def seconds_of_first_set(settings: Settings) -> float:
    """Return the CPU seconds of the first set: its training and its tests."""
    (_, length), *_ = sets_and_lengths(settings)
    epochs = length // settings["num_iters_per_epoch"]
    training = length * seconds_of_iteration(settings, settings["batch_size"])
    return training + seconds_of_tests(settings, epochs, tests_of_first_set(settings))


def tests_of_first_set(settings: Settings) -> int:
    """Return how many sequences are tested before the first switch, each time counted."""
    (_, length), *_ = sets_and_lengths(settings)
    return length // settings["num_iters_per_epoch"] * -(-settings["K"] // settings["test_stride"])


def sets_and_lengths(settings: Settings) -> list[tuple[range, int]]:
    """Return the sets of a run, and the iterations on each.

    Those between the first and the last are one range. The first is apart, because no switch is before it.
    """
    num_switches, last = settings["num_switches"], settings["num_iters_of_last_set"]
    if not num_switches:
        return [(range(1), last)]
    per_set = settings["num_iters_per_set"]
    return [(range(1), per_set), (range(1, num_switches), per_set), (range(num_switches, num_switches + 1), last)]


def num_iterations(settings: Settings) -> int:
    """Return the number of iterations of a run."""
    return sum(len(sets) * length for sets, length in sets_and_lengths(settings))


def rows_of_tables(settings: Settings) -> dict[str, int]:
    """Return the number of rows of each ``<run>_<table>.parquet``."""
    K, bits, num_held_out = settings["K"], settings["num_predictions"], settings["num_held_out"]
    num_sets, weights = settings["num_switches"] + 1, num_weights(settings)
    # A model with a memory is also evaluated with a new set in it, before the first switch and at the end.
    refilled = (1 if num_sets == 1 else 2) if settings["model"] == "dam" else 0
    predicted = num_sets * num_predicted(K) + num_predicted(num_held_out)
    return {
        "evaluation": weights * (num_sets * K + num_held_out) + refilled * K,
        "positions": (weights * (num_sets + 1) + refilled) * bits,
        "predictions": weights * predicted + refilled * num_predicted(K),
        "attention": weights * attention_entries(settings),
        "epochs": num_tests(settings),
        "diagnostics": num_epochs(settings),
    }


def num_weights(settings: Settings) -> int:
    """Return how many kinds of weights a run is evaluated under."""
    swapped = 2 if settings["num_switches"] else 0
    return settings["num_switches"] + 1 + num_saved(settings) + swapped


def num_saved(settings: Settings) -> int:
    """Return how many weights ``saved_iters`` asks for."""
    saved_iters = settings["saved_iters"]
    return sum(len(sets) * sum(t <= length for t in saved_iters) for sets, length in sets_and_lengths(settings))


def num_predicted(number: int) -> int:
    """Return of how many of so many sequences the single predictions are kept."""
    stride = 1 if number <= ALL_PREDICTED else max(PREDICTED_STRIDE, -(-number // MOST_PREDICTED))
    return -(-number // stride)


def num_epochs(settings: Settings) -> int:
    """Return the number of epochs of a run."""
    return num_iterations(settings) // settings["num_iters_per_epoch"]


def num_tests(settings: Settings) -> int:
    """Return how many sequences are tested during a training, each time counted."""
    epoch, of_set = settings["num_iters_per_epoch"], -(-settings["K"] // settings["test_stride"])
    tested = 0
    for sets, length in sets_and_lengths(settings):
        after_switch = settings["test_iters_after_switch"] if sets.start else []
        moments = length // epoch + sum(t <= length and t % epoch > 0 for t in after_switch)
        # While set s is trained on, s + 1 sets are tested, or itself alone.
        tested_sets = len(sets) * (sets.start + sets.stop + 1) // 2 if settings["test_earlier_sets"] else len(sets)
        tested += moments * tested_sets * of_set
    return tested


def attention_entries(settings: Settings) -> int:
    """Return the number of rows that the attention of one kind of weights takes."""
    length = settings["len_context"]
    pairs = length * (length - 1) // 2
    if settings["model"] == "dam":
        return settings["H"] * pairs
    # Four pairs of bits, but two where the query itself is the key.
    heads = settings.get("num_layers", 1) * settings.get("num_heads", 1)
    return heads * (4 * pairs - 2 * (length - 1))


def num_values(settings: Settings) -> tuple[int, int]:
    """Return the number of values in a state dict, and of those that are in no part.

    Both are 0 for a model that is not known here: its weights are not counted.
    """
    if settings["model"] == "dam":
        N, H = settings["N"], settings["H"]
        return H * N * (N + 1), H * N * (N + 1)
    if settings["model"] not in ("gpt", "one_layer_attention"):
        return 0, 0
    C, layers = settings["num_heads"] * settings["num_hidden_features"], settings["num_layers"]
    embeddings = (2 + settings["len_context"]) * C
    if settings["model"] == "gpt":
        attention, mlp = layers * 4 * C * (C + 1), layers * (4 * C * (C + 1) + C * (4 * C + 1))
        return embeddings + attention + mlp + (4 * layers + 4) * C, embeddings + 2 * C
    C_mlp, attention = settings["num_hidden_features_mlp"], 3 * C * (C + 1)
    mlp = (C + 1) * C_mlp + (settings["num_mlp_layers"] - 1) * (C_mlp + 1) * C_mlp + (C_mlp + 1) * 2
    return embeddings + attention + 2 * C + mlp, embeddings + 2 * C


def bytes_of_weights(settings: Settings) -> int:
    """Return the bytes of the weights of a model in a pickle."""
    entries = 12 * settings["num_layers"] + 4 if "num_layers" in settings else 3
    return 4 * num_values(settings)[0] + BYTES_OF_ENTRY * entries


def bytes_of_state(settings: Settings) -> int:
    """Return the bytes of a state dict in a pickle, a DAM's memory among them."""
    memory = settings["M"] * settings["N"] if settings["model"] == "dam" else 0
    return bytes_of_weights(settings) + memory


def bytes_of_logs(settings: Settings, epochs: int, tests: int) -> int:
    """Return the bytes of so many epochs, with so many tests, in a pickle."""
    return epochs * (8 * settings["K"] + 700) + 24 * tests


def bytes_of_run(settings: Settings, rows: dict[str, int]) -> int:
    """Return the bytes of the files of a run, whose tables have so many ``rows``."""
    num_sets, saved = settings["num_switches"] + 1, num_saved(settings)
    values, in_no_part = num_values(settings)
    of_parts = 4 * (values - in_no_part) * min(num_sets, 2)
    tables = sum(empty + each * rows[table] for table, (empty, each) in BYTES_OF_TABLE.items())
    predictions = settings["num_predictions"] * (
        BYTES_OF_PREDICTED_COLUMN + BYTES_OF_PREDICTED_BIT * rows["predictions"]
    )
    return round(
        8 * num_sets * settings["K"] * settings["len_context"]
        + (num_sets + saved) * bytes_of_state(settings)
        + saved * 8 * settings["K"]
        + of_parts
        + bytes_of_logs(settings, rows["diagnostics"], rows["epochs"])
        + tables
        + predictions
        + BYTES_BESIDE_RUN
    )


def bytes_of_checkpoint(settings: Settings) -> int:
    """Return the bytes of the checkpoint at the end of the training of a run."""
    saved = num_saved(settings)
    # The weights and two moments of each, and the row numbers in a queue; then the states that were kept.
    learner = 3 * bytes_of_weights(settings) + 8 * settings.get("M", 0)
    states = (settings["num_switches"] + saved) * bytes_of_state(settings) + saved * 8 * settings["K"]
    return learner + states + bytes_of_logs(settings, num_epochs(settings), num_tests(settings))


def bytes_of_trunk(settings: Settings) -> int:
    """Return the bytes of the files of the trunk of a run.

    The trunk is a checkpoint itself.
    """
    return bytes_of_checkpoint(first_set_alone(settings)) + BYTES_BESIDE_TRUNK


def first_set_alone(settings: Settings) -> Settings:
    """Return the settings of a run that ends where the trunk of a run does."""
    return settings | {"num_switches": 0, "num_iters_of_last_set": settings["num_iters_per_set"]}


def told_plan(runs: Collection[Run], trunks: Mapping[str, Settings], num_jobs: int) -> list[str]:
    """Return the lines that say what ``runs`` ask for, and what is out of proportion."""
    amount = shown_amount(amount_of(runs, trunks), {run.settings["model"] for run in runs})
    return [
        f"the whole configuration: {num_jobs} jobs, {len(runs)} runs, {amount}",
        *out_of_proportion(runs),
    ]


def out_of_proportion(runs: Iterable[Run]) -> list[str]:
    """Return a line for each experiment with a run that cannot be meant."""
    largest: dict[str, Run] = {}
    for run in runs:
        others = [largest[run.group]] if run.group in largest else []
        if excess(run.settings)[0] > max([1, *(excess(other.settings)[0] for other in others)]):
            largest[run.group] = run
    lines = []
    for group, run in largest.items():
        setting = to_blame(run.settings)
        amount = amount_of_run(run.settings)
        batch = f"batches of {shown_number(amount.batch)} sequences, " if amount.batch > MOST_OF_RUN.batch else ""
        lines.append(
            f"experiments.{group}: out of proportion: one run has {batch}"
            f"{shown_amount(amount, {run.settings['model']})}, most of it by {setting}: {run.settings[setting]}"
        )
    return lines


def excess(settings: Settings) -> tuple[float, int]:
    """Return by how much a run exceeds `MOST_OF_RUN`, and in which of its numbers."""
    amount = amount_of_run(settings)
    return max((number / most, i) for i, (number, most) in enumerate(zip(amount, MOST_OF_RUN, strict=True)))


def to_blame(settings: Settings) -> str:
    """Return the setting that, were it 2, would leave the least of what is too much."""
    _, exceeded = excess(settings)

    def left(key: str) -> int:
        follower = LOWERED_WITH.get(key, key)
        lowered = [key, follower] if settings[follower] <= settings[key] else [key]
        # Sequences of one bit would have no attention.
        return amount_of_run(settings | {one: min(2, settings[one]) for one in lowered})[exceeded]

    return min((key for key in GROWING if settings.get(key)), key=left)


def shown_amount(amount: Amount, models: set[str]) -> str:
    """Return an amount of runs of these ``models`` in words."""
    unknown = sorted(models - SPEEDS.keys())
    others = f", and those of {' and '.join(unknown)}, whose speed is not known" if unknown else ""
    return (
        f"{shown_number(amount.iterations)} iterations of training, {shown_number(amount.rows)} rows of tables, "
        f"{shown_number(amount.bytes / 10**9)} GB in the cache, "
        f"at most {shown_number((amount.bytes + amount.bytes_of_checkpoints) / 10**9)} GB while it runs, "
        f"about {shown_number(amount.seconds / 3600)} core hours without a GPU{others}"
    )


def shown_number(number: float) -> str:
    """Return a number with two digits or more, or in words: ``7.3 million``."""
    for size, name in ((10**12, " trillion"), (10**9, " billion"), (10**6, " million"), (1, "")):
        if number >= 10 * size:
            return f"{number / size:.0f}{name}"
        if number >= size:
            return f"{number / size:.2g}{name}"
    return f"{number:.2g}"
