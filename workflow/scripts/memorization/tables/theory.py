"""Occupancy: the probability that the queue of the DAM holds a sequence.

It follows from the settings of a run alone; nothing is fitted. The equations are in docs/models.md, section
"What the queue holds".
"""

import numpy as np

from ..sequences import rank_probabilities


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
    batch, per_set = args["batch_size"], args["num_iters_per_set"]
    oldest = max(0, iteration * batch - args["M"])
    if args["clear_memory_at_switch"] or args["reset_model_at_switch"]:
        # The switch to set s is made as iteration s · num_iters_per_set begins. After exactly that many
        # iterations the queue has therefore not been cleared yet.
        oldest = max(oldest, (max(iteration, 1) - 1) // per_set * per_set * batch)
    start, end = sequence_set * per_set * batch, (sequence_set + 1) * per_set * batch
    return max(0, min(end, iteration * batch) - max(start, oldest))


def queue_occupancy(args: dict, iteration: int, sequence_set: int) -> np.ndarray:
    """Return the occupancy (K,) of the sequences of a set in the queue of a run.

    The queue is that after ``iteration`` iterations. ``args`` are the resolved settings of the run. The
    occupancy is NaN if the model has no queue.
    """
    if "M" not in args:
        return np.full(args["K"], np.nan)
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])
    return occupancy(probabilities, draws_in_queue(args, iteration, sequence_set))
