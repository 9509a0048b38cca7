"""The learner of the transformers: next-bit prediction, trained by gradient, with parts to freeze and swap."""

import math
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import StateDict, build_optimizer, freeze, is_part

# Bounds the memory of an evaluation: sequences evaluated at once.
_CHUNK = 1024
# Sequences over which attention is averaged: more would change nothing that is seen.
_MAPPED = 1000
SWAPPED_PARTS = ("mlp", "attention")
WEIGHT_STD = 0.02


class TransformerLearner:
    """A transformer whose ``parts`` name the modules of its attention, its MLP and its embeddings."""

    def __init__(self, model: nn.Module, settings: SimpleNamespace):
        self.model = model.to(settings.device)
        self.settings = settings
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.swaps = {f"swap_{part}": model.parts[part] for part in SWAPPED_PARTS}

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, over what is trained from the start; an evaluation does without."""
        return build_optimizer(self._trainable, self.settings)

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one optimiser step on ``batch`` (B, L) and return its loss (nats a bit) before it."""
        loss = F.cross_entropy(self.model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def switch(self) -> None:
        """Do nothing: a transformer has no memory beside its weights."""

    def freeze(self) -> None:
        """Stop every update of the part that the settings name."""
        modules = self.model.parts.get(self.settings.freeze, ())
        for name, parameter in self.model.named_parameters():
            if is_part(name, modules):
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

    @torch.no_grad()
    def attention_maps(self, sequences: np.ndarray) -> np.ndarray:
        """Return the mean attention for each pair of bits, (layers, heads, L, L, 2, 2).

        Predicted position n and key position i < n; the bits are those at n − 1, which asks, and at i.
        """
        total, number = 0, 0
        # A deep model has many maps of each sequence.
        at_once = max(1, _CHUNK // (8 * self.settings.num_layers))
        for chunk in torch.from_numpy(sequences[:_MAPPED]).split(at_once):
            tokens = chunk[:, :-1].to(self.settings.device)
            pairs = torch.einsum("bip,bjq->bijpq", *2 * [F.one_hot(tokens, 2).float()])  # (B, T, T, 2, 2)
            weights = torch.stack(self.model.attention_weights(tokens), dim=1)  # (B, layers, heads, T, T)
            total = total + torch.einsum("blhij,bijpq->lhijpq", weights, pairs).double()
            number = number + pairs.sum(dim=0).double()
        maps = (total / number).cpu()  # a pair of bits that is nowhere gives 0 / 0, not a number
        T = maps.shape[2]
        allowed = torch.ones(T, T, dtype=torch.bool).tril()
        maps = maps.masked_fill(~allowed[:, :, None, None], math.nan)
        # Position i predicts bit i + 1: no map for bit 0, and no bit after the last to attend to.
        return F.pad(maps, (0, 0, 0, 0, 0, 1, 1, 0), value=math.nan).numpy()

    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return nothing: a transformer is described by its tests."""
        return {}

    def state_dict(self) -> StateDict:
        """Return a copy of the parameters on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take on the parameters of ``state_dict``."""
        self.model.load_state_dict(state_dict)

    def checkpoint(self) -> dict[str, Any]:
        """Return the parameters and the state of the optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what `checkpoint` returned."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return ``mlp_state_dict`` and ``attention_state_dict``: each module before the switch and at the end."""
        return {
            f"{part}_state_dict": {
                "pre_switch": pre_switch and modules_state_dict(pre_switch, self.model.parts[part]),
                "post_switch": modules_state_dict(final, self.model.parts[part]),
            }
            for part in SWAPPED_PARTS
        }


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of linear layers and embeddings from N(0, 0.02); biases are 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=WEIGHT_STD, generator=generator)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def split_heads(x: torch.Tensor, num_heads: int) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values, each (B, heads, T, features a head), of ``x`` (B, T, 3C)."""
    return tuple(part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in x.chunk(3, dim=-1))


def causal_attention_weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Return the softmax over the keys up to each query, (B, heads, T, T), of scaled dot products.

    ``q`` and ``k`` are (B, heads, T, features a head).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    after = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return torch.softmax(scores.masked_fill(after, -math.inf), dim=-1)


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
