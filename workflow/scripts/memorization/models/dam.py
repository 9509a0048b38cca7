"""The phenomenological model: a dense associative memory (DAM) whose memory is a queue.

The equations are those of *Phenomenological Model of Memorization* in the notes, in their order and with
their symbols: a sequence ζ has N bits ±1, the memory holds sequences χ_μ with the keys φ_μ = B χ_μ. The
softmax over the queue is taken over its distinct sequences, each with the logarithm of how often it is
stored added to its score, which is the same to the last digit of exact arithmetic.
"""

import math
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn import functional as F

from .learners import StateDict, build_optimizer, freeze, initial_generator
from .queue_memory import QueueMemory, distinct_rows

LOGITS_STD = 0.1
PROBABILITY_FLOOR = 1e-6
# Bounds the memory of an evaluation: sequences evaluated at once.
_CHUNK = 64


def attention(A_logits: torch.Tensor) -> torch.Tensor:
    """Return A (N, H, N): A[n, h] weighs the bits before bit n, all its weights ≥ 0 and their sum 1.

    The matrix A(n) of the first equation of the notes, for every n at once: the softmax of
    ``A_logits[n, h, :n]``, and 0 from bit n on. No bit precedes bit 0: A[0] is 0.
    """
    N = len(A_logits)
    # Added, not filled in: the sum passes its gradient on as it is.
    at_or_past = A_logits.new_full((N, N), -math.inf).triu()
    weights = torch.softmax(A_logits[1:] + at_or_past[1:, None], dim=-1)
    return F.pad(weights, (0, 0, 0, 0, 1, 0))


class _Retrieve(torch.autograd.Function):
    """`retrieve`, with its gradient written out to pass over the N · B · D scores as seldom as can be.

    With P_b = Σ of π_μ over the μ with bit b: ∂P_b / ∂score_μ = π_μ (1[χ_μ has bit b] − P_b). The scores
    are bilinear in η φ̂ and B χ_μ, so that one product of their gradient with the χ_μ gives both gradients.
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
    """Return the probability (N, batch, 2) that the memory gives to −1 and to +1 at each of N bits.

    The second and the third equation of the notes: π_μ ∝ exp(η φ̂ᵀ φ_μ) with φ_μ = B χ_μ, and P(+1) = Σ
    of π_μ over the stored sequences whose bit n is +1.

    Args:
        queries: η φ̂ for each bit of each sequence, (N, batch, H).
        B: (H, N).
        stored: the distinct stored sequences χ, (D, N) of ±1, D ≥ 1.
        log_counts: the logarithm of how often each is stored, (D,).
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
    """Return the probability (N, batch, 2) of −1 and of +1 at each bit n of ζ, from the bits before it.

    Args:
        A_logits: (N, H, N), see `attention`.
        B_logits: (H, N); B is their softmax, row by row.
        eta: the constant η of the retrieval.
        stored: the distinct stored sequences χ, (D, N) of ±1; D = 0 is the empty memory, which gives
            exactly 0.5 to both.
        counts: how often each is stored, (D,).
        zeta: the sequences ζ, (batch, N) of ±1.
    """
    batch, N = zeta.shape
    if len(stored) == 0:
        return zeta.new_full((N, batch, 2), 0.5)
    queries = eta * (zeta @ attention(A_logits).transpose(1, 2))  # η φ̂, φ̂ = A(n) ζ_{0:n}, (N, batch, H)
    return retrieve(queries, torch.softmax(B_logits, dim=-1), stored, counts.to(zeta.dtype).log())


def bit_losses(P: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor:
    """Return the binary cross-entropy (N, B), in nats, of the predictions P (N, B, 2) of the bits of ζ.

    L_BCE(α, n) in the notes' loss. Probabilities are clamped to [1e-6, 1 − 1e-6].
    """
    true_bit = (zeta.T > 0).long().unsqueeze(-1)  # (N, B, 1)
    return -P.gather(-1, true_bit).squeeze(-1).clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR).log()


