"""Predictions, loss and gradients of the DAM, without autograd.

The equations and their symbols are those of docs/models.md, section "The dense associative memory". Retrieval is
an attention with one layer: its queries come from the prefix of a sequence ζ, its keys from the stored sequences
χ_μ, and its values are bit n of the χ_μ. A batch has B sequences of N bits; there are H heads and D distinct
stored sequences, of which χ_μ is stored c_μ times:

    queries   q_n = (η / log 2) A(n) ζ                                       (N, B, H)
    keys      φ_μ = B χ_μ                                                    (H, D)
    scores    s_nμ = q_n · φ_μ                                               (N, B, D)
    weights   E_nμ = 2^(s_nμ − m_n),    m_n = max over μ of s_nμ             (N, B, D)
    sums      Z_nb = Σ_μ E_nμ c_nbμ                                          (N, 2, B)
    result    P_nb = Z_nb / (Z_n0 + Z_n1), the probability that bit n is b   (N, 2, B)

Here c_nbμ is c_μ if bit n of χ_μ is b, and 0 otherwise. Nearly all time goes into the N · B · D scores, so they
are read and written as few times as possible:

* The weights E are a softmax that is not divided by its sum. Only the small Z is divided, and one product with
  the copies c gives the sums of both bits.
* The base is 2, because 2^s takes a third of the time of exp(s). The factor 1 / log 2 is in the queries.
* The shift m cancels in P. It is the exact maximum of a row, so the largest weight of a row is 1. The sum
  Z_n0 + Z_n1 is therefore at least 1, and at most what the memory holds, however large the scores are.

**Gradient.** The loss L depends on the scores through P. With Z_n = Z_n0 + Z_n1,

    ∂L/∂s_nμ = E_nμ Σ_b c_nbμ g_nb,    g_nb = (log 2 / Z_n) (∂L/∂P_nb − Σ_b' P_nb' ∂L/∂P_nb').

If bit n is b, and its loss −log P_nb has the weight w in L, these are

    g_nb = −(log 2 / Z_n) w (1 − P_nb) / P_nb    and, for the other value b',    g_nb' = (log 2 / Z_n) w.

1 − P_nb is P_nb', which has been computed: a difference would lose the digits of a P close to 1.

The g have the size of P. One product of them with the copies c, multiplied by E, is the gradient of the scores.
From there on the gradients are those of any attention: ∂q = ∂s φᵀ and ∂φ = qᵀ ∂s, then those of A and B, and then
those of the softmaxes that A and B are.
"""

import math
from functools import cache, reduce
from typing import NamedTuple

import numpy as np
import torch

# The loss of a smaller probability is that of this one, because log 0 is infinite.
PROBABILITY_FLOOR = 1e-12
# How many scores are computed at once. This bounds the memory; many more would also take longer, because they
# would not stay in the processor's cache.
NUM_SCORES = 2**21
# The number of stored sequences is filled up to a multiple of this, so that each row of the scores begins at a
# cache line. Otherwise the products take a tenth longer, and the maxima twice as long.
_MULTIPLE = 16
# How many scores stay in the cache of a processor core, about.
_NUM_CACHED = 2**17
_softmax_backward = torch.ops.aten._softmax_backward_data.default


