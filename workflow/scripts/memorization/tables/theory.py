"""What the queue of the dense associative memory holds, without a fit: occupancy."""

import numpy as np

from ..sequences import rank_probabilities


def occupancy(probabilities: np.ndarray, num_draws: int) -> np.ndarray:
    """Return the probability (K,) that a sequence is among ``num_draws`` draws: 1 − (1 − p_r)^num_draws.

    Args:
        probabilities: p_r of each rank, (K,).
        num_draws: how many i.i.d. draws from the set the queue holds, 0 or more.
    """
    if num_draws == 0:
        return np.zeros_like(probabilities)
    with np.errstate(divide="ignore"):  # p = 1: the logarithm is −∞ and the occupancy 1
        return -np.expm1(num_draws * np.log1p(-probabilities))


def draws_in_queue(args: dict, iteration: int, sequence_set: int) -> int:
    """Return how many of the sequences in the queue after ``iteration`` iterations were drawn from a set.

    The queue holds the last M sequences drawn. The current set came in t sequences ago: min(t, M) of them
    are its own, and M − t, while t < M, those of the sets before; none of these where the queue was
    cleared at the switch.
    """
    batch, per_set = args["batch_size"], args["num_iters_per_set"]
    oldest = max(0, iteration * batch - args["M"])
    if args["clear_memory_at_switch"] or args["reset_model_at_switch"]:
        # The switch to set s comes before iteration s · num_iters_per_set: at it, nothing is cleared yet.
        oldest = max(oldest, (max(iteration, 1) - 1) // per_set * per_set * batch)
    start, end = sequence_set * per_set * batch, (sequence_set + 1) * per_set * batch
    return max(0, min(end, iteration * batch) - max(start, oldest))


def queue_occupancy(args: dict, iteration: int, sequence_set: int) -> np.ndarray:
    """Return the occupancy (K,) of the sequences of a set after ``iteration`` iterations of a run.

    ``args`` are the resolved settings of the run. NaN for a model without a queue.
    """
    if args["model"] != "dam":
        return np.full(args["K"], np.nan)
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])
    return occupancy(probabilities, draws_in_queue(args, iteration, sequence_set))
