"""The benchmarks: ``make benchmark`` writes results/benchmarks.csv.

Each compares two things of which the repository says that one is faster than, or as fast as, the other. Both
are measured in turn, in one process, and the medians are compared: on a noisy machine the ratio means something
and the milliseconds do not. Two measure a share: their ratio is the part of the CPU time of a run of the workflow
that is spent on training and evaluation. The last one compares the peak of the memory with its limit.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "benchmarks")]

import cpu_shares  # noqa: E402
import large_run  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
import usual_loop  # noqa: E402
from plain_dam import PlainDam  # noqa: E402

from memorization.configuration.settings import DamSettings, GptSettings, OneLayerAttentionSettings  # noqa: E402
from memorization.models.learners import build_learner, set_up_torch  # noqa: E402
from memorization.models.transformer import TransformerLearner  # noqa: E402
from memorization.sequences import (  # noqa: E402
    cumulative_probabilities,
    generate_sequence_set,
    rank_probabilities,
    sample_batch_ranks,
)
from memorization.storage.cache import write_table  # noqa: E402
from memorization.training.training import Training  # noqa: E402

THREADS = 1


def median_milliseconds(sides: list[Callable[[], object]], repetitions: int) -> list[float]:
    """Return the median duration of a call of each of ``sides``, in milliseconds.

    All are called in turn, ``repetitions`` times. Each is called once more before it is timed: it then has the
    memory and the caches as in a loop of its own.
    """
    durations: list[list[float]] = [[] for _ in sides]
    for _ in range(repetitions):
        for side, found in zip(sides, durations, strict=True):
            side()
            start = time.perf_counter()
            side()
            found.append(1000 * (time.perf_counter() - start))
    return [statistics.median(found) for found in durations]


def compared(sides: list[Callable[[], object]], repetitions: int, **row: str) -> dict:
    """Time ours against the baseline, the two ``sides``, and return the whole ``row`` of a benchmark."""
    ours_ms, baseline_ms = median_milliseconds(sides, repetitions)
    return row | {"ours_ms": ours_ms, "baseline_ms": baseline_ms}


class TransformerTraining:
    """The training of a transformer, in our form and in the plain form.

    The plain form is autograd on all sequences of a batch, with `scaled_dot_product_attention`. Both begin with
    the same weights and see the same batches.
    """

    def __init__(self, settings: OneLayerAttentionSettings | GptSettings, of_model: str = ""):
        """Start two trainings with ``settings``. ``of_model`` says what is particular to the model."""
        self.args = args = settings.resolved()
        self.setting = (
            "K {K}, L {len_context}, {num_heads} heads of 8, batch {batch_size}".format(**args) + of_model
        )
        self.sequences = generate_sequence_set(0, 0, args["K"], args["len_context"])
        self.ours, self.plain = (Training(args, [self.sequences], [0]) for _ in range(2))
        self.plain.learner = TransformerLearner(self.plain.learner.model, self.plain.settings)

    def learn_ours(self) -> Callable[[], object]:
        """Return an iteration of training as it is: a batch is drawn and learned."""
        return self._iteration(self.ours)

    def learn_plainly(self) -> Callable[[], object]:
        """Return the same with the operations of PyTorch and autograd."""
        return self._iteration(self.plain)

    def learn_as_usual(self) -> Callable[[], object]:
        """Return an iteration of the loop as it is usually written."""
        model, settings = self.plain.learner.model, self.plain.settings
        p = rank_probabilities(settings.K, settings.zipf_exponent)
        losses = usual_loop.train(model, self.sequences, p, settings.lr, settings.batch_size, settings.num_iters)
        return lambda: next(losses)

    @staticmethod
    def _iteration(training: Training) -> Callable[[], object]:
        iterations = training.iterations(training.args["num_iters"])
        return lambda: next(iterations)

    def sides(self) -> list[Callable[[], object]]:
        """Return an iteration of each form, after a few that have the same losses in both."""
        sides = [self.learn_ours(), self.learn_plainly()]
        for side in 3 * sides:
            side()
        difference = abs(self.ours.epoch_loss - self.plain.epoch_loss).item()
        assert difference < 1e-4, f"the two forms differ by {difference} nats: one of them is wrong"
        return sides


class OneLayerTraining(TransformerTraining):
    """The training of a one-layer model, in both forms."""

    def __init__(self, K: int, L: int, num_heads: int, batch_size: int):
        settings = OneLayerAttentionSettings(
            model="one_layer_attention", K=K, len_context=L, num_heads=num_heads, batch_size=batch_size,
            num_iters_per_set=10_000, num_iters_per_epoch=10_000, num_switches=0, seed=0,
        )  # fmt: skip
        super().__init__(settings)


class GptTraining(TransformerTraining):
    """The training of a GPT, in both forms."""

    def __init__(self, K: int, L: int, num_heads: int, num_layers: int, batch_size: int):
        settings = GptSettings(
            model="gpt", K=K, len_context=L, num_heads=num_heads, num_layers=num_layers, batch_size=batch_size,
            num_iters_per_set=10_000, num_iters_per_epoch=10_000, num_switches=0, seed=0,
        )  # fmt: skip
        super().__init__(settings, f", {num_layers} layers")
        for block in self.plain.learner.model.h:
            block.attn.few_positions = 0


def one_layer_iteration(repetitions: int, **sizes: int) -> dict:
    """Time an iteration of the one-layer model against that of autograd."""
    training = OneLayerTraining(**sizes)
    return compared(
        training.sides(),
        repetitions,
        benchmark="one-layer iteration",
        setting=training.setting,
        baseline="scaled_dot_product_attention and autograd",
    )


def one_layer_at_the_reference_size() -> dict:
    """Time an iteration at the reference size."""
    return one_layer_iteration(20, K=100_000, L=100, num_heads=8, batch_size=256)


def one_layer_with_many_heads() -> dict:
    """Time an iteration with 20 heads."""
    return one_layer_iteration(10, K=100_000, L=100, num_heads=20, batch_size=256)


def one_layer_at_the_laptops_size() -> dict:
    """Time an iteration of the laptop's configuration."""
    return one_layer_iteration(300, K=100, L=20, num_heads=8, batch_size=64)


