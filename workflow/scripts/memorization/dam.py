"""The phenomenological model: a dense associative memory (DAM) whose memory is a queue.

The equations are those of the section *Phenomenological Model of Memorization* of the notes, the symbols
theirs: a sequence ζ has N bits ±1, the memory holds sequences χ_μ, their keys are φ_μ = B χ_μ.
"""

import math

import torch
from torch.nn import functional as F

LOGITS_STD = 0.1
PROBABILITY_FLOOR = 1e-6
# Bounds the memory of an evaluation: sequences evaluated at once.
_CHUNK = 64


def attention(A_logits: torch.Tensor) -> torch.Tensor:
    """Return A (N, H, N): A[n, h] weighs the bits before bit n, all its weights ≥ 0 with sum 1.

    The matrix A(n) of the notes, "H × n with Σ_i A_i(n) = 1", for every n at once: the softmax of
    ``A_logits[n, h, :n]``, and 0 from bit n on. No bit precedes bit 0: A[0] is 0.
    """
    N = A_logits.shape[0]
    not_before = torch.ones(N, N, dtype=torch.bool, device=A_logits.device).triu()[1:, None]
    weights = torch.softmax(A_logits[1:].masked_fill(not_before[:, :, :], -math.inf), dim=-1)
    return F.pad(weights, (0, 0, 0, 0, 1, 0))
