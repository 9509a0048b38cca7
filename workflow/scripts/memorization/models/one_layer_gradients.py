"""Predictions, loss and gradients of the one-layer model, without autograd.

The equations are in docs/models.md, section "One-layer attention". `OneLayerAttention` computes the same with the
usual operations and is the reference. Here, `prefixes` finds the distinct prefixes of the sequences, each of which
is one row of the computation, and `bit_attention` computes the attention. The embeddings before it, and LayerNorm,
MLP and head after it, are in this module.

Some thousand rows at a time pass through the model and back, so that they stay in the processor's cache. Weights
and gradients have the names of the state dict.
"""

import torch
from torch.nn import functional as F

from .bit_attention import BitAttention
from .prefixes import Prefixes, tested_prefixes
from .transformer import LAYER_NORM_EPS

# The rows of a block, about. With fewer the matrices are small, and more do not stay in the cache.
NUM_ROWS = 3072
# The positions of a block at most, which bounds the memory of its tables.
_NUM_POSITIONS = 32
_relu_backward = torch.ops.aten.threshold_backward.grad_input
_layer_norm_backward = torch.ops.aten.native_layer_norm_backward

Weights = dict[str, torch.Tensor]


@torch.no_grad()
def loss_and_gradients(
    weights: Weights, num_heads: int, batch: torch.Tensor, num_rows: int = NUM_ROWS
) -> tuple[torch.Tensor, Weights] | None:
    """Return the loss of ``batch`` and its gradients.

    Args:
        weights: those of the model, by name; those that require a gradient get one.
        num_heads: the heads of the attention.
        batch: (B, L) of 0/1. The loss is the mean cross-entropy of its L − 1 predicted bits, in nats per bit.
        num_rows: about how many rows to compute at a time; it changes the last bits of the result.

    None is returned if the scores are not in the range of `BitAttention`.
    """
    gradients = {name: torch.zeros_like(weight) for name, weight in weights.items() if weight.requires_grad}
    prefixes = Prefixes(batch, weights["wte.weight"].dtype)
    x, attention, num_positions = _build_attention(weights, num_heads, prefixes, num_rows)
    if not attention.in_range:
        return None
    readout = Readout(weights, gradients)
    reaches_attention = any(name.startswith(("c_attn.", "wte.", "wpe.")) for name in gradients)
    num_predictions = batch.shape[0] * (batch.shape[1] - 1)
    loss = x.new_zeros(())
    for block in prefixes.blocks(num_positions):
        attended = attention.attend(block)
        z = readout.log_odds(attended.y)
        zeros, ones = block.counts
        loss -= F.logsigmoid(z) @ ones + F.logsigmoid(-z) @ zeros
        grad_z = torch.sigmoid(z).mul_(zeros + ones).sub_(ones).div_(num_predictions)
        grad_y = readout.backward(grad_z, reaches_attention)
        if reaches_attention:
            attention.backward(block, attended, grad_y)
    if reaches_attention:
        _add_input_gradients(weights, gradients, x, attention.gradient())
    return loss / num_predictions, gradients


@torch.no_grad()
def log_odds(weights: Weights, num_heads: int, sequences: torch.Tensor) -> torch.Tensor | None:
    """Return log P(1) − log P(0) of each predicted bit, (B, L − 1).

    ``sequences`` are (B, L) of 0/1. None is returned if the scores are not in the range of `BitAttention`.
    """
    prefixes = tested_prefixes(sequences, weights["wte.weight"].dtype)
    _, attention, num_positions = _build_attention(weights, num_heads, prefixes, NUM_ROWS)
    if not attention.in_range:
        return None
    readout = Readout(weights, {})
    z = [readout.log_odds(attention.attend(block).y) for block in prefixes.blocks(num_positions)]
    return prefixes.of_each_sequence(torch.cat(z))