def one_layer_without_copies() -> dict:
    """Time an iteration whose batch has hardly a sequence twice."""
    training = OneLayerTraining(K=100_000, L=100, num_heads=8, batch_size=256)
    uniform = cumulative_probabilities(rank_probabilities(100_000, 0.0))
    training.ours.cumulative = training.plain.cumulative = uniform
    return compared(
        training.sides(),
        20,
        benchmark="one-layer iteration, uniform sampling",
        setting=training.setting,
        baseline="scaled_dot_product_attention and autograd",
    )


def one_layer_against_the_usual_loop() -> dict:
    """Time an iteration against the loop as it is usually written."""
    training = OneLayerTraining(K=100_000, L=100, num_heads=8, batch_size=256)
    return compared(
        [training.learn_ours(), training.learn_as_usual()],
        10,
        benchmark="one-layer iteration",
        setting=training.setting,
        baseline="a DataLoader that draws one sequence at a time, then autograd",
    )


def one_layer_evaluation() -> dict:
    """Time the evaluation of 2048 sequences at the reference size."""
    training = OneLayerTraining(K=2048, L=100, num_heads=8, batch_size=256)
    learners = (training.ours.learner, training.plain.learner)
    sides = [partial(learner.evaluate, training.sequences) for learner in learners]
    return compared(
        sides,
        5,
        benchmark="one-layer evaluation",
        setting="2048 sequences, L 100, 8 heads of 8",
        baseline="scaled_dot_product_attention",
    )


def gpt_iteration(repetitions: int, **sizes: int) -> dict:
    """Time an iteration of GPT against that of autograd on all sequences."""
    training = GptTraining(**sizes)
    return compared(
        training.sides(),
        repetitions,
        benchmark="GPT iteration",
        setting=training.setting,
        baseline="scaled_dot_product_attention and autograd on all sequences of the batch",
    )


def gpt_at_the_laptops_size() -> dict:
    """Time an iteration of the laptop's configuration."""
    return gpt_iteration(200, K=100, L=20, num_heads=4, num_layers=2, batch_size=64)


def gpt_at_the_reference_size() -> dict:
    """Time an iteration at the reference size, with 2 of its 12 layers."""
    return gpt_iteration(5, K=100_000, L=100, num_heads=8, num_layers=2, batch_size=256)


