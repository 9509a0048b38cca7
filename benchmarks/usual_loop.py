"""The training of the one-layer model as it is usually written.

A baseline of the benchmark. A `DataLoader` collects the batch from a dataset that draws one sequence at a time.
The step is autograd's.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class DrawnSequences(Dataset):
    """Sequences drawn from a set with the probabilities p of its ranks."""

    def __init__(self, sequences: np.ndarray, p: np.ndarray, number: int):
        """Draw from ``sequences`` (K, L) with ``p`` (K,)."""
        self.sequences, self.p, self.number = torch.from_numpy(sequences).long(), p, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.sequences[np.random.choice(len(self.p), p=self.p)]


def train(
    model: torch.nn.Module, sequences: np.ndarray, p: np.ndarray, lr: float, batch_size: int, num_iters: int
) -> Iterator[float]:
    """Train ``model`` on some batches, and yield the loss of each in nats per bit."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loader = DataLoader(DrawnSequences(sequences, p, batch_size * num_iters), batch_size=batch_size)
    for batch in loader:
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()
