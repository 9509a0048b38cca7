"""Causal attention over sequences of bits, computed from tables, and its gradient.

**Tables.** The input of the attention at a position is the embedding of a bit plus that of the position, so it
takes two values. For T positions there are 2T queries (i, a) and 2T keys and values (j, b), with positions i, j
and bits a, b, whatever the sequences are. With H heads of d = C / H features, let s_h(ia, jb) = q · k / √d be the
score of head h, and

    E_h(jb, ia) = exp(s_h(ia, jb) − m_h(ia)) for j ≤ i,    0 for j > i,

with a shift m_h(ia) that cancels in the result. A sequence b_0, b_1, … picks its terms from this table. At its
position i, with a = b_i, the attention is

    y_h = Σ_j E_h(jb_j, ia) v_h(jb_j) / Σ_j E_h(jb_j, ia).

Write the bits of the sequence in one-hot form: f(jb) = 1 if b_j = b, and 0 if not. Then the numerators N of all
heads (C numbers) and their denominators Z (H numbers) are one product of these 2T numbers with a matrix W_ia,

    (N | Z) = f W_ia,    row jb of W_ia = (E_h(jb, ia) v_h(jb) for all h | E_h(jb, ia) for all h).

Sequences that have the same bit at position i share W_ia. So the attention is one matrix product for each (i, a).
Scores and exponentials are computed once for each query and key, and not again for each sequence.

**The shift.** A softmax usually subtracts the largest score. Here all sequences with the same query share one
shift, although they have different largest scores. Let r be the square root of the largest float, and

    m_h(ia) = log r + max over j ≤ i of (min over b of s_h(ia, jb)).

Every sequence has one of the two bits at the j of this maximum, and both have a score of at least m − log r there.
So its denominator is at least 1 / r and cannot vanish. No term of it is negative, so nothing cancels. On the other
side, at every position the lower score of the two bits is at most m − log r. If the two scores of a position are
never more than Δ apart, no entry of E exceeds exp(Δ) / r. Entries up to r are allowed, because products with E and
divisions by Z then stay in the range of floats (as long as gradients are below r). Then Δ may be 2 log r, the
logarithm of the largest float: 88 in single precision and 709 in double precision. Scores of trained models can be
more than 88 apart; the tables are then made in double precision. If even that is not enough,
`BitAttention.in_range` is False, and the attention has to be computed as usual, from the scores of each sequence.

**Gradient.** Let ∂x be the gradient of the loss with respect to x. The result does not depend on the shift, so the
shift needs no gradient. From ∂y follow

    ∂N_h = ∂y_h / Z_h,    ∂Z_h = −∂N_h · y_h,    ∂W_ia = Σ fᵀ (∂N | ∂Z) over the sequences with the query (i, a).

The columns of ∂W_ia belong to the heads as those of W_ia do: let (n_h | z_h) be those of head h in row jb. Then

    ∂E_h(jb, ia) = n_h · v_h(jb) + z_h,    ∂v_h(jb) = Σ_ia E_h(jb, ia) n_h,    ∂s = E ∂E,

and ∂s gives the gradients of queries and keys as usual. ∂W and all that follows have the size of the tables,
however many sequences there are.
"""

import math
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch

from .prefixes import PrefixBlock


class Attended(NamedTuple):
    """The attention of the rows of a block, and what its gradient needs."""

    y: torch.Tensor
    """The attention, (rows, C)."""
    one_hot: torch.Tensor
    """The bits f, (rows, 2T)."""
    sums: torch.Tensor
    """Numerators and denominators (N | Z), (rows, C + H)."""
    inverse_Z: torch.Tensor
    """1 / Z of the head of each feature, (rows, C)."""


