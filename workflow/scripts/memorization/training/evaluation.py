"""What a model knows of each sequence: the tables of a run."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd

from ..models.learners import Learner, StateDict, build_learner, set_up_torch, swap_entries
from ..sequences import HELD_OUT, generate_held_out_sequences


def evaluated_weights(results: dict, learner: Learner) -> Iterator[tuple[str, StateDict, int]]:
    """Yield each kind of weights of a run: its name, its state dict, the number of sets seen by then.

    ``pre_switch_s`` are the weights just before the s-th switch; the learner's ``swaps`` are the final
    ones with a part put back to what it was just before the first switch.
    """
    pre_switch, final = results["pre_switch_state_dict"], results["model_state_dict"]
    for switch, state_dict in enumerate(pre_switch, start=1):
        yield f"pre_switch_{switch}", state_dict, switch
    num_sets = len(pre_switch) + 1
    yield "final", final, num_sets
    for name, swapped in learner.swaps.items() if pre_switch else ():
        yield name, swap_entries(final, pre_switch[0], swapped), num_sets


def evaluate_run(results: dict, sequence_sets: list[np.ndarray], num_held_out: int) -> dict[str, pd.DataFrame]:
    """Evaluate all sequences of all sets, and ``num_held_out`` others, under each kind of weights of a run.

    ``results`` is the content of ``<run>.pkl``, ``sequence_sets`` its int64 arrays (K, L).

    Returns the tables

    * ``evaluation``, a row for each (weights, set, sequence): its loss (nats a bit) and accuracy, and how
      often it had been in a batch when the weights were taken;
    * ``positions``, a row for each (weights, set, position of the predicted bit): means over the set;
    * ``attention``, see `attention_table`: means over the held-out sequences.
    """
    settings = SimpleNamespace(**results["args"])
    set_up_torch(settings)
    learner = build_learner(settings, sequence_sets)
    held_out = generate_held_out_sequences(settings.seed, num_held_out, settings.len_context, sequence_sets)
    appearances = final_appearances(results["logs"])
    tables: dict[str, list[pd.DataFrame]] = {"evaluation": [], "positions": [], "attention": []}
    for weights, state_dict, num_sets_seen in evaluated_weights(results, learner):
        learner.load_state_dict(state_dict)
        tables["attention"].append(attention_table(learner, held_out).assign(weights=weights))
        for sequence_set, sequences in [*enumerate(sequence_sets), (HELD_OUT, held_out)]:
            loss, accuracy = learner.evaluate(sequences)
            key = {"weights": weights, "sequence_set": sequence_set}
            seen = 0 <= sequence_set < num_sets_seen
            tables["evaluation"].append(
                pd.DataFrame(
                    {
                        **key,
                        "sequence_rank": np.arange(len(sequences)),
                        "num_appearances": appearances[sequence_set] if seen else 0,
                        "loss": loss.mean(axis=1),
                        "accuracy": accuracy.mean(axis=1),
                    }
                )
            )
            tables["positions"].append(
                pd.DataFrame(
                    {
                        **key,
                        "position": np.arange(sequences.shape[1])[-loss.shape[1] :],
                        "loss": loss.mean(axis=0),
                        "accuracy": accuracy.mean(axis=0),
                    }
                )
            )
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def attention_table(learner: Learner, sequences: np.ndarray) -> pd.DataFrame:
    """Return how much each head attends to each position: means over ``sequences`` (K, L).

    A row for each layer, head, ``predicted_position`` n, ``key_position`` i < n and, where the attention
    depends on them, the bits at n − 1 (``query_bit``) and at i (``key_bit``), else −1. A pair of bits that
    no sequence has at its positions is left out.
    """
    maps = learner.attention_maps(sequences)
    # A deep model has millions of cells: small types.
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
    """Return how often each sequence of each set had been in a batch when the set was left, (K,)."""
    return {entry["sequence_set"]: entry["num_appearances"] for entry in logs}


def epoch_table(logs: list[dict]) -> pd.DataFrame:
    """Return the tests of all epochs, one row for each (epoch, set, sequence).

    ``current_set`` is the set being trained on, ``sequence_set`` the set tested.
    """
    tables = [
        pd.DataFrame(
            {
                # Many rows: small types.
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
    """Return the numbers that are logged each epoch, one row an epoch."""
    rows = [{key: value for key, value in entry.items() if np.isscalar(value)} for entry in logs]
    return pd.DataFrame(rows).rename(columns={"sequence_set": "current_set"})
