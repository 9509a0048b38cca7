"""The dense associative memory as the notes write it, in loops.

A loop over n sums over every one of the M stored sequences. The baseline of the benchmark: the plainest way to
compute what `memorization.models.dam` does.
"""

import torch
from torch.nn import functional as F


class PlainDam:
    """The DAM of the notes, trained by the same optimiser as ours."""

    def __init__(self, A_logits: torch.Tensor, B_logits: torch.Tensor, M: int, eta: float, lr: float):
        """Start from logits (N, H, N) and (H, N) with an empty memory of M sequences."""
        self.A_logits = torch.nn.Parameter(A_logits.clone())
        self.B_logits = torch.nn.Parameter(B_logits.clone())
        self.memory = torch.zeros(M, A_logits.shape[0])
        self.memory_size = 0
        self.eta = eta
        self.optimizer = torch.optim.Adam([self.A_logits, self.B_logits], lr=lr, fused=True)

    def loss(self, zeta: torch.Tensor) -> torch.Tensor:
        """Return the mean loss (nats) of bits ``zeta`` (B, N) of ±1."""
        stored = self.memory[: self.memory_size]  # (M, N)
        phi = stored @ F.softmax(self.B_logits, dim=-1).T  # (M, H)
        losses = []
        for n in range(zeta.shape[1]):
            if n == 0:
                pi = stored.new_full((len(zeta), len(stored)), 1 / len(stored))
            else:
                A = F.softmax(self.A_logits[n, :, :n], dim=-1)  # (H, n)
                phi_hat = zeta[:, :n] @ A.T  # (B, H)
                pi = F.softmax(self.eta * phi_hat @ phi.T, dim=-1)  # (B, M)
            P = pi @ torch.stack([stored[:, n] < 0, stored[:, n] > 0], dim=1).float()  # (B, 2)
            P_true = P.gather(1, (zeta[:, n : n + 1] > 0).long())
            losses.append(-P_true.clamp(min=1e-12).log().mean())
        return torch.stack(losses).mean()

    def learn(self, zeta: torch.Tensor) -> torch.Tensor:
        """Update A and B on ``zeta``, append it to the queue and return the loss before.

        ``zeta`` is (B, N) of ±1.
        """
        loss = self.loss(zeta)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.append(zeta)
        return loss.detach()

    def append(self, zeta: torch.Tensor) -> None:
        """Append the sequences to the queue; what exceeds M leaves at the front."""
        M = len(self.memory)
        queue = torch.cat([self.memory[: self.memory_size], zeta])[-M:]
        self.memory_size = len(queue)
        self.memory[: self.memory_size] = queue
