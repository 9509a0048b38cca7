"""The evaluation of a run, and the tables of what it finds.

All sequences are evaluated under each kind of weights. Other tables hold the logs of the training.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..ideal_observer import add_ideal
from ..models.learners import (
    Learner,
    StateDict,
    build_learner,
    evaluate_in_slices,
    set_up_torch,
    swap_entries,
)
from ..sequences import (
    HELD_OUT,
    cumulative_probabilities,
    generate_held_out_sequences,
    generate_sequence_set,
    rank_probabilities,
    sample_ranks,
)

# Sequences of a set whose single predictions are kept: those of a large set would be larger than the set itself.
_ALL_PREDICTED = 1000
_PREDICTED_STRIDE = 10
_MOST_PREDICTED = 10_000


class Weights(NamedTuple):
    """One kind of weights of a run."""

    name: str
    state_dict: StateDict
    num_appearances: dict[int, np.ndarray]
    """For each set trained on until then, how often each sequence had been in a batch, (K,)."""
    new_in_memory: dict[int, np.ndarray] | None = None
    """The number and the sequences (K, L) of the set that was put into the memory, if one was."""


def evaluated_weights(results: dict, learner: Learner) -> Iterator[Weights]:
    """Yield each kind of weights of a run.

    ``set_s_iter_i`` are those that the setting ``saved_iters`` asks for, after i iterations on set s.
    ``pre_switch_s`` are the weights just before the s-th switch. Each of the learner's ``swaps`` gives the final
    weights with one part as it was just before the first switch.
    """
    pre_switch, final = results["pre_switch_state_dict"], results["model_state_dict"]
    appearances = final_appearances(results["logs"])
    per_set = results["args"]["num_iters_per_set"]
    for sequence_set, state_dict in enumerate([*pre_switch, final]):
        earlier = {number: counts for number, counts in appearances.items() if number < sequence_set}
        for saved in results.get("saved_state_dict", ()):
            if saved["sequence_set"] == sequence_set:
                name = f"set_{sequence_set}_iter_{saved['iter'] - sequence_set * per_set}"
                yield Weights(name, saved["state_dict"], {**earlier, sequence_set: saved["num_appearances"]})
        name = f"pre_switch_{sequence_set + 1}" if sequence_set < len(pre_switch) else "final"
        yield Weights(name, state_dict, {**earlier, sequence_set: appearances[sequence_set]})
    for name, swapped in learner.swaps.items() if pre_switch else ():
        yield Weights(name, swap_entries(final, pre_switch[0], swapped), appearances)


def weights_with_new_memory(results: dict, learner: Learner, sequence_sets: list[np.ndarray]) -> Iterator[Weights]:
    """Yield the weights with the memory of a set that they were not trained on.

    They tell how the model looks apart from what it has stored. ``new_memory`` are the weights just before the
    first switch with the memory of the set after it. ``new_memory_final`` are the final weights with the memory of
    the set that would follow, which no training has seen. Nothing is yielded for a model without a memory.
    """
    if not learner.has_memory:
        return
    args, pre_switch, num_sets = results["args"], results["pre_switch_state_dict"], len(sequence_sets)
    never_trained = generate_sequence_set(args["sequences_seed"], num_sets, args["K"], args["len_context"])
    final = ("new_memory_final", results["model_state_dict"], never_trained, num_sets)
    before = [("new_memory", state_dict, sequence_sets[1], 1) for state_dict in pre_switch[:1]]
    appearances = final_appearances(results["logs"])
    for name, state_dict, sequences, sequence_set in [*before, final]:
        refilled = learner.refilled(state_dict, partial(last_drawn_sequences, args, sequences, sequence_set))
        earlier = {number: appearances[number] for number in range(sequence_set)}
        yield Weights(name, refilled, earlier, {sequence_set: sequences})


def last_drawn_sequences(args: dict, sequences: np.ndarray, sequence_set: int, number: int) -> np.ndarray:
    """Return the last ``number`` sequences that a training draws from a set.

    The result is (number, L), or less if it draws fewer. ``sequences`` (K, L) are those of the set, ``args`` the
    settings of the run.
    """
    batch_size, per_set = args["batch_size_after_switch"], args["num_iters_per_set"]
    end = (sequence_set + 1) * per_set
    iterations = range(end - min(per_set, -(-number // batch_size)), end)
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], args["zipf_exponent"]))
    return sequences[sample_ranks(cumulative, batch_size, args["sequences_seed"], iterations)][-number:]


def evaluate_run(results: dict, sequence_sets: list[np.ndarray], num_held_out: int) -> dict[str, pd.DataFrame]:
    """Evaluate all sequences of a run, and held-out ones, under each kind of weights.

    ``results`` is the content of ``<run>.pkl``, ``sequence_sets`` the run's integer arrays (K, L).
    ``num_held_out`` sequences that are in no set are evaluated too. Weights with a new set in the memory are
    evaluated on that set alone. Loss and accuracy of the ideal observer stand beside those measured.

    Returns the tables

    * ``evaluation``, a row for each (weights, set, sequence), see `sequence_table`; its ``attrs`` hold the
      ``num_parameters`` of the model;
    * ``positions``, a row for each (weights, set, position of the predicted bit), see `position_table`;
    * ``predictions``, a row for each (weights, set, predicted sequence), see `prediction_table`;
    * ``attention``, for each kind of weights the rows of `attention_table`: means over the held-out sequences;
    * ``epochs`` and ``diagnostics``, from the logs: see `epoch_table` and `diagnostics_table`.
    """
    settings = SimpleNamespace(**results["args"])
    set_up_torch(settings)
    learner = build_learner(settings, sequence_sets)
    held_out = generate_held_out_sequences(
        settings.sequences_seed, num_held_out, settings.len_context, sequence_sets
    )
    sets = dict(enumerate(sequence_sets)) | {HELD_OUT: held_out}
    tables: dict[str, list[pd.DataFrame]] = {"evaluation": [], "positions": [], "predictions": [], "attention": []}
    for weights in chain(
        evaluated_weights(results, learner),
        weights_with_new_memory(results, learner, sequence_sets),
    ):
        learner.load_state_dict(weights.state_dict)
        if not weights.new_in_memory:
            tables["attention"].append(attention_table(learner, held_out).assign(weights=weights.name))
        for sequence_set, sequences in (weights.new_in_memory or sets).items():
            found = evaluate_sequences(learner, sequences)
            for name, table in _tables_of_set(weights, sequence_set, found, settings.len_context).items():
                tables[name].append(table)
    # The parts of a table are gone before the next one is put together.
    whole = {name: pd.concat(tables.pop(name), ignore_index=True) for name in [*tables]}
    # One number for the whole table: pandas keeps attrs in the metadata of a .parquet file.
    whole["evaluation"].attrs["num_parameters"] = results["args"]["num_parameters"]
    logged = {
        "epochs": epoch_table(results["logs"], results.get("tests_after_switch", ())),
        "diagnostics": diagnostics_table(results["logs"]),
    }
    add_ideal(whole | logged, sequence_sets, results["args"])
    return whole | logged


class Evaluated(NamedTuple):
    """What a model has on K sequences of which it predicts P bits each."""

    of_sequences: np.ndarray
    """Loss (nats per bit) and accuracy, means over the bits of each sequence, (2, K)."""
    at_positions: np.ndarray
    """The same as means over the sequences for each bit, (2, P)."""
    predicted_ranks: np.ndarray
    """The T sequences whose single predictions are kept: all of 1000, every 10th of more, 10 000 at most."""
    probabilities: np.ndarray
    """The probability that each bit of these is 1, (T, P)."""


def evaluate_sequences(learner: Learner, sequences: np.ndarray) -> Evaluated:
    """Evaluate ``sequences`` (K, L) with the weights that the learner has."""
    K = len(sequences)
    ranks = np.arange(0, K, 1 if K <= _ALL_PREDICTED else max(_PREDICTED_STRIDE, -(-K // _MOST_PREDICTED)))
    of_sequences: list[np.ndarray] = []
    losses: list[np.ndarray] = []
    sums, first = 0.0, 0
    for metrics in evaluate_in_slices(learner, sequences):
        of_sequences.append(np.stack([metric.mean(axis=1) for metric in metrics]))
        sums += np.stack([metric.sum(axis=0, dtype=np.float64) for metric in metrics])
        last = first + len(metrics[0])
        losses.append(metrics[0][ranks[(first <= ranks) & (ranks < last)] - first])
        first = last
    loss = np.concatenate(losses)
    # The loss of a bit is −log of the probability of the value that it has.
    is_one = sequences[ranks, -loss.shape[1] :] == 1
    probabilities = np.where(is_one, np.exp(-loss), -np.expm1(-loss))
    at_positions = (sums / K).astype(np.float32)
    return Evaluated(np.concatenate(of_sequences, axis=1), at_positions, ranks, probabilities)


def sequence_table(
    key: dict, loss: np.ndarray, accuracy: np.ndarray, num_appearances: np.ndarray | int
) -> pd.DataFrame:
    """Return a row for each sequence of a set.

    ``loss`` (nats per bit) and ``accuracy`` are (K,). ``num_appearances`` (K,) is how often each sequence had
    been in a batch when the weights were saved. ``key`` gives the first columns.
    """
    return pd.DataFrame(
        {
            **key,
            "sequence_rank": np.arange(len(loss)),
            "num_appearances": num_appearances,
            "loss": loss,
            "accuracy": accuracy,
        }
    )


def position_table(key: dict, loss: np.ndarray, accuracy: np.ndarray, len_context: int) -> pd.DataFrame:
    """Return a row for each predicted bit.

    ``loss`` (nats) and ``accuracy`` are (P,). The P predicted bits are the last of the ``len_context`` bits.
    ``key`` gives the first columns.
    """
    return pd.DataFrame(
        {
            **key,
            "position": np.arange(len_context)[-len(loss) :],
            "loss": loss,
            "accuracy": accuracy,
        }
    )


def _tables_of_set(
    weights: Weights, sequence_set: int, found: Evaluated, len_context: int
) -> dict[str, pd.DataFrame]:
    """Return the rows of one set under one kind of weights, by table."""
    key = {"weights": weights.name, "sequence_set": sequence_set}
    return {
        "evaluation": sequence_table(key, *found.of_sequences, weights.num_appearances.get(sequence_set, 0)),
        "positions": position_table(key, *found.at_positions, len_context),
        "predictions": prediction_table(key, found, len_context),
    }


def prediction_table(key: dict, evaluated: Evaluated, len_context: int) -> pd.DataFrame:
    """Return a row for each sequence whose single predictions are kept.

    The column ``bit_n`` is the probability that bit n is 1, given the bits before it. ``key`` gives the first
    columns.
    """
    positions = np.arange(len_context)[-evaluated.probabilities.shape[1] :]
    return pd.DataFrame(
        {
            # Small types, because there are many rows.
            **key,
            "sequence_set": np.int16(key["sequence_set"]),
            "sequence_rank": evaluated.predicted_ranks.astype(np.int32),
        }
        | {f"bit_{n}": column for n, column in zip(positions, evaluated.probabilities.T, strict=True)}
    )


def attention_table(learner: Learner, sequences: np.ndarray) -> pd.DataFrame:
    """Return the mean attention of each head over ``sequences`` (K, L).

    The "Attention maps" of docs/models.md. There is a row for each layer, head, ``predicted_position`` n,
    ``key_position`` i < n, and pair of bits: the one at n − 1 (``query_bit``) and the one at i (``key_bit``).
    Both are −1 if the attention does not depend on the bits. There is no row for a pair that no sequence has at
    these positions.
    """
    maps = learner.attention_maps(sequences)
    # Small types, because a deep model has millions of rows.
    places = np.nonzero(np.isfinite(maps))
    layer, head, predicted, key, query_bit, key_bit = (axis.astype(np.int16) for axis in places)
    bits = maps.shape[-1] > 1
    return pd.DataFrame(
        {
            "layer": layer,
            "head": head,
            "predicted_position": predicted,
            "key_position": key,
            "query_bit": query_bit if bits else np.int16(-1),
            "key_bit": key_bit if bits else np.int16(-1),
            "attention": maps[places].astype(np.float32),
        }
    )


def final_appearances(logs: list[dict]) -> dict[int, np.ndarray]:
    """Return the appearances (K,) of the sequences of each set when training left it."""
    return {entry["sequence_set"]: entry["num_appearances"] for entry in logs}


def epoch_table(logs: list[dict], tests_after_switch: Sequence[dict] = ()) -> pd.DataFrame:
    """Return the tests of a run in order, one row for each (iteration, set, sequence).

    They are those at the ends of epochs, and those ``tests_after_switch`` of the run's pickle. ``epoch`` is the
    number of finished epochs, ``current_set`` the set that is trained on, ``sequence_set`` the set that is tested.
    """
    ends = [entry["iter"] for entry in logs]
    tables = [
        pd.DataFrame(
            {
                # Small types, because there are many rows.
                "epoch": np.int32(bisect_right(ends, entry["iter"])),
                "iter": np.int32(entry["iter"]),
                "current_set": np.int16(entry["sequence_set"]),
                "sequence_set": entry["test_metrics"]["sequence_set"].astype(np.int16),
                "sequence_rank": entry["test_metrics"]["sequence_rank"].astype(np.int32),
                "loss": entry["test_metrics"]["logsoftmaxloss"],
                "accuracy": entry["test_metrics"]["accuracy"],
            }
        )
        for entry in sorted([*logs, *tests_after_switch], key=itemgetter("iter"))
    ]
    return pd.concat(tables, ignore_index=True)


def diagnostics_table(logs: list[dict]) -> pd.DataFrame:
    """Return the numbers that are logged each epoch, one row per epoch."""
    rows = [{key: value for key, value in entry.items() if np.isscalar(value)} for entry in logs]
    return pd.DataFrame(rows).rename(columns={"sequence_set": "current_set"})