class BitAttention:
    """Causal attention with given queries, keys and values of each position and bit.

    The tables are made for some positions at a time, which bounds their memory and lets them stay in the cache.
    """

    def __init__(self, qkv: torch.Tensor, num_heads: int, num_positions: int):
        """Make the tables E.

        Args:
            qkv: queries, keys and values, (2T, 3C). The rows are ordered by position and bit.
            num_heads: H, a divisor of C.
            num_positions: the positions of one block. The last may have fewer.
        """
        rows, C, H = len(qkv), qkv.shape[1] // 3, num_heads
        q, k, v = qkv.split(C, dim=1)
        self._scale = 1 / math.sqrt(C // H)
        self._q = (q * self._scale).view(rows, H, -1).transpose(0, 1)  # (H, 2T, d)
        self._k = k.reshape(rows, H, -1).transpose(0, 1)  # (H, 2T, d)
        edges = [*range(0, rows // 2, num_positions), rows // 2]
        above_shift = {first: self._above_shift(first, end) for first, end in pairwise(edges)}
        largest = torch.stack([scores.amax() for scores in above_shift.values()]).amax().item()
        # No precision is enough if a score is NaN.
        precisions = [dtype for dtype in (qkv.dtype, torch.float64) if largest <= 2 * _log_root(dtype)]
        self.in_range = bool(precisions)
        if self.in_range:
            self._make_tables(above_shift, v, precisions[0])

    def _above_shift(self, first: int, end: int) -> torch.Tensor:
        """Return the exponents of E before log r is subtracted, s − m + log r.

        The queries are those at the positions ``first`` … ``end`` − 1; the result is (keys, H, queries).
        """
        s = torch.bmm(self._k[:, : 2 * end], self._q[:, 2 * first : 2 * end].transpose(1, 2))  # (H, jb, ia)
        s[:, 2 * first :] += _after(end - first, s.dtype)
        of_bit = s.unflatten(1, (end, 2))
        lowest = torch.minimum(of_bit[:, :, 0], of_bit[:, :, 1]).amax(dim=1)  # (H, ia)
        above = s.new_empty(s.shape[1], s.shape[0], s.shape[2])
        torch.sub(s, lowest[:, None], out=above.transpose(0, 1))
        return above

    def _make_tables(self, above_shift: dict[int, torch.Tensor], v: torch.Tensor, dtype: torch.dtype) -> None:
        """Make the tables in the precision ``dtype``, and zeros to which `backward` adds."""
        H, rows = self._q.shape[:2]
        self._dtype = v.dtype
        self._q, self._k, v = self._q.to(dtype), self._k.to(dtype), v.to(dtype)
        self._of_head, self._minus_of_head, identity = _of_head(H, v.shape[1], dtype)
        # (2T, H, C + H): W = E · values. A head has its v in its columns of N, and 1 in its column of Z.
        self._values = torch.cat([v[:, None] * self._of_head, identity.expand(rows, H, H)], dim=2)
        self._E = {first: scores.to(dtype).sub_(_log_root(dtype)).exp_() for first, scores in above_shift.items()}
        self._grad_q, self._grad_k = torch.empty_like(self._q), torch.zeros_like(self._k)
        self._grad_values = torch.zeros_like(self._values)

    def attend(self, block: PrefixBlock) -> Attended:
        """Return the attention at the last position of each row of ``block``."""
        E, C = self._E[block.first], self._of_head.shape[1]
        one_hot = block.one_hot.to(E.dtype)
        W = torch.bmm(E.transpose(1, 2), self._values[: len(E)])  # (jb, ia, C + H)
        sums = W.new_empty(len(one_hot), W.shape[2])
        of_query = (one_hot.split(block.sizes), W.unbind(1), sums.split(block.sizes))
        for f, W_ia, N_and_Z in zip(*of_query, strict=True):
            torch.mm(f, W_ia, out=N_and_Z)
        inverse_Z = sums[:, C:].reciprocal() @ self._of_head
        return Attended((sums[:, :C] * inverse_Z).to(self._dtype), one_hot, sums, inverse_Z)

    def backward(self, block: PrefixBlock, attended: Attended, grad_y: torch.Tensor) -> None:
        """Add what the rows of ``block`` contribute to the gradient.

        ``grad_y`` (rows, C) is the gradient with respect to ``attended.y``. ``attended`` is overwritten.
        """
        E, C = self._E[block.first], self._of_head.shape[1]
        keys, queries = slice(2 * block.end), slice(2 * block.first, 2 * block.end)
        grad_sums = attended.sums
        grad_N = torch.mul(grad_y, attended.inverse_Z, out=grad_sums[:, :C])
        grad_sums[:, C:] = torch.mm(self._minus_of_head, attended.y.to(E.dtype).mul_(grad_N).T).T
        grad_W = E.new_empty(E.shape[0], E.shape[2], grad_sums.shape[1])  # (jb, ia, C + H)
        of_query = (attended.one_hot.T.split(block.sizes, dim=1), grad_W.unbind(1), grad_sums.split(block.sizes))
        for f, grad_W_ia, grad_N_and_Z in zip(*of_query, strict=True):
            torch.mm(f, grad_N_and_Z, out=grad_W_ia)
        self._grad_values[keys].baddbmm_(E, grad_W)
        grad_E = torch.bmm(self._values[keys], grad_W.transpose(1, 2))  # (jb, H, ia)
        grad_s = grad_E.mul_(E).transpose(0, 1)
        self._grad_k[:, keys].baddbmm_(grad_s, self._q[:, queries])
        torch.bmm(grad_s.transpose(1, 2), self._k[:, keys], out=self._grad_q[:, queries])

    def gradient(self) -> torch.Tensor:
        """Return the gradient of queries, keys and values, (2T, 3C).

        That of all blocks must have been added before.
        """
        C = self._of_head.shape[1]
        grad_v = (self._grad_values[..., :C] * self._of_head).sum(dim=1)
        grad_q, grad_k = (t.transpose(0, 1).flatten(1) for t in (self._grad_q * self._scale, self._grad_k))
        return torch.cat([grad_q, grad_k, grad_v], dim=1).to(self._dtype)


def _log_root(dtype: torch.dtype) -> float:
    """Return log r, for the square root r of the largest float."""
    return math.log(torch.finfo(dtype).max) / 2


@cache
def _of_head(H: int, C: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return which of C features belong to each of H heads, (H, C), as 0 and 1.

    With it come its negative, and the same for the H denominators: the identity.
    """
    identity = torch.eye(H, dtype=dtype)
    of_head = identity.repeat_interleave(C // H, dim=1)
    return of_head, -of_head, identity


@cache
def _after(n: int, dtype: torch.dtype) -> torch.Tensor:
    """Return −∞ for keys after the query and 0 for all others, (2n, 2n).

    Rows are keys and columns queries, each ordered by n positions and both bits.
    """
    after = torch.full((n, n), -math.inf, dtype=dtype).tril(-1)
    return after[:, None, :, None].expand(n, 2, n, 2).reshape(2 * n, 2 * n)
