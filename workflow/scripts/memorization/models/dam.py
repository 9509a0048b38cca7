"""The phenomenological model: a dense associative memory (DAM) with a queue.

The equations and their symbols are those of docs/models.md, section "The dense associative memory": a
sequence ζ has N bits ±1, and the memory holds sequences χ_μ with the keys φ_μ = B χ_μ. Docstrings name the
paragraphs of that section.

Few of the stored sequences are distinct. The softmax over the queue is therefore computed over the distinct
sequences, with the logarithm of the number of copies of each added to its score. In exact arithmetic the
result is the same.
"""

import math
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from .adam import Adam
from .learners import StateDict, build_optimizer, freeze, initial_generator
from .queue_memory import QueueMemory, distinct_rows

LOGITS_STD = 0.1
PROBABILITY_FLOOR = 1e-6
# Sequences evaluated at once; this bounds the memory of an evaluation.
_CHUNK = 64


def attention(A_logits: torch.Tensor) -> torch.Tensor:
    """Return the attention A(n) for all n at once, (N, H, N): "Attention".

    Row ``A[n, h]`` is the softmax of ``A_logits[n, h, :n]``, the weights of the bits before bit n, followed by
    zeros. ``A[0]`` is 0, because no bit precedes bit 0.
    """
    N = len(A_logits)
    # −∞ is added instead of filled in because the backward pass of a sum costs nothing.
    at_or_past = A_logits.new_full((N, N), -math.inf).triu()
    weights = torch.softmax(A_logits[1:] + at_or_past[1:, None], dim=-1)
    return F.pad(weights, (0, 0, 0, 0, 1, 0))


class _Retrieve(torch.autograd.Function):
    """The function `retrieve` with its own backward pass.

    It reads the N · batch · D scores fewer times than autograd would. P_b is the sum of π_μ over the μ whose
    bit n is b, so ∂P_b / ∂score_μ = π_μ (1[bit n of χ_μ is b] − P_b). The scores are bilinear in η φ̂ and B
    χ_μ: the product of their gradient with the χ_μ gives the gradients of both.
    """

    @staticmethod
    def forward(ctx, queries, B, stored, log_counts):
        N, batch, H = queries.shape
        keys = stored @ B.T  # φ = B χ, (D, H)
        scores = torch.addmm(log_counts, queries.reshape(-1, H), keys.T)  # (N·batch, D)
        pi = torch.softmax(scores, dim=-1).view(N, batch, -1)
        plus = (stored.T > 0).to(stored.dtype)
        bits = torch.stack([1 - plus, plus], dim=1)  # (N, 2, D)
        P = torch.bmm(pi, bits.transpose(1, 2))  # (N, batch, 2)
        ctx.save_for_backward(queries, B, stored, pi, P, bits)
        return P

    @staticmethod
    def backward(ctx, grad_P):
        queries, B, stored, pi, P, bits = ctx.saved_tensors
        centred = grad_P - (grad_P * P).sum(dim=-1, keepdim=True)  # (N, batch, 2)
        grad_scores = torch.bmm(centred, bits).mul_(pi)  # (N, batch, D)
        grad_chi = grad_scores.view(-1, len(stored)) @ stored  # (N·batch, N)
        grad_queries = (grad_chi @ B.T).view_as(queries)
        grad_B = queries.reshape(len(grad_chi), -1).T @ grad_chi
        return grad_queries, grad_B, None, None


def retrieve(
    queries: torch.Tensor, B: torch.Tensor, stored: torch.Tensor, log_counts: torch.Tensor
) -> torch.Tensor:
    """Return the probabilities of −1 and of +1 for each bit, given the queries.

    The equations of "Keys" and "Retrieval": π_μ ∝ exp(η φ̂ᵀ φ_μ) with φ_μ = B χ_μ, and P(+1) is the sum of π_μ
    over the stored sequences whose bit n is +1. The result is (N, batch, 2).

    Args:
        queries: η φ̂ for each bit of each sequence, (N, batch, H).
        B: (H, N).
        stored: the distinct stored sequences χ, (D, N) of ±1, D ≥ 1.
        log_counts: the logarithm of the number of copies of each, (D,).
    """
    return _Retrieve.apply(queries, B, stored, log_counts)