class DamLearner:
    """The DAM with its queue, trained as in *Updating the DAM* and *Updating A, B* of the notes."""

    swaps: ClassVar[dict[str, tuple[str, ...]]] = {
        "swap_memory": ("memory", "memory_size"),
        "swap_A": ("A_logits",),
    }

    def __init__(self, settings: SimpleNamespace, sequence_sets: list[np.ndarray]):
        """Start with logits N(0, 0.1) and an empty memory for the sequences (K, N) of the sets."""
        N, H = settings.N, settings.H
        generator = initial_generator(settings)
        self.settings = settings
        self.A_logits = self._parameter(torch.randn(N, H, N, generator=generator))
        self.B_logits = self._parameter(torch.randn(H, N, generator=generator))
        self.queue = QueueMemory((2 * np.concatenate(sequence_sets) - 1).astype(np.int8), settings.M)
        self._set_stored(*self.queue.stored())

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of A and B; an evaluation does without."""
        return build_optimizer([self.A_logits, self.B_logits], self.settings)

    def _parameter(self, noise: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter((LOGITS_STD * noise).to(self.settings.device))

    def _set_stored(self, distinct: np.ndarray, counts: np.ndarray) -> None:
        self._stored = torch.from_numpy(distinct).to(self.settings.device, torch.float32)
        self._counts = torch.from_numpy(counts).to(self.settings.device)

    def _predict(self, zeta: torch.Tensor) -> torch.Tensor:
        return predict(self.A_logits, self.B_logits, self.settings.eta, self._stored, self._counts, zeta)

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Update A and B on ``batch`` (B, N) of 0/1, append it to the memory, return its loss (nats a bit).

        The loss of *Updating A, B*, over the memory before the batch enters it; while that is empty it
        is log 2 and nothing is updated.
        """
        # A sequence that is in the batch twice counts twice, and is computed once.
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
        """Append the sequences of ``identities`` (B,) to the memory: *Updating the DAM*."""
        self.queue.append(identities)
        self._set_stored(*self.queue.stored())

    def switch(self) -> None:
        """Clear the memory, where the settings say so."""
        if self.settings.clear_memory_at_switch:
            self.queue.clear()
            self._set_stored(*self.queue.stored())

    def freeze(self) -> None:
        """Stop every update of what the settings name."""
        frozen = {"none": [], "A": [self.A_logits], "both": [self.A_logits, self.B_logits]}
        for parameter in frozen[self.settings.freeze]:
            freeze(parameter)

    @torch.no_grad()
    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each of the N bits of ``sequences``, (K, N).

        A bit to which the memory gives exactly one half is right with half a point.
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
        """Return A, (1, H, N, N, 1, 1), which depends on no sequence; NaN at and past the predicted bit."""
        before = torch.ones(self.settings.N, self.settings.N, dtype=torch.bool).tril(-1)
        A = attention(self.A_logits).transpose(0, 1).cpu().masked_fill(~before, math.nan)  # (H, N, N)
        return A[None, ..., None, None].numpy()

    @torch.no_grad()
    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return loss and accuracy, sharpness, head correlation, and how many distinct sequences are stored."""
        return {
            "loss": loss,
            "accuracy": accuracy,
            "sharpness": sharpness(self.A_logits),
            "head_correlation": head_correlation(self.A_logits),
            "num_distinct_stored": len(self._stored),
        }

    def state_dict(self) -> StateDict:
        """Return a copy of ``A_logits``, ``B_logits``, ``memory`` (M, N) of ±1 and 0, and ``memory_size``."""
        return {
            "A_logits": self.A_logits.detach().to("cpu", copy=True),
            "B_logits": self.B_logits.detach().to("cpu", copy=True),
            "memory": torch.from_numpy(self.queue.matrix()),
            "memory_size": self.queue.size,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take on the logits and, for prediction, the memory of ``state_dict``."""
        self.A_logits.copy_(state_dict["A_logits"])
        self.B_logits.copy_(state_dict["B_logits"])
        self._set_stored(*distinct_rows(state_dict["memory"][: state_dict["memory_size"]].numpy()))

    def checkpoint(self) -> dict[str, Any]:
        """Return the logits, the state of the optimiser, and the rows of what is stored."""
        return {
            "A_logits": self.A_logits.detach(),
            "B_logits": self.B_logits.detach(),
            "optimizer": self.optimizer.state_dict(),
            "queue": self.queue.rows(),
        }

    @torch.no_grad()
    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what `checkpoint` returned."""
        self.A_logits.copy_(checkpoint["A_logits"])
        self.B_logits.copy_(checkpoint["B_logits"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.queue.clear()
        self.append(checkpoint["queue"])

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return nothing: the states hold the parts by name."""
        return {}


def sharpness(A_logits: torch.Tensor) -> float:
    """Return the mean over n ≥ 1 and over the heads of max_i A_i(n); 1 is attention to a single bit."""
    return attention(A_logits)[1:].amax(dim=-1).mean().item()


def head_correlation(A_logits: torch.Tensor) -> float:
    """Return the mean Pearson correlation between the logits of two heads over the bits before bit n.

    The mean is over all pairs of heads and over n ≥ 2: one bit has no correlation. NaN for one head.
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
    """Build the DAM of a run with its initial logits, a pure function of the settings and the seed."""
    return DamLearner(settings, sequence_sets)
