"""Occupancy: the probability that the queue of the DAM holds a sequence.

It follows from the settings of a run alone; nothing is fitted. The equations are in docs/models.md, section
"What the queue holds".
"""

import bisect
import math

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


def queue_occupancy(args: dict, iteration: int, sequence_set: int) -> np.ndarray:
    """Return the occupancy (K,) of the sequences of a set in the queue of a run.

    The queue is that after ``iteration`` iterations. ``args`` are the resolved settings of the run. The
    occupancy is NaN if the model has no queue.
    """
    if "M" not in args:
        return np.full(args["K"], np.nan)
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])
    return occupancy(probabilities, draws_in_queue(args, iteration, sequence_set))


def queue_half_life(args: dict, ranks: np.ndarray) -> float:
    """Return after how many draws from the next set a queue has lost half of a set.

    That is the number at which the mean occupancy of ``ranks`` is half of what it is at the switch. NaN if the
    model has no queue. ``args`` are the resolved settings of the run.
    """
    if "M" not in args:
        return math.nan
    probabilities = rank_probabilities(args["K"], args["zipf_exponent"])[ranks]
    stored = draws_in_queue(args, args["num_iters_per_set"], 0)

    def share_left(num_draws: int) -> float:
        left = min(stored, args["M"] - num_draws)
        return occupancy(probabilities, left).mean() / occupancy(probabilities, stored).mean()

    return float(bisect.bisect_left(range(args["M"]), -0.5, key=lambda num_draws: -share_left(num_draws)))


def one_bit_retrieval(N: int, H: int, num_stored: float) -> np.ndarray:
    """Return the probability that a DAM whose heads read one bit each retrieves the right sequence, (N,).

    For n = 0 … N−1 revealed bits of a sequence that is stored; the equation of "Retrieval without training". It
    is the limit of a large η, and leaves out how often each sequence is stored. Nothing is fitted. If another
    sequence is retrieved, the next bit is right by chance, so this is the recall.

    Args:
        N: the length of a sequence.
        H: the number of heads, at most N; head h reads bit `one_bit_positions` (h).
        num_stored: how many distinct sequences are stored.
    """
    recall = np.zeros(N)
    for n in range(1, N):
        revealed = int((one_bit_positions(N, H) < n).sum())
        hidden = H - revealed
        # The mean m of the revealed bits, the mismatches j of a rival, and the sums S_0 and S of the hidden bits
        # of the sequence itself and of the rival.
        m, of_m = _mean_of_bits(n, n)
        mismatches, of_mismatches = np.arange(revealed + 1), _of_ones(revealed)
        hidden_sum, of_hidden_sum = _mean_of_bits(hidden, 1)
        lead = (
            m[:, None, None, None] * (hidden_sum[None, None, None, :] - hidden_sum[None, :, None, None])
            - 2 * mismatches[None, None, :, None]
        )
        ahead = np.where(np.abs(lead) < 1e-9, 0.5, lead > 0)
        rival_wins = np.einsum("msjt,j,t->ms", ahead, of_mismatches, of_hidden_sum)
        recall[n] = of_m @ (1 - rival_wins) ** (num_stored - 1) @ of_hidden_sum
    return recall


def one_bit_positions(N: int, H: int) -> np.ndarray:
    """Return the bit i(h) = ⌊h N / H⌋ that each head of a DAM reads if its heads read one bit, (H,)."""
    return np.arange(H) * N // H


def _mean_of_bits(n: int, divisor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of the sum of n random bits ±1, divided by ``divisor``, and their probabilities."""
    ones = np.arange(n + 1)
    return (2 * ones - n) / divisor, _of_ones(n)


def _of_ones(n: int) -> np.ndarray:
    """Return the probability that 0 … n of n random bits are 1, (n + 1,)."""
    return np.array([math.comb(n, ones) / 2**n for ones in range(n + 1)])