def predict(
    A_logits: torch.Tensor,
    B_logits: torch.Tensor,
    eta: float,
    stored: torch.Tensor,
    counts: torch.Tensor,
    zeta: torch.Tensor,
) -> torch.Tensor:
    """Return the probabilities of −1 and of +1 for each bit of ζ.

    The query φ̂ = A(n) ζ of "Attention", followed by `retrieve`. A prediction depends on the bits before its
    own. The result is (N, batch, 2).

    Args:
        A_logits: (N, H, N), see `attention`.
        B_logits: (H, N); B is their softmax, row by row.
        eta: the constant η of the retrieval.
        stored: the distinct stored sequences χ, (D, N) of ±1. If the memory is empty, D = 0, both
            probabilities are exactly 0.5.
        counts: the number of copies of each, (D,).
        zeta: the sequences ζ, (batch, N) of ±1.
    """
    batch, N = zeta.shape
    if len(stored) == 0:
        return zeta.new_full((N, batch, 2), 0.5)
    queries = eta * (zeta @ attention(A_logits).transpose(1, 2))  # η φ̂, φ̂ = A(n) ζ_{0:n}, (N, batch, H)
    return retrieve(queries, torch.softmax(B_logits, dim=-1), stored, counts.to(zeta.dtype).log())


def bit_losses(P: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy of each bit of ζ, in nats, (N, batch).

    The equation L_BCE of "Loss". ``P`` (N, batch, 2) are the predictions for ζ (batch, N). Probabilities are
    clamped to [1e-6, 1 − 1e-6].
    """
    true_bit = (zeta.T > 0).long().unsqueeze(-1)  # (N, B, 1)
    return -P.gather(-1, true_bit).squeeze(-1).clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR).log()


class DamLearner:
    """The DAM with its queue.

    Each batch first updates A and B by gradient and then enters the queue.
    """

    swaps: ClassVar[dict[str, tuple[str, ...]]] = {
        "swap_memory": ("memory", "memory_size"),
        "swap_A": ("A_logits",),
    }

    def __init__(self, settings: SimpleNamespace, generator: torch.Generator, sequence_sets: list[np.ndarray]):
        """Draw the logits from N(0, 0.1) with ``generator``, and make an empty memory.

        ``sequence_sets`` are the sets of the run, (K, N) of 0/1: the memory holds row numbers in them.
        """
        N, H = settings.N, settings.H
        self.settings = settings
        self.A_logits = self._parameter(torch.randn(N, H, N, generator=generator))
        self.B_logits = self._parameter(torch.randn(H, N, generator=generator))
        self.queue = QueueMemory((2 * np.concatenate(sequence_sets) - 1).astype(np.int8), settings.M)
        self._set_stored(*self.queue.stored())

    @property
    def num_parameters(self) -> int:
        """The number of logits that are used: all of B, and n of ``A_logits[n, h]``."""
        return self.B_logits.numel() + sum(logits[:, :n].numel() for n, logits in enumerate(self.A_logits))

    @cached_property
    def optimizer(self) -> Adam:
        """The optimiser of A and B; built when first used."""
        return build_optimizer([self.A_logits, self.B_logits], self.settings)

    def _parameter(self, noise: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter((LOGITS_STD * noise).to(self.settings.device))

    def _set_stored(self, distinct: np.ndarray, counts: np.ndarray) -> None:
        self._stored = torch.from_numpy(distinct).to(self.settings.device, torch.float32)
        self._counts = torch.from_numpy(counts).to(self.settings.device)

    def _predict(self, zeta: torch.Tensor) -> torch.Tensor:
        return predict(self.A_logits, self.B_logits, self.settings.eta, self._stored, self._counts, zeta)

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Update A and B on ``batch``, append it to the memory and return its loss.

        The paragraph "Learning". ``batch`` is (B, N) of 0/1. The loss is in nats per bit, with the memory as it
        was before this batch. If that was empty, the loss is log 2 and nothing is updated.
        """
        # A sequence that is in the batch twice is computed once and its loss counts twice.
        _, first, counts = np.unique(identities, return_index=True, return_counts=True)
        zeta = 2 * batch[torch.from_numpy(first).to(batch.device)].float() - 1
        share = torch.from_numpy(counts / len(identities)).to(zeta)
        loss = bit_losses(self._predict(zeta), zeta).mean(dim=0) @ share
        if len(self._stored) and loss.requires_grad:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        self.append(identities)
        return loss.detach()

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
        frozen = {"none": [], "A": [self.A_logits], "both": [self.A_logits, self.B_logits]}
        for parameter in frozen[self.settings.freeze]:
            freeze(parameter)

    @torch.no_grad()
    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each bit of ``sequences``, (K, N).

        A bit counts as half right if the memory gives the same probability to both values.
        """
        losses, accuracies = [], []
        for chunk in torch.from_numpy(sequences).split(_CHUNK):
            zeta = 2 * chunk.to(self.settings.device).float() - 1
            P = self._predict(zeta)
            preferred = torch.sign(P[..., 1] - P[..., 0]).T  # (B, N)
            losses.append(bit_losses(P, zeta).T)
            accuracies.append((1 + preferred * zeta) / 2)
        return torch.cat(losses).cpu().numpy(), torch.cat(accuracies).cpu().numpy()

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
            "num_distinct_stored": len(self._stored),
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
