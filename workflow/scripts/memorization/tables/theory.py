"""What the queue of the DAM holds, and how well that can be retrieved.

All of it follows from the settings of a run alone; nothing is fitted. The equations are in docs/models.md, section
"What the queue holds".
"""

import bisect
import math
from functools import lru_cache

import numpy as np

from ..ideal_observer import TIE, ideal_predictions
from ..one_bit_heads import one_bit_retrieval
from ..sequences import (
    cumulative_probabilities,
    generate_sequence_set,
    rank_probabilities,
    sample_ranks,
)

# How many weights of sequences the ideal observers of a queue have at once; this bounds the memory.
_NUM_WEIGHTS = 2**22
# The settings that the draws of a run follow from.
_OF_DRAWS = (
    "sequences_seed", "K", "zipf_exponent", "batch_size", "batch_size_after_switch", "num_iters_per_set",
    "num_iters",
)  # fmt: skip


def occupancy(probabilities: np.ndarray, num_draws: int) -> np.ndarray:
    """Return the probability (K,) that each sequence is in the queue.

    It is 1 − (1 − p_r)^num_draws, the occupancy ω_r(m) of docs/models.md.

    Args:
        probabilities: p_r of each rank, (K,).
        num_draws: the number of i.i.d. draws from the set that the queue holds, 0 or more.
    """
    if num_draws == 0:
        return np.zeros_like(probabilities)
    with np.errstate(divide="ignore"):  # p = 1 gives a logarithm of −∞ and the occupancy 1
        return -np.expm1(num_draws * np.log1p(-probabilities))


def draws_in_queue(args: dict, iteration: int, sequence_set: int) -> int:
    """Return how many sequences of the queue were drawn from a set.

    The queue is that after ``iteration`` iterations of a run with the settings ``args``. The queue holds the
    last M sequences drawn. If t sequences have been drawn since the last switch, min(t, M) of the queue are
    from the current set, and the rest, if any, from the sets before. If the queue is cleared at the switch, it
    holds only the current set.
    """
    drawn = range_in_queue(args, iteration)
    per_set = args["num_iters_per_set"]
    start, end = _draws(args, sequence_set * per_set), _draws(args, (sequence_set + 1) * per_set)
    return max(0, min(end, drawn.stop) - max(start, drawn.start))


def range_in_queue(args: dict, iteration: int) -> range:
    """Return which draws the queue holds after ``iteration`` iterations.

    They are counted from the start of the run.
    """
    per_set, drawn = args["num_iters_per_set"], _draws(args, iteration)
    oldest = max(0, drawn - args["M"])
    if _cleared_at_switch(args):
        # The switch to set s is made as iteration s · num_iters_per_set begins. After exactly that many
        # iterations the queue has therefore not been cleared yet.
        oldest = max(oldest, _draws(args, (max(iteration, 1) - 1) // per_set * per_set))
    return range(oldest, drawn)


def _cleared_at_switch(args: dict) -> bool:
    """Tell whether each switch empties the queue."""
    return args["clear_memory_at_switch"] or args["reset_model_at_switch"]


def _draws(args: dict, iteration: int) -> int:
    """Return how many sequences have been drawn after ``iteration`` iterations."""
    after_switch = max(0, iteration - args["num_iters_per_set"])
    return (iteration - after_switch) * args["batch_size"] + after_switch * args["batch_size_after_switch"]


def drawn_sequences(args: dict, iteration: int) -> np.ndarray:
    """Return the sequences drawn in the first ``iteration`` iterations of a run.

    They are in order. They are row numbers in the run's sets, counted through all sets. The seed gives them.
    """
    return _drawn(*(args[key] for key in _OF_DRAWS))[: _draws(args, iteration)]


@lru_cache(maxsize=16)
def _drawn(
    seed: int, K: int, zipf_exponent: float, first_batch: int, later_batch: int, per_set: int, num_iters: int
) -> np.ndarray:
    """Return all sequences drawn in a run with these settings."""
    cumulative = cumulative_probabilities(rank_probabilities(K, zipf_exponent))
    ranks = [
        sample_ranks(cumulative, first_batch, seed, range(min(per_set, num_iters))),
        sample_ranks(cumulative, later_batch, seed, range(per_set, num_iters)),
    ]
    iterations = np.arange(num_iters)
    batch_sizes = np.where(iterations < per_set, first_batch, later_batch)
    return np.repeat(iterations // per_set, batch_sizes) * K + np.concatenate(ranks)


def sequence_sets(args: dict) -> list[np.ndarray]:
    """Return the sequence sets of a run, (K, L) each. The seed gives them."""
    return [
        generate_sequence_set(args["sequences_seed"], number, args["K"], args["len_context"])
        for number in range(args["num_switches"] + 1)
    ]


def iteration_of_weights(args: dict) -> dict[str, int]:
    """Return the iteration after which each kind of weights was saved, in order.

    Swapped weights are of no iteration.
    """
    per_set, num_switches = args["num_iters_per_set"], args["num_switches"]
    iterations = {}
    for number in range(num_switches + 1):
        start, end = number * per_set, min((number + 1) * per_set, args["num_iters"])
        saved = {f"set_{number}_iter_{i}": start + i for i in args["saved_iters"] if start + i <= end}
        iterations |= saved | {"final" if number == num_switches else f"pre_switch_{number + 1}": end}
    return iterations


def queue_occupancy(args: dict, iteration: int, sequence_set: int) -> np.ndarray:
    """Return the occupancy (K,) of the sequences of a set in the queue of a run.

    The queue is that after ``iteration`` iterations. ``args`` are the resolved settings of the run. The
    occupancy is NaN if the model has no queue.
    """
    if "M" not in args:
        return np.full(args["K"], np.nan)
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])
    return occupancy(probabilities, draws_in_queue(args, iteration, sequence_set))


def queue_half_life(args: dict, sequence_set: int, ranks: np.ndarray) -> float:
    """Return after how many draws from the next set a queue has lost half of a set.

    That is the number at which the mean occupancy of ``ranks`` is half of what it is at the switch. It is 0 if the
    switch empties the queue, and NaN if the model has no queue. ``args`` are the resolved settings of the run.
    """
    if "M" not in args:
        return math.nan
    if _cleared_at_switch(args):
        return 0.0
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])[ranks]
    stored = draws_in_queue(args, (sequence_set + 1) * args["num_iters_per_set"], sequence_set)

    def share_left(num_draws: int) -> float:
        left = min(stored, args["M"] - num_draws)
        return occupancy(probabilities, left).mean() / occupancy(probabilities, stored).mean()

    return float(bisect.bisect_left(range(args["M"]), -0.5, key=lambda num_draws: -share_left(num_draws)))


