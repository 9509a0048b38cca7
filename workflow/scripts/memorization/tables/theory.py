"""Occupancy: the probability that the queue of the DAM holds a sequence.

It follows from the settings of a run alone; nothing is fitted. The equations are in docs/models.md, section
"What the queue holds".
"""

from functools import lru_cache

import numpy as np

from ..sequences import cumulative_probabilities, rank_probabilities, sample_batch_ranks


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
    per_set = args["num_iters_per_set"]
    drawn = _draws(args, iteration)
    oldest = max(0, drawn - args["M"])
    if args["clear_memory_at_switch"] or args["reset_model_at_switch"]:
        # The switch to set s is made as iteration s · num_iters_per_set begins. After exactly that many
        # iterations the queue has therefore not been cleared yet.
        oldest = max(oldest, _draws(args, (max(iteration, 1) - 1) // per_set * per_set))
    start, end = _draws(args, sequence_set * per_set), _draws(args, (sequence_set + 1) * per_set)
    return max(0, min(end, drawn) - max(start, oldest))


def _draws(args: dict, iteration: int) -> int:
    """Return how many sequences have been drawn after ``iteration`` iterations."""
    after_switch = max(0, iteration - args["num_iters_per_set"])
    return (iteration - after_switch) * args["batch_size"] + after_switch * args["batch_size_after_switch"]


def drawn_sequences(args: dict, iteration: int) -> np.ndarray:
    """Return the sequences drawn in the first ``iteration`` iterations of a run, in order.

    They are row numbers in the run's sets, counted through all sets. The seed gives them.
    """
    return _drawn(*(args[key] for key in _OF_DRAWS))[: _draws(args, iteration)]


_OF_DRAWS = (
    "sequences_seed", "K", "zipf_exponent", "batch_size", "batch_size_after_switch", "num_iters_per_set", "num_iters",
)  # fmt: skip


@lru_cache(maxsize=16)
def _drawn(
    seed: int, K: int, zipf_exponent: float, first_batch: int, later_batch: int, per_set: int, num_iters: int
) -> np.ndarray:
    """Return all sequences drawn in a run with these settings."""
    cumulative = cumulative_probabilities(rank_probabilities(K, zipf_exponent))
    drawn = [np.empty(0, dtype=np.int64)]
    for iteration in range(num_iters):
        batch_size = first_batch if iteration < per_set else later_batch
        drawn.append(iteration // per_set * K + sample_batch_ranks(cumulative, batch_size, seed, iteration))
    return np.concatenate(drawn)


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