class FullDam:
    """A DAM with a full queue, and its batches; by default at the notes' reference size."""

    def __init__(self, N: int = 50, H: int = 30, M: int = 3000, K: int = 500, batch_size: int = 50):
        self.args = DamSettings(
            model="dam", N=N, H=H, M=M, K=K, eta=10, batch_size=batch_size, lr=1e-2,
            num_iters_per_set=50_000, num_iters_per_epoch=500, seed=0,
        ).resolved()  # fmt: skip
        self.setting = f"N {N}, H {H}, M {M}, K {K}, batch {batch_size}"
        self.sequences = generate_sequence_set(0, 0, K, N)
        self.cumulative = cumulative_probabilities(rank_probabilities(K, 1.0))
        self.learner = build_learner(SimpleNamespace(**self.args), [self.sequences])
        start = self.learner.state_dict()
        self.plain = PlainDam(start["A_logits"], start["B_logits"], M, self.args["eta"], self.args["lr"])
        self.iteration = 0
        filling = np.concatenate([self._next_ranks() for _ in range(-(-M // batch_size))])
        self.learner.append(filling)
        self.plain.append(self._bits(filling).float() * 2 - 1)
        self.batches = [self._next_ranks() for _ in range(1000)]

    @property
    def num_distinct(self) -> int:
        """The number of distinct sequences in the queue."""
        return self.learner.diagnostics(0, 0)["num_distinct_stored"]

    def _next_ranks(self) -> np.ndarray:
        self.iteration += 1
        return sample_batch_ranks(self.cumulative, self.args["batch_size"], 0, self.iteration)

    def _bits(self, ranks: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.sequences[ranks])

    def learn_ours(self) -> Callable[[], object]:
        """Return an iteration of our form, on one batch after the other."""
        batches = iter(self.batches)

        def learn() -> torch.Tensor:
            ranks = next(batches)
            return self.learner.learn(self._bits(ranks), ranks)

        return learn

    def learn_plainly(self) -> Callable[[], object]:
        """Return an iteration of the plain form, on the same batches."""
        batches = iter(self.batches)
        return lambda: self.plain.learn(self._bits(next(batches)).float() * 2 - 1)


def against_the_plain_loop(dam: FullDam, repetitions: int) -> dict:
    """Time an iteration against the plain loop.

    The plain loop goes over n and over the M stored sequences.
    """
    ours, plain = dam.learn_ours(), dam.learn_plainly()
    difference = abs(ours().item() - plain().item())
    # In double precision they agree to 1e-12; in single, the plain form loses digits in 1 − P(+1).
    assert difference < 1e-3, f"the two forms differ by {difference} nats: one of them is wrong"
    return compared(
        [ours, plain],
        repetitions,
        benchmark="DAM iteration",
        setting=dam.setting,
        baseline="plain loop over n, all M stored sequences",
    )


def dam_at_the_reference_size() -> dict:
    """Time an iteration at the reference size."""
    return against_the_plain_loop(FullDam(), 30)


def dam_at_the_laptops_size() -> dict:
    """Time an iteration of the laptop's configuration."""
    return against_the_plain_loop(FullDam(N=32, H=16, M=1000, K=100, batch_size=32), 200)


def dam_with_a_large_memory() -> dict:
    """Time an iteration with a large memory against the reference size.

    The large memory has a hundred times as many sequences.
    """
    large, small = FullDam(M=300_000), FullDam()
    return compared(
        [large.learn_ours(), small.learn_ours()],
        200,
        benchmark="DAM iteration, large memory",
        setting=f"{large.setting}, {large.num_distinct} distinct in the queue",
        baseline=f"ours with M 3000, {small.num_distinct} distinct in the queue",
    )


def dam_evaluation() -> dict:
    """Time the evaluation of a set at the reference size."""
    dam = FullDam()
    zeta = torch.from_numpy(dam.sequences).float() * 2 - 1
    sides = [partial(dam.learner.evaluate, dam.sequences), torch.no_grad()(partial(dam.plain.loss, zeta))]
    return compared(
        sides,
        5,
        benchmark="DAM evaluation",
        setting=dam.setting,
        baseline="plain loop over n, all M stored sequences",
    )


def aggregation(folder: Path, table: str, runs: int, how: str) -> tuple[float, int]:
    """Return the duration (ms) and the peak memory (MiB) of an aggregation.

    It aggregates generated evaluations.
    """
    job = [sys.executable, REPOSITORY / "benchmarks" / "aggregation_job.py", folder, table, str(runs), how]
    seconds, peak = subprocess.run(job, check=True, capture_output=True, text=True).stdout.split()
    return 1000 * float(seconds), round(float(peak))


def aggregation_one_by_one() -> dict:
    """Time the aggregation of runs one at a time against all of them at once.

    One at a time, only the columns that are needed are read.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        aggregation(folder, "by_weights", 1, "one_by_one")
        pairs = [[aggregation(folder, "by_rank", 20, how) for how in ("one_by_one", "at_once")] for _ in range(3)]
        ours, baseline = (sorted(side)[1] for side in zip(*pairs, strict=True))
    return {
        "benchmark": "aggregation by rank",
        "setting": f"20 runs of 840000 rows; peak {ours[1]} MiB, baseline {baseline[1]} MiB",
        "baseline": "all columns of all runs in memory at once",
        "ours_ms": ours[0],
        "baseline_ms": baseline[0],
    }


def slowest_table(name: str, runs: int, of_each: str, tables: tuple[str, ...]) -> dict:
    """Time the slowest of some tables at the reference scale against its limit.

    A table may take two minutes.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        aggregation(folder, tables[0], 1, "one_by_one")
        found = {table: aggregation(folder, table, runs, "one_by_one") for table in tables}
    slowest = max(found, key=lambda table: found[table][0])
    peak = max(peak for _, peak in found.values())
    return {
        "benchmark": name,
        "setting": f"{runs} runs of {of_each}, {slowest} as the slowest table; peak {peak} MiB",
        "baseline": "two minutes",
        "ours_ms": found[slowest][0],
        "baseline_ms": 120_000.0,
    }


def aggregation_at_the_reference_scale() -> dict:
    """Time the tables made from the evaluations of runs."""
    tables = ("by_rank", "by_appearances", "by_weights", "capacity")
    return slowest_table("aggregation at the reference scale", 100, "840000 rows (K 100000)", tables)


def forgetting_at_the_reference_scale() -> dict:
    """Time the tables made from the tests of each epoch."""
    tables = ("by_epoch", "forgetting", "forgetting_curves", "forgetting_fits")
    name = "forgetting at the reference scale"
    return slowest_table(name, 20, "21 million rows (K 10000, 6 sets, 6000 epochs)", tables)


BENCHMARKS = (
    one_layer_at_the_reference_size,
    one_layer_without_copies,
    one_layer_with_many_heads,
    one_layer_at_the_laptops_size,
    one_layer_against_the_usual_loop,
    one_layer_evaluation,
    gpt_at_the_laptops_size,
    gpt_at_the_reference_size,
    dam_at_the_reference_size,
    dam_at_the_laptops_size,
    dam_with_a_large_memory,
    dam_evaluation,
    aggregation_one_by_one,
    aggregation_at_the_reference_scale,
    forgetting_at_the_reference_scale,
)
SHARES = (cpu_shares.share_of_the_tests_configuration, cpu_shares.share_of_the_laptops_configuration)


def rows() -> Iterator[dict]:
    """Yield the result of each benchmark."""
    for benchmark in BENCHMARKS:
        row = benchmark()
        row["ratio"] = row["baseline_ms"] / row["ours_ms"]
        row["threads"] = THREADS
        print("{benchmark}: {ratio:.2f} times as fast as {baseline} ({setting})".format(**row), flush=True)
        yield row
    for share in SHARES:
        row = share()
        row["ratio"] = row["ours_ms"] / row["baseline_ms"]
        # As many threads as there are cores.
        row["threads"] = None
        print("{benchmark}: {ratio:.2f} of {baseline} ({setting})".format(**row), flush=True)
        yield row
    row = large_run.peak_with_a_million_sequences()
    row["ratio"] = row["baseline_mib"] / row["ours_mib"]
    row["threads"] = THREADS
    print("{benchmark}: {ours_mib} MiB, {baseline} is {ratio:.2f} times as much ({setting})".format(**row))
    yield row


if __name__ == "__main__":
    set_up_torch(SimpleNamespace(device="cpu", num_threads=THREADS))
    folder = REPOSITORY / "results"
    folder.mkdir(exist_ok=True)
    write_table(pd.DataFrame(rows()), folder / "benchmarks.csv")
