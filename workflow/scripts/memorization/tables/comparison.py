"""The comparison of the transformers with theories, on the same sequences.

A theory, the *candidate*, says the probability that the next bit is 1, and so does a transformer. The table
``model_comparison`` says how far the two are apart. The definitions are in docs/models.md, section
"The comparison".
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..ideal_observer import ideal_predictions
from ..sequences import rank_probabilities
from .registry import TABLES
from .theory import drawn_sequences, iteration_of_weights, occupancy, sequence_sets

# Settings of the data: runs that agree in them saw the same sequences in the same batches.
_DATA = (
    "sequences_seed", "K", "len_context", "zipf_exponent", "batch_size", "batch_size_after_switch",
    "num_iters_per_set", "num_iters", "num_switches",
)  # fmt: skip
# The values of a fitted parameter that are tried: the number of draws, and the smoothing of the prefix tree.
_LAST_DRAWS = tuple(2**exponent for exponent in range(4, 21))
_SMOOTHINGS = tuple(10 ** (exponent / 4) for exponent in range(-8, 21))
# Every candidate is mixed with a coin, and the share of the coin is fitted. Otherwise a candidate that is certain
# would be infinitely far from any model that is not.
COIN_SHARES = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
# Distances, in bits per bit, that are this close are a tie: predictions are kept in single precision.
_TIE = 1e-6
# The DAM's candidates: the best of all runs with such heads.
_HEADS = {("random", True): "dam", ("one_bit", True): "dam_one_bit_trained", ("one_bit", False): "dam_one_bit"}


class Options(NamedTuple):
    """What a candidate says, for each value of its parameter."""

    parameters: list[float]
    """The values; NaN for a candidate without a parameter."""
    probabilities: list[np.ndarray]
    """For each value the probability that each tested bit is 1, (T, P)."""


class _Run:
    """A run: its settings, its condition and what it predicts."""

    def __init__(self, table: pd.DataFrame, args: dict, condition: dict):
        self.args, self.condition = args, condition
        self.is_transformer = "M" not in args
        # Bits 1 … L−1: the first bit is predicted by the DAM alone.
        self._bits = [f"bit_{n}" for n in range(1, args["len_context"])]
        self.predictions = {
            key: rows.set_index("sequence_rank")[self._bits]
            for key, rows in table.groupby(["weights", "sequence_set"], sort=False, observed=True)
        }

    @cached_property
    def data(self) -> str:
        """The settings of the data as a text."""
        return json.dumps({key: self.args[key] for key in _DATA})

    @cached_property
    def all_but_the_weights(self) -> str:
        """The settings without the seeds, but for that of the data, as a text."""
        return json.dumps({**self.args, "weights_seed": None, "seed": None}, sort_keys=True)


def model_comparison(runs: list[tuple[pd.DataFrame, dict, dict]]) -> list[pd.DataFrame]:
    """Return how far each transformer run is from each candidate.

    ``runs`` are the predictions, the resolved settings and the condition of each run of an experiment. A run
    contributes rows if it is a transformer whose initial weights have the seed of the run. ``kl`` is the mean
    KL(transformer ‖ candidate) in bits per bit, and ``explained`` the share of KL(transformer ‖ coin) that it
    falls short of. The parameter and the share of the coin are those that are best for half of the seeds, and the
    numbers are those of the other half; NaN if there is one seed.
    """
    read = [_Run(*run) for run in runs]
    rows: list[list[dict]] = [[] for _ in read]
    targets: dict[str, list[int]] = defaultdict(list)
    for i, run in enumerate(read):
        if run.is_transformer and run.args["weights_seed"] == run.args["seed"]:
            targets[json.dumps(run.condition, sort_keys=True)].append(i)
    for of_condition in targets.values():
        for weights, iteration in iteration_of_weights(read[of_condition[0]].args).items():
            for sequence_set in range(read[of_condition[0]].args["num_switches"] + 1):
                key = {"weights": weights, "iter": iteration, "sequence_set": sequence_set}
                for i, row in _compared([read[i] for i in of_condition], read, key):
                    rows[of_condition[i]].append(key | row)
    table = TABLES["model_comparison"]
    return [pd.DataFrame(of_run, columns=[*table.keys, *table.metrics]) for of_run in rows]


def _compared(targets: list[_Run], runs: list[_Run], key: dict) -> Iterator[tuple[int, dict]]:
    """Yield the rows of the runs of one condition at one moment, on one set.

    Each comes with the number of the run among ``targets``, which differ in their seed alone.
    """
    moment = key["weights"], key["sequence_set"]
    tested = [target.predictions[moment] for target in targets]
    P = [table.to_numpy(dtype=float) for table in tested]
    coin = [kl_bits(p, np.full_like(p, 0.5)) for p in P]
    for candidate, options_of in _candidates(targets, runs, moment).items():
        options = [
            options_of(target, key["iter"], moment, table.index.to_numpy())
            for target, table in zip(targets, tested, strict=True)
        ]
        distances = np.array(
            [
                [[kl_bits(p, (1 - share) * q + share / 2) for share in COIN_SHARES] for q in of_seed.probabilities]
                for p, of_seed in zip(P, options, strict=True)
            ]
        )
        for i, (value, share) in enumerate(chosen_on_other_half(distances)):
            kl = distances[i, value, share] if value >= 0 else math.nan
            yield (
                i,
                {
                    "candidate": candidate,
                    "kl": kl,
                    "explained": 1 - kl / coin[i],
                    "parameter": options[i].parameters[value] if value >= 0 else math.nan,
                    "coin_share": COIN_SHARES[share] if value >= 0 else math.nan,
                },
            )


def kl_bits(p: np.ndarray, q: np.ndarray) -> float:
    """Return the mean Kullback–Leibler divergence KL(p ‖ q) in bits.

    ``p`` and ``q`` are probabilities that bits are 1, of the same shape. It is infinite if q excludes what p does
    not.
    """

    def times_log_ratio(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(p > 0, p * np.log2(p / q), 0.0)

    return float((times_log_ratio(p, q) + times_log_ratio(1 - p, 1 - q)).mean())


def chosen_on_other_half(distances: np.ndarray) -> list[tuple[int, int]]:
    """Return for each seed the option that is best for the other half of the seeds.

    ``distances`` are (seeds, values, shares). The halves are the seeds of even and of odd number. (−1, −1) if
    there is no other half.
    """
    chosen = []
    for seed in range(len(distances)):
        others = distances[(seed + 1) % 2 :: 2]
        if not len(others):
            chosen.append((-1, -1))
            continue
        # The first of those that tie: otherwise rounding would choose, on each processor another one.
        means = others.mean(axis=0)
        value, share = np.unravel_index((means <= means.min() + _TIE).argmax(), means.shape)
        chosen.append((int(value), int(share)))
    return chosen


def _candidates(
    targets: list[_Run], runs: list[_Run], moment: tuple[str, int]
) -> dict[str, Callable[..., Options]]:
    """Return the candidates that the runs of an experiment allow at one moment.

    Each is a function of the target, the iteration, the moment (weights and set) and the tested ranks.
    """
    candidates: dict[str, Callable[..., Options]] = {
        "coin": lambda target, iteration, moment, ranks: Options(
            [math.nan], [np.full((len(ranks), target.args["len_context"] - 1), 0.5)]
        ),
        "occupancy": _occupancy,
        "ideal_zipf": partial(_of_observer, "zipf"),
        "ideal_appearances": partial(_of_observer, "appearances"),
        "ideal_last_draws": partial(_of_observer, "last"),
        "prefix_tree": partial(_of_observer, "smoothed"),
    }
    runs = [run for run in runs if moment in run.predictions]
    for heads, of_data in _memories(targets, runs).items():
        candidates[heads] = lambda target, _, moment, ranks, of_data=of_data: _of_runs(
            of_data[target.data], moment, ranks
        )
    others = [_from_other_weights(target, runs) for target in targets]
    if all(others):
        of_target = dict(zip(map(id, targets), others, strict=True))
        candidates["other_weights"] = lambda target, _, moment, ranks: _mean_of_runs(
            of_target[id(target)], moment, ranks
        )
    return candidates


def _memories(targets: list[_Run], runs: list[_Run]) -> dict[str, dict[str, list[_Run]]]:
    """Return the DAM's runs with each kind of heads, by the data that they saw.

    They are one of each condition that has a run for the data of every target, in the same order for all data.
    """
    found: dict[str, dict[str, dict[str, _Run]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        heads = None if run.is_transformer else (run.args["initial_heads"], run.args["A_and_B_trainable"])
        if heads in _HEADS:
            condition = json.dumps(run.condition, sort_keys=True)
            found[_HEADS[heads]][condition].setdefault(run.data, run)
    data = {target.data for target in targets}
    complete = {
        heads: [of_data for of_data in of_conditions.values() if data <= of_data.keys()]
        for heads, of_conditions in found.items()
    }
    return {
        heads: {key: [of_data[key] for of_data in of_conditions] for key in data}
        for heads, of_conditions in complete.items()
        if of_conditions
    }


def _from_other_weights(target: _Run, runs: list[_Run]) -> list[_Run]:
    """Return runs of the same transformer on the same data from other weights.

    There is one for each other seed of the initial weights.
    """
    found = {
        run.args["weights_seed"]: run
        for run in runs
        if run.is_transformer and run.all_but_the_weights == target.all_but_the_weights
    }
    return [run for seed, run in found.items() if seed != target.args["weights_seed"]]


def _of_runs(runs: list[_Run], moment: tuple[str, int], ranks: np.ndarray) -> Options:
    """Return the predictions of each run."""
    return Options([math.nan] * len(runs), [run.predictions[moment].loc[ranks].to_numpy(float) for run in runs])


def _mean_of_runs(runs: list[_Run], moment: tuple[str, int], ranks: np.ndarray) -> Options:
    """Return the mean prediction of the runs.

    Of all predictions that do not know the initial weights, their mean over weights is the nearest one.
    """
    return Options([math.nan], [np.mean(_of_runs(runs, moment, ranks).probabilities, axis=0)])


def _occupancy(target: _Run, iteration: int, moment: tuple[str, int], ranks: np.ndarray) -> Options:
    """Return predictions that are right if a queue holds the sequence.

    Otherwise they are a coin's. The parameter is the number of draws that the queue holds.
    """
    p = rank_probabilities(target.args["K"], target.args["zipf_exponent"])
    sets = drawn_sequences(target.args, iteration) // target.args["K"]
    _, sequence_set = moment
    bits = sequence_sets(target.args)[sequence_set][ranks, 1:]
    options = Options([], [])
    for number in _last_draws(len(sets)):
        held = occupancy(p, int((sets[-number:] == sequence_set).sum()))[ranks, None]
        options.parameters.append(number)
        options.probabilities.append(np.where(bits == 1, 1 + held, 1 - held) / 2)
    return options


def _of_observer(prior: str, target: _Run, iteration: int, moment: tuple[str, int], ranks: np.ndarray) -> Options:
    """Return the predictions of an ideal observer with one of the priors of `_ideal`."""
    parameters = {"last": _last_draws(len(drawn_sequences(target.args, iteration))), "smoothed": [*_SMOOTHINGS]}
    tried = parameters.get(prior, [math.nan])
    return Options(tried, [_ideal(target.data, iteration, prior, value)[moment[1]][ranks] for value in tried])


def _last_draws(num_draws: int) -> list[int]:
    """Return the numbers of last draws that are tried, up to all ``num_draws``."""
    return [*(number for number in _LAST_DRAWS if number < num_draws), num_draws]


@lru_cache(maxsize=4096)
def _ideal(data: str, iteration: int, prior: str, parameter: float) -> np.ndarray:
    """Return the ideal observer's probability of a 1, (sets, K, L − 1).

    It is that at bits 1 … L−1 of all sequences. Its prior after ``iteration`` iterations is ``zipf``,
    ``appearances`` of the current set, these ``smoothed`` by the ``parameter`` (a prefix tree), or ``last``, the
    last ``parameter`` draws from whichever set.
    """
    args = json.loads(data)
    sets = sequence_sets(args)
    known = np.concatenate(sets)
    drawn = drawn_sequences(args, iteration)
    current = drawn[-1] // args["K"]
    of_current = np.arange(len(known)) // args["K"] == current
    if prior == "zipf":
        weights = of_current * np.tile(rank_probabilities(args["K"], args["zipf_exponent"]), len(sets))
    elif prior == "last":
        weights = np.bincount(drawn[-int(parameter) :], minlength=len(known))
    else:
        weights = of_current * np.bincount(drawn, minlength=len(known))
    smoothing = parameter if prior == "smoothed" else 0.0
    P = np.stack([*ideal_predictions(known, weights, known, smoothing)][1:], axis=1)
    # Many are kept, for both transformers and all sets.
    return P.astype(np.float32).reshape(len(sets), args["K"], -1)
