"""The ideal observer: the best prediction that a known set of sequences allows.

It knows the K sequences and how likely each of them is. It has seen the first bits of one and says the probability
that the next bit is 1. No model can do better on average, if sequences are drawn as likely as it takes them to be.
The equations are in docs/models.md, section "The ideal observer".
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .sequences import HELD_OUT, generate_sequence_set, rank_probabilities

# A probability this close to 1/2 is a tie: the sums of weights round.
TIE = 1e-12
_ROWS = 2**18


def ideal_predictions(
    known: np.ndarray, weights: np.ndarray, tested: np.ndarray, smoothing: float = 0.0
) -> Iterator[np.ndarray]:
    """Yield P(bit n is 1 | the bits before it) for each n = 0 … L−1, (…, T) each.

    It is the share of the weight of the known sequences with the same first n bits that has a 1 next. It is 0.5 if
    no known sequence has these bits, or if those that have them weigh nothing. A ``smoothing`` adds to the weight
    of each value of the next bit: then it is the prediction of a smoothed prefix tree.

    The sequences are sorted once. Those that share their first n bits then follow each other, for every n. So the
    work is O((K + T) L), and no more than a few numbers for each sequence are held at a time.

    Args:
        known: the sequences that the observer knows, (K, L) of 0/1.
        weights: how likely each is, (…, K) of numbers ≥ 0 that need not sum to 1. Each row is an observer.
        tested: the sequences whose bits are predicted, (T, L) of 0/1.
        smoothing: the weight that is added to each value of the next bit.
    """
    for _, of_one in _of_both_values(known, weights, tested, smoothing):
        yield of_one


def _of_both_values(
    known: np.ndarray, weights: np.ndarray, tested: np.ndarray, smoothing: float = 0.0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield P(bit n is 0) and P(bit n is 1) for each n, see `ideal_predictions`.

    That of 0 has digits that 1 − P(1) loses near 1.
    """
    K, L = known.shape
    packed = np.concatenate([np.packbits(bits, axis=1) for bits in (known, tested)])
    order = np.lexsort(packed.T[::-1])
    shared = _shared_bits(packed[order])
    none = np.zeros((*weights.shape[:-1], len(tested)))
    weight = np.concatenate([weights, none], axis=-1)[..., order]
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    of_tested = place[K:]
    for n in range(L):
        begins = shared < n
        first, group = np.flatnonzero(begins), np.cumsum(begins) - 1
        is_one = (packed[order, n // 8] >> (7 - n % 8)) & 1
        all_weight = np.add.reduceat(weight, first, axis=-1) + 2 * smoothing
        shares = []
        for has_value in (1 - is_one, is_one):
            weight_of_value = np.add.reduceat(weight * has_value, first, axis=-1) + smoothing
            half = np.full_like(all_weight, 0.5)
            share = np.divide(weight_of_value, all_weight, out=half, where=all_weight > 0)
            shares.append(share[..., group[of_tested]])
        yield shares[0], shares[1]


def _shared_bits(packed: np.ndarray) -> np.ndarray:
    """Return how many first bits each row shares with the row before it, (rows,).

    ``packed`` (rows, bytes) are sorted bits, eight in a byte. It is −1 for the first row.
    """
    shared = np.full(len(packed), -1)
    differ = packed[1:] ^ packed[:-1]
    byte = (differ != 0).argmax(axis=1)
    first = differ[np.arange(len(differ)), byte]
    # The number of zeros before the first 1 of a byte; equal rows share all bits.
    zeros = 8 - np.frexp(first)[1]
    shared[1:] = np.where(first == 0, 8 * packed.shape[1], 8 * byte + zeros)
    return shared


@dataclass(frozen=True)
class IdealScores:
    """Loss (nats) and accuracy of the ideal observer, means over bits or sequences."""

    sequence_loss: np.ndarray
    """Of each tested sequence, the mean over its predicted bits, (T,)."""
    sequence_accuracy: np.ndarray
    position_loss: np.ndarray
    """Of each predicted bit, the mean over the tested sequences, (P,)."""
    position_accuracy: np.ndarray


def ideal_scores(known: np.ndarray, weights: np.ndarray, tested: np.ndarray, num_predictions: int) -> IdealScores:
    """Return the loss and the accuracy of the ideal observer on ``tested``.

    Those of the last ``num_predictions`` bits: a transformer does not predict the first bit of a sequence. A tie
    counts half. The loss is infinite if the observer is certain and wrong, which cannot happen for a sequence that
    it knows. The other arguments are those of `ideal_predictions`.
    """
    T, L = tested.shape
    sequence_loss, sequence_accuracy = np.zeros(T), np.zeros(T)
    position_loss, position_accuracy = np.empty(L), np.empty(L)
    for n, (of_zero, of_one) in enumerate(_of_both_values(known, weights, tested)):
        of_true = np.where(tested[:, n] == 1, of_one, of_zero)
        with np.errstate(divide="ignore"):
            loss = -np.log(of_true)
        accuracy = np.where(np.abs(of_one - 0.5) < TIE, 0.5, of_true > 0.5)
        position_loss[n], position_accuracy[n] = loss.mean(), accuracy.mean()
        if n >= L - num_predictions:
            sequence_loss += loss / num_predictions
            sequence_accuracy += accuracy / num_predictions
    return IdealScores(
        sequence_loss, sequence_accuracy, position_loss[-num_predictions:], position_accuracy[-num_predictions:]
    )


def add_ideal(tables: dict[str, pd.DataFrame], sequence_sets: list[np.ndarray], args: dict) -> None:
    """Add the columns ``ideal_loss`` and ``ideal_accuracy`` to the tables of a run.

    They are those of an observer that knows the set which a row is about, and the probabilities of its ranks. What
    it has on held-out sequences is chance: their bits are independent of the set.

    Args:
        tables: the tables ``evaluation``, ``epochs`` and ``positions`` of the run, which are changed.
        sequence_sets: the run's int64 arrays (K, L).
        args: the resolved settings of the run.
    """
    # The set in the memory of `new_memory_final` has a number of its own.
    numbers = range(len(sequence_sets), tables["evaluation"]["sequence_set"].max() + 1)
    seed, K, len_context = args["sequences_seed"], args["K"], args["len_context"]
    others = [generate_sequence_set(seed, number, K, len_context) for number in numbers]
    p, num_predictions = rank_probabilities(K, args["zipf_exponent"]), args["num_predictions"]
    scores = [ideal_scores(sequences, p, sequences, num_predictions) for sequences in [*sequence_sets, *others]]
    offset = len_context - num_predictions
    for name, key, kind, first in (
        ("evaluation", "sequence_rank", "sequence", 0),
        ("epochs", "sequence_rank", "sequence", 0),
        ("positions", "position", "position", offset),
    ):
        table = tables[name]
        sets, place = table["sequence_set"].to_numpy(), table[key].to_numpy()
        for metric, chance in (("loss", math.log(2)), ("accuracy", 0.5)):
            of_sets = np.stack([getattr(score, f"{kind}_{metric}") for score in scores]).astype(np.float32)
            column = np.full(len(table), chance, dtype=np.float32)
            # Some rows at a time: the indices of all would take as much memory as the table.
            for start in range(0, len(table), _ROWS):
                rows = slice(start, start + _ROWS)
                # Held-out sequences can be more than those of a set.
                known = sets[rows] != HELD_OUT
                column[rows][known] = of_sets[sets[rows][known], place[rows][known] - first]
            table[f"ideal_{metric}"] = column
