"""The phenomenological model: a dense associative memory (DAM) with a queue.

The equations and their symbols are those of docs/models.md, section "The dense associative memory": a
sequence ζ has N bits ±1. Docstrings name the paragraphs of that section. `retrieval` computes the predictions
from the memory, and `queue_memory` says what the memory holds.
"""

import math
from collections.abc import Callable
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from ..one_bit_heads import one_bit_positions
from .adam import Adam
from .learners import (
    StateDict,
    bit_accuracies,
    build_optimizer,
    distinct_sequences,
    freeze,
    initial_generator,
)
from .queue_memory import QueueMemory, distinct_rows
from .retrieval import Stored, attention, bit_losses, loss_and_gradients, predict

# By how much the logit of the bit that a head reads exceeds the others. The softmax then gives this bit almost all
# of the weight, and still has a gradient.
ONE_BIT_LOGIT = 10.0
# Sequences evaluated at once; this bounds the memory of an evaluation, together with `retrieval.NUM_SCORES`.
_CHUNK = 1024


class DamLearner:
    """The DAM with its queue.

    Each batch first updates A and B by gradient and then enters the queue.
    """

    has_memory: ClassVar[bool] = True
    swaps: ClassVar[dict[str, tuple[str, ...]]] = {
        "swap_memory": ("memory", "memory_size"),
        "swap_A": ("A_logits",),
    }

    def __init__(self, settings: SimpleNamespace, generator: torch.Generator, sequence_sets: list[np.ndarray]):
        """Make the initial logits, random ones with ``generator``, and an empty memory.

        ``sequence_sets`` are the sets of the run, (K, N) of 0/1: the memory holds row numbers in them.
        """
        self.settings = settings
        self.A_logits, self.B_logits = (
            torch.nn.Parameter(logits.to(settings.device), requires_grad=settings.A_and_B_trainable)
            for logits in initial_logits(settings, generator)
        )
        bits = np.concatenate(sequence_sets, dtype=np.int8, casting="unsafe")
        self.queue = QueueMemory(2 * bits - 1, settings.M)
        self._set_stored(*self.queue.stored())

    @property
    def num_parameters(self) -> int:
        """The number of logits that are used: all of B, and n of ``A_logits[n, h]``."""
        return self.B_logits.numel() + sum(logits[:, :n].numel() for n, logits in enumerate(self.A_logits))

    @cached_property
    def optimizer(self) -> Adam:
        """The optimiser of A and B; built when first used."""
        return build_optimizer([self.A_logits, self.B_logits], self.settings)

    def _set_stored(self, distinct: np.ndarray, counts: np.ndarray) -> None:
        self._stored = Stored.of(distinct, counts, like=self.A_logits)

    def _plus_minus(self, bits: torch.Tensor) -> torch.Tensor:
        return bits.to(self.A_logits.dtype).mul_(2).sub_(1)

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Update A and B on ``batch``, append it to the memory and return its loss.

        The paragraph "Learning". ``batch`` is (B, N) of 0/1. The loss is in nats per bit, with the memory as it
        was before this batch. If that was empty, the loss is log 2 and nothing is updated.
        """
        if self._stored.number:
            loss = self._update(batch, identities)
        else:
            loss = torch.tensor(math.log(2), device=batch.device)
        self.append(identities)
        return loss

    def _update(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Update A and B on ``batch`` and return its loss."""
        distinct, share = distinct_sequences(batch, identities)
        zeta = self._plus_minus(distinct)
        loss, self.A_logits.grad, self.B_logits.grad = loss_and_gradients(
            self.A_logits, self.B_logits, self.settings.eta, self._stored, zeta, share.to(zeta)
        )
        if self.A_logits.requires_grad or self.B_logits.requires_grad:
            self.optimizer.step()
        return loss

    def append(self, identities: np.ndarray) -> None:
        """Append the sequences with the row numbers ``identities`` (B,) to the memory."""
        self.queue.append(identities)
        self._set_stored(*self.queue.stored())

    def switch(self) -> None:
        """Clear the memory if the setting ``clear_memory_at_switch`` says so."""
        if self.settings.clear_memory_at_switch:
            self.queue.clear()
            self._set_stored(*self.queue.stored())

    def freeze(self) -> None:
        """Stop every update of the logits that the setting ``freeze`` names."""
        for name, logits in (("A", self.A_logits), ("B", self.B_logits)):
            if self.settings.freeze in (name, "both"):
                freeze(logits)

    @torch.inference_mode()
    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each bit of ``sequences``, (K, N).

        A bit counts as half right if the memory gives the same probability to both values.
        """
        losses = torch.empty(sequences.shape)
        accuracies = torch.empty_like(losses)
        chunks = (tensor.split(_CHUNK) for tensor in (torch.from_numpy(sequences), losses, accuracies))
        for chunk, loss, accuracy in zip(*chunks, strict=True):
            zeta = self._plus_minus(chunk.to(self.settings.device))
            P = predict(self.A_logits, self.B_logits, self.settings.eta, self._stored, zeta)
            loss.copy_(bit_losses(P, zeta).T)
            accuracy.copy_(bit_accuracies((P[:, 1] - P[:, 0]).T, zeta > 0))
        return losses.numpy(), accuracies.numpy()

    @torch.no_grad()
    def attention_maps(self, sequences: np.ndarray) -> np.ndarray:
        """Return A as (1, H, N, N, 1, 1); it is the same for all sequences.

        The positions from the predicted bit on have NaN.
        """
        before = torch.ones(self.settings.N, self.settings.N, dtype=torch.bool).tril(-1)
        A = attention(self.A_logits).transpose(0, 1).cpu().masked_fill(~before, math.nan)  # (H, N, N)
        return A[None, ..., None, None].numpy()

    @torch.no_grad()
    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return ``loss``, ``accuracy`` and numbers that describe A and the memory."""
        return {
            "loss": loss,
            "accuracy": accuracy,
            "sharpness": sharpness(self.A_logits),
            "head_correlation": head_correlation(self.A_logits),
            "num_distinct_stored": self._stored.number,
        }

    def state_dict(self) -> StateDict:
        """Return a copy of the logits and of the memory.

        ``memory`` (M, N) is ±1 in the first ``memory_size`` rows, the next to leave first, and 0 below.
        """
        return {
            "A_logits": self.A_logits.detach().to("cpu", copy=True),
            "B_logits": self.B_logits.detach().to("cpu", copy=True),
            "memory": torch.from_numpy(self.queue.matrix()),
            "memory_size": self.queue.size,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Replace the logits and the memory that predictions use.

        The queue itself stays as it is: use `restore` to continue a training.
        """
        self.A_logits.copy_(state_dict["A_logits"])
        self.B_logits.copy_(state_dict["B_logits"])
        self._set_stored(*distinct_rows(state_dict["memory"][: state_dict["memory_size"]].numpy()))

    def refilled(self, state_dict: StateDict, last_drawn: Callable[[int], np.ndarray]) -> StateDict:
        """Return ``state_dict`` with the last sequences drawn from a set as its memory.

        ``last_drawn`` gives as many of them as are asked for, (M, N) of 0/1, or fewer.
        """
        stored = last_drawn(self.settings.M)
        memory = torch.zeros(self.settings.M, self.settings.N, dtype=torch.int8)
        memory[: len(stored)] = torch.from_numpy(2 * stored - 1)
        return {**state_dict, "memory": memory, "memory_size": len(stored)}

    def checkpoint(self) -> dict[str, Any]:
        """Return the logits, the state of the optimiser and the row numbers in the queue."""
        return {
            "A_logits": self.A_logits.detach(),
            "B_logits": self.B_logits.detach(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.queue.rows(),
        }

    @torch.no_grad()
    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Continue from what `checkpoint` returned."""
        self.A_logits.copy_(checkpoint["A_logits"])
        self.B_logits.copy_(checkpoint["B_logits"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.queue.clear()
        self.append(checkpoint["queue"])

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return nothing: each part is an entry of the state dict already."""
        return {}


def initial_logits(settings: SimpleNamespace, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the initial logits of A (N, H, N) and of B (H, N).

    The paragraphs "Initial logits" and "Heads that read one bit".
    """
    N, H = settings.N, settings.H
    if settings.initial_heads == "random":
        A_noise, B_noise = torch.randn(N, H, N, generator=generator), torch.randn(H, N, generator=generator)
        return settings.logits_std * A_noise, settings.logits_std * B_noise
    read = torch.zeros(H, N)
    read[np.arange(H), one_bit_positions(N, H)] = ONE_BIT_LOGIT
    # Row n has the bits before bit n only. With none of them preferred, it is their average.
    before = torch.ones(N, N).tril(-1).unsqueeze(1)
    return read * before, read


def sharpness(A_logits: torch.Tensor) -> float:
    """Return the mean of max_i A_i(n) over n ≥ 1 and over the heads.

    It is 1 if every head attends to a single bit. See "Diagnostics".
    """
    return attention(A_logits)[1:].amax(dim=-1).mean().item()


def head_correlation(A_logits: torch.Tensor) -> float:
    """Return the mean Pearson correlation between the attention logits of two heads.

    See "Diagnostics". For each n the correlation is taken over the bits before bit n. The mean is over all
    pairs of heads and over n ≥ 2, because one bit has no correlation. NaN if there is one head.
    """
    N, H, _ = A_logits.shape
    before = torch.ones(N, N, device=A_logits.device).tril(-1)[2:, None]  # (N − 2, 1, N)
    logits = A_logits[2:] * before
    centred = (logits - logits.sum(-1, keepdim=True) / before.sum(-1, keepdim=True)) * before
    unit = F.normalize(centred, dim=-1)
    correlation = unit @ unit.transpose(1, 2)  # (N − 2, H, H)
    off_diagonal = correlation.sum(dim=(1, 2)) - correlation.diagonal(dim1=1, dim2=2).sum(dim=1)
    return (off_diagonal / (H * (H - 1))).mean().item() if H > 1 and N > 2 else math.nan


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> DamLearner:
    """Build the DAM of a run with its initial logits and an empty memory for the sets."""
    return DamLearner(settings, initial_generator(settings), sequence_sets)
