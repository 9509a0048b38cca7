"""The learner of the transformers, and the pieces that they share.

The learner trains a model to predict the next bit, and freezes and swaps parts of it.
"""

import math
from functools import cached_property
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .adam import Adam
from .learners import StateDict, bit_accuracies, build_optimizer, freeze, is_part

# Sequences evaluated at once; this bounds the memory of an evaluation.
_CHUNK = 1024
# Sequences over which the attention maps are averaged. More would take longer and look the same.
_MAPPED = 1000
WEIGHT_STD = 0.02
LAYER_NORM_EPS = 1e-5


class TransformerLearner:
    """A transformer with its optimiser.

    The model is a module that maps tokens (B, T) to logits (B, T, 2) and has

    * ``attention_weights(tokens)``, a list with the attention weights (B, heads, T, T) of each layer;
    * ``parts``, the names of the modules of each part that can be frozen after the first switch: ``mlp``,
      ``attention``, ``embeddings``, or those of them that the model has.

    Every part but the embeddings is also swapped at evaluation and saved by itself in the results, in the
    order of ``parts``. The embeddings are not: they are the input of the other parts, not a place where
    sequences are stored.
    """

    has_memory: ClassVar[bool] = False

    def __init__(self, model: nn.Module, settings: SimpleNamespace):
        self.model = model.to(settings.device)
        self.settings = settings
        self._trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._swapped = {part: modules for part, modules in model.parts.items() if part != "embeddings"}
        self.swaps = {f"swap_{part}": modules for part, modules in self._swapped.items()}

    @property
    def num_parameters(self) -> int:
        """The number of all parameters, trained or not."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @cached_property
    def optimizer(self) -> Adam:
        """The optimiser of the parameters that are trained from the start."""
        return build_optimizer(self._trainable, self.settings)

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one optimiser step on ``batch`` and return the loss before it.

        ``batch`` is (B, L) of 0/1. The loss is that of docs/models.md, "Learning": the mean cross-entropy of
        the L − 1 predicted bits, in nats per bit.
        """
        loss = self._loss(batch, identities)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Return the loss of ``batch``, from which `learn` computes the gradients."""
        return F.cross_entropy(self.model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def switch(self) -> None:
        """Do nothing: a transformer has no memory beside its weights."""

    def freeze(self) -> None:
        """Stop every update of the part that the setting ``freeze`` names.

        Raises ValueError if the model has no such part.
        """
        parts = {"none": (), **self.model.parts}
        if self.settings.freeze not in parts:
            raise ValueError(f'freeze: "{self.settings.freeze}" is not one of {", ".join(parts)}')
        modules = parts[self.settings.freeze]
        for name, parameter in self.model.named_parameters():
            if is_part(name, modules):
                freeze(parameter)

    @torch.no_grad()
    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each predicted bit, (K, L − 1)."""
        loss, accuracy = torch.empty(2, len(sequences), sequences.shape[1] - 1)
        for first in range(0, len(sequences), _CHUNK):
            chunk = slice(first, first + _CHUNK)
            tokens = torch.from_numpy(sequences[chunk]).to(self.settings.device, torch.long)
            loss[chunk], accuracy[chunk] = self._test(tokens)
        return loss.numpy(), accuracy.numpy()

    def _test(self, sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss and the accuracy of each predicted bit, (B, L − 1).

        ``sequences`` (B, L) are few enough to be evaluated at once.
        """
        logits, targets = self.model(sequences[:, :-1]), sequences[:, 1:]
        return bit_losses(logits, targets), bit_accuracies(logits[..., 1] - logits[..., 0], targets)

    @torch.no_grad()
    def attention_maps(self, sequences: np.ndarray) -> np.ndarray:
        """Return the mean attention for each pair of bits, (layers, heads, L, L, 2, 2).

        The positions are the predicted position n and the key position i < n. The bits are those at
        position n − 1, from which the query comes, and at position i.
        """
        total, number = 0, 0
        mapped = torch.from_numpy(sequences[:_MAPPED, :-1]).to(self.settings.device, torch.long)
        # The maps of one sequence take memory in proportion to the number of layers.
        num_layers = len(self.model.attention_weights(mapped[:1]))
        for tokens in mapped.split(max(1, _CHUNK // (8 * num_layers))):
            pairs = torch.einsum("bip,bjq->bijpq", *2 * [F.one_hot(tokens, 2).float()])  # (B, T, T, 2, 2)
            weights = torch.stack(self.model.attention_weights(tokens), dim=1)  # (B, layers, heads, T, T)
            total = total + torch.einsum("blhij,bijpq->lhijpq", weights, pairs).double()
            number = number + pairs.sum(dim=0).double()
        maps = (total / number).cpu()  # 0 / 0 = NaN for a pair of bits that no sequence has
        T = maps.shape[2]
        allowed = torch.ones(T, T, dtype=torch.bool).tril()
        maps = maps.masked_fill(~allowed[:, :, None, None], math.nan)
        # Position i predicts bit i + 1. Bit 0 is not predicted, and nothing attends to the last bit.
        return F.pad(maps, (0, 0, 0, 0, 0, 1, 1, 0), value=math.nan).numpy()

    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return nothing: the log of a transformer has the tests alone."""
        return {}

    def state_dict(self) -> StateDict:
        """Return a copy of the parameters on the CPU."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self.model.state_dict().items()}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Replace the parameters by those of ``state_dict``."""
        self.model.load_state_dict(state_dict)

    def checkpoint(self) -> dict[str, Any]:
        """Return the parameters and the state of the optimiser."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Continue from what `checkpoint` returned."""
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return ``<part>_state_dict`` for each part that is swapped.

        It holds the modules of the part before the first switch, None if there is none, and at the end.
        """
        return {
            f"{part}_state_dict": {
                "pre_switch": pre_switch and modules_state_dict(pre_switch, modules),
                "post_switch": modules_state_dict(final, modules),
            }
            for part, modules in self._swapped.items()
        }


def bit_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of each predicted bit, its cross-entropy in nats, (B, T).

    ``logits`` are (B, T, 2), and ``targets`` (B, T) are the bits that come.
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of linear layers and embeddings from N(0, 0.02).

    The biases are set to 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=WEIGHT_STD, generator=generator)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def split_heads(x: torch.Tensor, num_heads: int) -> tuple[torch.Tensor, ...]:
    """Return queries, keys and values (B, heads, T, C / heads) of ``x`` (B, T, 3C)."""
    return tuple(part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in x.chunk(3, dim=-1))


def causal_attention_weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Return the causal attention weights, (B, heads, T, T).

    The equation a_ij of docs/models.md, section "One-layer attention": the softmax of q·k / √d over the keys up
    to each query. Rows are queries and sum to 1. ``q`` and ``k`` are (B, heads, T, d).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    after = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return torch.softmax(scores.masked_fill(after, -math.inf), dim=-1)


def modules_state_dict(state_dict: StateDict, modules: tuple[str, ...]) -> dict[str, StateDict]:
    """Return the state dict of each of ``modules``, by the name of the module."""
    return {
        module: {
            name.removeprefix(f"{module}."): value
            for name, value in state_dict.items()
            if name.startswith(f"{module}.")
        }
        for module in modules
    }
