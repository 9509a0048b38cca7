"""The learner of the transformers: next-bit prediction, trained by gradient, with parts to freeze and swap."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import StateDict, build_optimizer, freeze

# Bounds the memory of an evaluation: sequences evaluated at once.
_CHUNK = 1024
_SAVED_PARTS = ("mlp", "attention")


class TransformerLearner:
    """A transformer whose ``parts`` name the modules of its attention, its MLP and its embeddings."""

    def __init__(self, model: nn.Module, settings: SimpleNamespace):
        self.model = model.to(settings.device)
        self.settings = settings
        self.optimizer = build_optimizer(list(model.parameters()), settings)
        self.swaps = {f"swap_{part}": model.parts[part] for part in _SAVED_PARTS}

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one optimiser step on ``batch`` (B, L) and return its loss (nats a bit) before it."""
        loss = F.cross_entropy(self.model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def switch(self, sequence_set: int) -> None:
        """Freeze the part that the settings name, at the first switch."""
        if sequence_set == 1 and self.settings.freeze != "none":
            for module in self.model.parts[self.settings.freeze]:
                for parameter in getattr(self.model, module).parameters():
                    freeze(parameter)

    @torch.no_grad()
    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each of the L − 1 predicted bits, (K, L − 1)."""
        losses, accuracies = [], []
        for chunk in torch.from_numpy(sequences).split(_CHUNK):
            chunk = chunk.to(self.settings.device)
            logits, targets = self.model(chunk[:, :-1]), chunk[:, 1:]
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            losses.append(loss.view(targets.shape))
            accuracies.append((logits.argmax(dim=-1) == targets).float())
        return torch.cat(losses).cpu().numpy(), torch.cat(accuracies).cpu().numpy()

    def diagnostics(self) -> dict[str, float]:
        """Return nothing: a transformer is described by its tests."""
        return {}

    def state_dict(self) -> StateDict:
        """Return a copy of the parameters on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take on the parameters of ``state_dict``."""
        self.model.load_state_dict(state_dict)

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return ``mlp_state_dict`` and ``attention_state_dict``: each module before the switch and at the end."""
        return {
            f"{part}_state_dict": {
                "pre_switch": pre_switch and modules_state_dict(pre_switch, self.model.parts[part]),
                "post_switch": modules_state_dict(final, self.model.parts[part]),
            }
            for part in _SAVED_PARTS
        }


def modules_state_dict(state_dict: StateDict, modules: tuple[str, ...]) -> dict[str, StateDict]:
    """Return the parameters of each of ``modules`` under the module's name, as its own state dict."""
    return {
        module: {
            name.removeprefix(f"{module}."): value
            for name, value in state_dict.items()
            if name.startswith(f"{module}.")
        }
        for module in modules
    }