def queue_counts(args: dict, iterations: np.ndarray) -> np.ndarray:
    """Return how often the queue of a run holds each sequence, (iterations, sets, K).

    The queue is that after each number of ``iterations``. It follows from the seed, which gives the batches.
    """
    num_sets, K = args["num_switches"] + 1, args["K"]
    identities = drawn_sequences(args, args["num_iters"])
    held = [range_in_queue(args, int(iteration)) for iteration in iterations]
    counts = [np.bincount(identities[drawn.start : drawn.stop], minlength=num_sets * K) for drawn in held]
    return np.stack(counts).reshape(len(held), num_sets, K)


def queue_ideal_recall(args: dict, iterations: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return the recall by the best retrieval from the queue of a run.

    The result is (iterations, sets, ranks). The ideal observer knows what the queue holds after each number of
    ``iterations``, and how often. From that it predicts the sequences ``ranks`` of each set. Recall is
    2 · accuracy − 1, with a tie half right. It is NaN if the model has no queue.
    """
    shape = len(iterations), args["num_switches"] + 1, len(ranks)
    if "M" not in args:
        return np.full(shape, np.nan)
    sets = sequence_sets(args)
    known, tested = np.concatenate(sets), np.concatenate([sequences[ranks] for sequences in sets])
    counts = queue_counts(args, iterations).reshape(len(iterations), -1)
    parts = np.array_split(counts, -(-counts.size // _NUM_WEIGHTS))
    return np.concatenate([_recall(known, part, tested) for part in parts]).reshape(shape)


def _recall(known: np.ndarray, weights: np.ndarray, tested: np.ndarray) -> np.ndarray:
    """Return the recall of the T tested sequences by each ideal observer.

    The observers know the sequences ``known`` (K, L) and have the ``weights`` (observers, K). The result is
    (observers, T).
    """
    right = np.zeros((len(weights), len(tested)))
    for n, of_one in enumerate(ideal_predictions(known, weights, tested)):
        lead = (of_one - 0.5) * (2 * tested[:, n] - 1.0)
        right += np.where(np.abs(lead) < TIE, 0.0, np.sign(lead))
    return right / known.shape[1]


def one_bit_accuracy(args: dict) -> float:
    """Return the accuracy of untrained heads that read one bit, on a set in the queue.

    The queue holds the last draws of a training on the set. The mean is over all bits of all sequences of the set;
    a sequence that is not stored is predicted by chance. NaN if the model has no queue, or more heads than bits.
    """
    if "M" not in args or args["H"] > args["N"]:
        return math.nan
    num_draws = min(args["M"], args["num_iters_per_set"] * args["batch_size_after_switch"])
    held = occupancy(rank_probabilities(args["K"], args["zipf_exponent"]), num_draws)
    recall = held.mean() * one_bit_retrieval(args["N"], args["H"], round(held.sum())).mean()
    return (1 + float(recall)) / 2
