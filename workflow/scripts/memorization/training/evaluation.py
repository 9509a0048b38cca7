"""The evaluation of a run, and the tables of what it finds.

All sequences are evaluated under each kind of weights. Other tables hold the logs of the training.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pandas as pd

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


def evaluated_weights(results: dict, learner: Learner) -> Iterator[tuple[str, StateDict, int]]:
    """Yield the name and the state dict of each kind of weights of a run.

    With them comes the number of sets that had been trained on by then. ``pre_switch_s`` are the weights just
    before the s-th switch. Each of the learner's ``swaps`` gives the final weights with one part as it was just
    before the first switch.
    """
    pre_switch, final = results["pre_switch_state_dict"], results["model_state_dict"]
    for switch, state_dict in enumerate(pre_switch, start=1):
        yield f"pre_switch_{switch}", state_dict, switch
    num_sets = len(pre_switch) + 1
    yield "final", final, num_sets
    for name, swapped in learner.swaps.items() if pre_switch else ():
        yield name, swap_entries(final, pre_switch[0], swapped), num_sets


def weights_with_new_memory(
    results: dict, learner: Learner, never_trained: np.ndarray, sequence_sets: list[np.ndarray]
) -> Iterator[tuple[str, StateDict, int]]:
    """Yield the weights with the memory of a set that they were not trained on.

    They tell how the model looks apart from what it has stored. ``new_memory`` are the weights just before the
    first switch with the memory of the set after it. ``new_memory_final`` are the final weights with the memory of
    ``never_trained`` (K, L), the set that would follow. Nothing is yielded for a model without a memory. The
    values are those of `evaluated_weights`.
    """
    pre_switch, num_sets = results["pre_switch_state_dict"], len(sequence_sets)
    final = ("new_memory_final", results["model_state_dict"], num_sets, never_trained, num_sets)
    before = [("new_memory", state_dict, 1, sequence_sets[1], 1) for state_dict in pre_switch[:1]]
    for name, state_dict, num_seen, sequences, sequence_set in [*before, final]:
        last_drawn = partial(last_drawn_sequences, results["args"], sequences, sequence_set)
        refilled = learner.refilled(state_dict, last_drawn)
        if refilled is not None:
            yield name, refilled, num_seen


def last_drawn_sequences(args: dict, sequences: np.ndarray, sequence_set: int, number: int) -> np.ndarray:
    """Return the last ``number`` sequences that a training draws from a set.

    The result is (number, L), or less if it draws fewer. ``sequences`` (K, L) are those of the set, ``args`` the
    settings of the run.
    """
    batch_size, per_set = args["batch_size"], args["num_iters_per_set"]
    end = (sequence_set + 1) * per_set
    iterations = range(end - min(per_set, -(-number // batch_size)), end)
    cumulative = cumulative_probabilities(rank_probabilities(args["K"], args["zipf_exponent"]))
    return sequences[sample_ranks(cumulative, batch_size, args["seed"], iterations)][-number:]


def evaluate_run(results: dict, sequence_sets: list[np.ndarray], num_held_out: int) -> dict[str, pd.DataFrame]:
    """Evaluate all sequences of a run, and held-out ones, under each kind of weights.

    ``results`` is the content of ``<run>.pkl``, ``sequence_sets`` the run's integer arrays (K, L).
    ``num_held_out`` sequences that are in no set are evaluated too. The weights ``new_memory_final`` are evaluated
    on one more set, with the next number: that in their memory.

    Returns the tables

    * ``evaluation``, a row for each (weights, set, sequence), see `sequence_table`; its ``attrs`` hold the
      ``num_parameters`` of the model;
    * ``positions``, a row for each (weights, set, position of the predicted bit), see `position_table`;
    * ``attention``, for each kind of weights the rows of `attention_table`: means over the held-out sequences.
    """
    settings = SimpleNamespace(**results["args"])
    set_up_torch(settings)
    learner = build_learner(settings, sequence_sets)
    held_out = generate_held_out_sequences(settings.seed, num_held_out, settings.len_context, sequence_sets)
    never_trained = generate_sequence_set(settings.seed, len(sequence_sets), settings.K, settings.len_context)
    sets = [*enumerate(sequence_sets), (HELD_OUT, held_out)]
    appearances = final_appearances(results["logs"])
    tables: dict[str, list[pd.DataFrame]] = {"evaluation": [], "positions": [], "attention": []}
    for weights, state_dict, num_sets_seen in chain(
        evaluated_weights(results, learner),
        weights_with_new_memory(results, learner, never_trained, sequence_sets),
    ):
        learner.load_state_dict(state_dict)
        tables["attention"].append(attention_table(learner, held_out).assign(weights=weights))
        in_memory = [(len(sequence_sets), never_trained)] if weights == "new_memory_final" else []
        for sequence_set, sequences in [*sets, *in_memory]:
            of_sequences, at_positions = mean_metrics(learner, sequences)
            key = {"weights": weights, "sequence_set": sequence_set}
            seen = 0 <= sequence_set < num_sets_seen
            tables["evaluation"].append(
                sequence_table(key, *of_sequences, appearances[sequence_set] if seen else 0)
            )
            tables["positions"].append(position_table(key, *at_positions, settings.len_context))
    whole = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    # One number for the whole table: pandas keeps attrs in the metadata of a .parquet file.
    whole["evaluation"].attrs["num_parameters"] = results["args"]["num_parameters"]
    return whole


def mean_metrics(learner: Learner, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean loss and accuracy of each sequence, and of each predicted bit.

    ``sequences`` are (K, L). The first result has means over the P predicted bits of a sequence, (2, K). The
    second has means over the sequences, (2, P). The loss is in nats per bit.
    """
    of_sequences: list[np.ndarray] = []
    sums = 0.0
    for metrics in evaluate_in_slices(learner, sequences):
        of_sequences.append(np.stack([metric.mean(axis=1) for metric in metrics]))
        sums += np.stack([metric.sum(axis=0, dtype=np.float64) for metric in metrics])
    return np.concatenate(of_sequences, axis=1), (sums / len(sequences)).astype(np.float32)


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


def epoch_table(logs: list[dict]) -> pd.DataFrame:
    """Return the tests of all epochs, one row for each (epoch, set, sequence).

    ``current_set`` is the set that is trained on, ``sequence_set`` the set that is tested.
    """
    tables = [
        pd.DataFrame(
            {
                # Small types, because there are many rows.
                "epoch": np.int32(entry["epoch"]),
                "iter": np.int32(entry["iter"]),
                "current_set": np.int16(entry["sequence_set"]),
                "sequence_set": entry["test_metrics"]["sequence_set"].astype(np.int16),
                "sequence_rank": entry["test_metrics"]["sequence_rank"].astype(np.int32),
                "loss": entry["test_metrics"]["logsoftmaxloss"],
                "accuracy": entry["test_metrics"]["accuracy"],
            }
        )
        for entry in logs
    ]
    return pd.concat(tables, ignore_index=True)


def diagnostics_table(logs: list[dict]) -> pd.DataFrame:
    """Return the numbers that are logged each epoch, one row per epoch."""
    rows = [{key: value for key, value in entry.items() if np.isscalar(value)} for entry in logs]
    return pd.DataFrame(rows).rename(columns={"sequence_set": "current_set"})