def _build_attention(
    weights: Weights, num_heads: int, prefixes: Prefixes, num_rows: int
) -> tuple[torch.Tensor, BitAttention, int]:
    """Return the attention with its tables.

    Before it come its inputs x (2T, C), one for each position and bit. After it comes the number of positions of
    a block.
    """
    num_positions = max(1, min(_NUM_POSITIONS, num_rows // prefixes.num_sequences))
    x = (weights["wpe.weight"][: prefixes.num_positions, None] + weights["wte.weight"]).flatten(0, 1)
    qkv = torch.addmm(weights["c_attn.bias"], x, weights["c_attn.weight"].T)
    return x, BitAttention(qkv, num_heads, num_positions), num_positions


def _add_input_gradients(weights: Weights, gradients: Weights, x: torch.Tensor, grad_qkv: torch.Tensor) -> None:
    """Add the gradients of ``c_attn`` and of the embeddings.

    ``grad_qkv`` is the gradient of queries, keys and values, (2T, 3C); ``x`` are their inputs, (2T, C).
    """
    if "c_attn.weight" in gradients:
        gradients["c_attn.weight"].addmm_(grad_qkv.T, x)
        gradients["c_attn.bias"] += grad_qkv.sum(dim=0)
    if "wte.weight" in gradients:
        grad_x = (grad_qkv @ weights["c_attn.weight"]).unflatten(0, (-1, 2))  # (T, 2, C)
        gradients["wte.weight"] += grad_x.sum(dim=0)
        gradients["wpe.weight"][: len(grad_x)] += grad_x.sum(dim=1)


class Readout:
    """LayerNorm, MLP and head: what predicts the next bit from the attention."""

    def __init__(self, weights: Weights, gradients: Weights):
        """Take the weights of the model, and the gradients to which `backward` adds.

        A weight that is not among the gradients is not trained.
        """
        self._weights, self._gradients = weights, gradients
        linear = (name.rpartition(".") for name in weights if name.startswith("linear_modules."))
        self._linear = [module for module, _, kind in linear if kind == "weight"]
        # Only the difference of the two logits matters.
        (self._head_weight,) = weights["lm_head.weight"].diff(dim=0)
        self._head_bias = weights["lm_head.bias"].diff()

    def log_odds(self, y: torch.Tensor) -> torch.Tensor:
        """Return log P(1) − log P(0) of the next bit, (rows,).

        ``y`` (rows, C) is the attention.
        """
        weight, bias = self._weights["ln_f.weight"], self._weights["ln_f.bias"]
        u, mean, inverse_std = torch.native_layer_norm(y, y.shape[1:], weight, bias, LAYER_NORM_EPS)
        self._normalised = (y, y.shape[1:], mean, inverse_std, weight, bias)
        self._activated = []
        for i, module in enumerate(self._linear):
            weight, bias = self._weights[f"{module}.weight"], self._weights[f"{module}.bias"]
            relu = torch.addmm(bias, u, weight.T).relu_()
            self._activated.append((module, u, relu))
            u = relu if i == 0 else relu + u
        self._last = u
        return torch.mv(u, self._head_weight).add_(self._head_bias)

    def backward(self, grad_z: torch.Tensor, reaches_attention: bool) -> torch.Tensor | None:
        """Add the gradients that the rows of the last call of `log_odds` give.

        ``grad_z`` (rows,) is the gradient with respect to the log odds. Returns that with respect to ``y``,
        (rows, C), or None unless it ``reaches_attention``.
        """
        if "lm_head.weight" in self._gradients:
            for name, grad in (("weight", grad_z @ self._last), ("bias", grad_z.sum())):
                self._gradients[f"lm_head.{name}"] += torch.stack([-grad, grad])
        grad = torch.outer(grad_z, self._head_weight)
        while self._activated:
            module, u, relu = self._activated.pop()
            # The gradient is written over the activation, which is not needed any more.
            grad_linear = _relu_backward(grad, relu, 0, grad_input=relu)
            self._add(module, grad_linear, u)
            weight = self._weights[f"{module}.weight"]
            grad = grad.addmm_(grad_linear, weight) if self._activated else grad_linear @ weight
        trained = "ln_f.weight" in self._gradients
        needed = [reaches_attention, trained, trained]
        grad_y, grad_weight, grad_bias = _layer_norm_backward(grad, *self._normalised, needed)
        if trained:
            self._gradients["ln_f.weight"] += grad_weight
            self._gradients["ln_f.bias"] += grad_bias
        return grad_y

    def _add(self, module: str, grad: torch.Tensor, inputs: torch.Tensor) -> None:
        """Add the gradients of a linear layer if it is trained.

        ``grad`` is the gradient of its outputs.
        """
        if f"{module}.weight" in self._gradients:
            self._gradients[f"{module}.weight"].addmm_(grad.T, inputs)
            self._gradients[f"{module}.bias"] += grad.sum(dim=0)
