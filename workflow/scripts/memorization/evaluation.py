"""What a model knows of each sequence, and the table of it for every set and every set of weights."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from .models import StateDict, build_model, set_up_torch, swap_part
from .sequences import generate_held_out_sequences

HELD_OUT = -1
SWAPPED_PARTS = ("mlp", "attention")
# Bounds the memory of an evaluation, whatever the number of sequences.
_CHUNK = 1024


@torch.no_grad()
def evaluate_sequences(model: nn.Module, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss (nats a bit) and the accuracy of each of ``sequences``, integers (K, L).

    Both are float32 arrays (K,): means over the L − 1 predicted bits.
    """
    device = next(model.parameters()).device
    losses, accuracies = [], []
    for chunk in torch.from_numpy(sequences).split(_CHUNK):
        chunk = chunk.to(device)
        logits, targets = model(chunk[:, :-1]), chunk[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        losses.append(loss.view(targets.shape).mean(dim=1))
        accuracies.append((logits.argmax(dim=-1) == targets).float().mean(dim=1))
    return torch.cat(losses).cpu().numpy(), torch.cat(accuracies).cpu().numpy()


def evaluated_weights(results: dict, parts: dict[str, tuple[str, ...]]) -> Iterator[tuple[str, StateDict, int]]:
    """Yield each kind of weights of a run: its name, its state dict, the number of sets seen by then.

    ``pre_switch_s`` are the weights just before the s-th switch; ``swap_mlp`` and ``swap_attention``
    are the final ones with that part put back to what it was just before the first switch.
    """
    pre_switch, final = results["pre_switch_state_dict"], results["model_state_dict"]
    for switch, state_dict in enumerate(pre_switch, start=1):
        yield f"pre_switch_{switch}", state_dict, switch
    num_sets = len(pre_switch) + 1
    yield "final", final, num_sets
    for part in SWAPPED_PARTS if pre_switch else ():
        yield f"swap_{part}", swap_part(final, pre_switch[0], parts[part]), num_sets


def evaluate_run(results: dict, sequence_sets: list[np.ndarray]) -> pd.DataFrame:
    """Evaluate all sequences of all sets, and held-out ones, under each kind of weights of a run.

    ``results`` is the content of ``<run>.pkl``, ``sequence_sets`` its int64 arrays (K, L). The columns
    are those of ``<run>_evaluation.parquet``; ``num_appearances`` counts up to the moment at which the
    weights were taken.
    """
    settings = SimpleNamespace(**results["args"])
    set_up_torch(settings)
    model = build_model(settings)
    held_out = generate_held_out_sequences(
        settings.seed, settings.num_held_out, settings.len_context, sequence_sets
    )
    appearances = final_appearances(results["logs"])
    tables = []
    for weights, state_dict, num_sets_seen in evaluated_weights(results, model.parts):
        model.load_state_dict(state_dict)
        for sequence_set, sequences in [*enumerate(sequence_sets), (HELD_OUT, held_out)]:
            loss, accuracy = evaluate_sequences(model, sequences)
            seen = 0 <= sequence_set < num_sets_seen
            tables.append(
                pd.DataFrame(
                    {
                        "weights": weights,
                        "sequence_set": sequence_set,
                        "sequence_rank": np.arange(len(sequences)),
                        "num_appearances": appearances[sequence_set] if seen else 0,
                        "loss": loss,
                        "accuracy": accuracy,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def final_appearances(logs: list[dict]) -> dict[int, np.ndarray]:
    """Return how often each sequence of each set had been in a batch when the set was left, (K,)."""
    return {entry["sequence_set"]: entry["num_appearances"] for entry in logs}


def epoch_table(logs: list[dict]) -> pd.DataFrame:
    """Return the test metrics of all epochs as one tidy table, one row a (epoch, set, sequence).

    ``current_set`` is the set being trained on, ``sequence_set`` the set tested.
    """
    tables = [
        pd.DataFrame(
            {
                "epoch": entry["epoch"],
                "iter": entry["iter"],
                "current_set": entry["sequence_set"],
                "sequence_set": entry["test_metrics"]["sequence_set"],
                "sequence_rank": entry["test_metrics"]["sequence_rank"],
                "loss": entry["test_metrics"]["logsoftmaxloss"],
                "accuracy": entry["test_metrics"]["accuracy"],
            }
        )
        for entry in logs
    ]
    return pd.concat(tables, ignore_index=True)