class Stored(NamedTuple):
    """The distinct sequences in a memory, and how often each of them is stored.

    At the end the first of them is repeated with 0 copies, until their number D is a multiple of 16.
    """

    number: int
    """The number of distinct sequences without these repetitions; 0 if the memory is empty."""
    chi: torch.Tensor
    """The sequences χ of ±1, (N, D)."""
    copies: torch.Tensor
    """The copies c for each bit and value, (N, 2, D). Value 0 is the bit −1."""

    @classmethod
    def of(cls, distinct: np.ndarray, counts: np.ndarray, like: torch.Tensor) -> "Stored":
        """Return the sequences ``distinct`` (D, N) of ±1, stored ``counts`` (D,) times.

        Type and device are those of ``like``.
        """
        number, N = distinct.shape
        D = -(-number // _MULTIPLE) * _MULTIPLE
        chi = np.empty((N, D), dtype=np.float32)
        chi[:, :number] = distinct.T
        chi[:, number:] = distinct[:1].T
        c = np.zeros(D, dtype=np.float32)
        c[:number] = counts
        copies = np.empty((N, 2, D), dtype=np.float32)
        np.multiply(chi > 0, c, out=copies[:, 1])
        np.subtract(c, copies[:, 1], out=copies[:, 0])
        return cls(number, torch.from_numpy(chi).to(like), torch.from_numpy(copies).to(like))


@cache
def _at_or_past(N: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return −∞ for the positions i ≥ n of each bit n > 0, and 0 elsewhere, (N, 1, N)."""
    mask = torch.full((N, N), -math.inf, dtype=dtype, device=device).triu_()
    mask[0] = 0
    return mask.unsqueeze(1)


def attention(A_logits: torch.Tensor) -> torch.Tensor:
    """Return the attention A(n) for all n at once, (N, H, N): "Attention".

    Row ``A[n, h]`` is the softmax of ``A_logits[n, h, :n]``, the weights of the bits before bit n, followed by
    zeros. ``A[0]`` is 0, because no bit precedes bit 0. There is no gradient through it.
    """
    A = torch.softmax(A_logits + _at_or_past(A_logits.shape[0], A_logits.dtype, A_logits.device), dim=-1)
    A[0] = 0
    return A


def cross_entropy(P: torch.Tensor, shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss L in nats, and Z_n g_nb / log 2 of each value.

    The equation of "Loss". The gradient is that of −log P below `PROBABILITY_FLOOR` as well; it is 0 if P is 0 in
    the precision of the numbers. ``P`` (n, 2, B) are the probabilities of both values of each bit. ``shares``
    (n, 2, B) are the weights of their losses, 0 for the value that a bit does not have.
    """
    loss = -(P.clamp(min=PROBABILITY_FLOOR).log() * shares).sum()
    smallest = torch.finfo(P.dtype).tiny
    positive = P.clamp(min=smallest)
    counted = shares * (positive == P)
    return loss, counted.flip(1) - counted * P.flip(1) / positive


def bit_losses(P: torch.Tensor, zeta: torch.Tensor) -> torch.Tensor:
    """Return the loss of each bit of ζ in nats, (N, B).

    The equation of "Loss". ``P`` (N, 2, B) are the predictions for ζ (B, N).
    """
    P_true = torch.where(zeta.T > 0, P[:, 1], P[:, 0])
    return -P_true.clamp(min=PROBABILITY_FLOOR).log()


class Retrieval:
    """The retrieval from a memory that is not empty, with given A and B."""

    def __init__(self, A_logits: torch.Tensor, B_logits: torch.Tensor, eta: float, stored: Stored):
        """Compute A, B and the keys; the arguments are those of `predict`."""
        self.stored = stored
        self.A, self.B = attention(A_logits), torch.softmax(B_logits, dim=-1)
        self.keys = self.B @ stored.chi  # (H, D)
        self._factor = eta / math.log(2)

    def parts(self, num_sequences: int, num_scores: int) -> list[slice]:
        """Return the parts of a batch that have ``num_scores`` scores at most.

        A part has one sequence at least.
        """
        size = max(1, num_scores // self.stored.chi.numel())
        return [slice(first, first + size) for first in range(0, max(1, num_sequences), size)]

    def weigh(
        self, zeta: torch.Tensor, memory: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ζ η / log 2, the queries, the weights E and their sums Z.

        They are (N, batch, N), the same for each bit, (N · batch, H), (N, batch, D) and (N, 2, batch). ``zeta`` is
        (batch, N). E is written to the first rows of ``memory`` (rows, D), if it is given.
        """
        batch, N = zeta.shape
        scaled = (zeta * self._factor).expand(N, batch, N)
        queries = torch.bmm(scaled, self.A.transpose(1, 2)).view(N * batch, -1)
        scores = torch.mm(queries, self.keys, out=None if memory is None else memory[: N * batch])
        E = scores.sub_(scores.amax(dim=1, keepdim=True)).exp2_().view(N, batch, -1)
        return scaled, queries, E, torch.bmm(self.stored.copies, E.transpose(1, 2))

    def gradients(
        self, zeta: torch.Tensor, share: torch.Tensor, by_A: bool, by_B: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return the loss of ζ, and its gradients by A and by B.

        The arguments are those of `loss_and_gradients`. A gradient that is not asked for is None.
        """
        batch, N = zeta.shape
        scaled, queries, E, Z = self.weigh(zeta)
        total = Z.sum(dim=1, keepdim=True)
        signed = zeta.T * (share / N)
        loss, g = cross_entropy(Z / total, torch.stack([-signed, signed], dim=1).clamp_(min=0))
        if not by_A and not by_B:
            return loss, None, None
        grad_scores = self._times_copies(E, g.div_(total / math.log(2))).view(N * batch, -1)
        if not by_A:
            return loss, None, (queries.T @ grad_scores) @ self.stored.chi.T
        # ∂s χᵀ serves both gradients: it is a product with N columns instead of two with H columns.
        by_chi = self.stored.chi @ grad_scores.T  # (N, N · batch)
        grad_queries = (self.B @ by_chi).view(-1, N, batch).transpose(0, 1)
        return loss, torch.bmm(grad_queries, scaled), queries.T @ by_chi.T if by_B else None

    def _times_copies(self, E: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Multiply E_nμ by Σ_b c_nbμ g_nb, in place; ``g`` is (N, 2, batch).

        The factors of as many bits are computed at a time as stay in the cache until they are used.
        """
        N, batch, D = E.shape
        num_bits = max(1, _NUM_CACHED // (batch * D))
        g = g.transpose(1, 2)
        for first in range(0, N, num_bits):
            bits = slice(first, first + num_bits)
            E[bits].mul_(torch.bmm(g[bits], self.stored.copies[bits]))
        return E


@torch.inference_mode()
def predict(
    A_logits: torch.Tensor,
    B_logits: torch.Tensor,
    eta: float,
    stored: Stored,
    zeta: torch.Tensor,
    num_scores: int = NUM_SCORES,
) -> torch.Tensor:
    """Return the probabilities of −1 and of +1 for each bit of ζ, (N, 2, batch).

    A prediction depends on the bits before its own.

    Args:
        A_logits: (N, H, N), see `attention`.
        B_logits: (H, N); B is their softmax, row by row.
        eta: the constant η of the retrieval.
        stored: what the memory holds. If it is empty, both probabilities are exactly 0.5.
        zeta: the sequences ζ, (batch, N) of ±1.
        num_scores: how many scores to compute at once; those of one sequence at least.
    """
    batch, N = zeta.shape
    if not stored.number:
        return zeta.new_full((N, 2, batch), 0.5)
    retrieval = Retrieval(A_logits, B_logits, eta, stored)
    parts = retrieval.parts(batch, num_scores)
    # The scores are always written to the same memory: to get new memory can take as long as to compute them.
    memory = zeta.new_empty(N * min(batch, parts[0].stop), stored.chi.shape[1])
    Z = torch.cat([retrieval.weigh(zeta[part], memory)[-1] for part in parts], dim=2)
    return Z / Z.sum(dim=1, keepdim=True)


@torch.inference_mode()
def loss_and_gradients(
    A_logits: torch.Tensor,
    B_logits: torch.Tensor,
    eta: float,
    stored: Stored,
    zeta: torch.Tensor,
    share: torch.Tensor,
    num_scores: int = NUM_SCORES,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Return the loss of ζ in nats per bit, and its gradients by both logits.

    ``share`` (batch,) is the weight of each sequence in the loss; they add up to 1. The other arguments are those
    of `predict`; the memory is not empty. The gradient by logits that do not require one is None.
    """
    retrieval = Retrieval(A_logits, B_logits, eta, stored)
    needed = A_logits.requires_grad, B_logits.requires_grad
    parts = retrieval.parts(zeta.shape[0], num_scores)
    loss, by_A, by_B = reduce(_sums, (retrieval.gradients(zeta[part], share[part], *needed) for part in parts))
    return loss, _softmax_gradient(by_A, retrieval.A), _softmax_gradient(by_B, retrieval.B)


def _sums(left: tuple, right: tuple) -> tuple:
    """Return the sums of what `Retrieval.gradients` returns for two parts of a batch."""
    return tuple(None if x is None else x + y for x, y in zip(left, right, strict=True))


def _softmax_gradient(gradient: torch.Tensor | None, weights: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient by the logits of ``weights``, given that by the weights."""
    return None if gradient is None else _softmax_backward(gradient, weights, -1, weights.dtype)
