"""The one-layer attention model: one causal attention layer, then a residual MLP.

The equations are in docs/models.md, section "One-layer attention".
"""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import bit_accuracies, initial_generator
from .one_layer_gradients import log_odds, loss_and_gradients
from .transformer import (
    LAYER_NORM_EPS,
    WEIGHT_STD,
    TransformerLearner,
    causal_attention_weights,
    initialise,
    split_heads,
)


class OneLayerAttention(nn.Module):
    """One causal attention layer, then a residual MLP.

    The attention has no output projection and no residual connection around it. The names of the parameters are
    a contract with existing analysis code.
    """

    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "mlp": ("linear_modules", "lm_head"),
        "attention": ("c_attn",),
        "embeddings": ("wte", "wpe"),
    }

    def __init__(self, settings: SimpleNamespace, generator: torch.Generator):
        """Draw the weights from N(0, 0.02) with ``generator``; the biases are 0.

        The weights of queries and keys are drawn from N(0, ``attention_init_std``). With 0.02 the attention is
        almost uniform until it is trained; with ``attention_init: zero`` it is exactly uniform. Those of MLP and
        head are drawn from N(0, ``mlp_init_std``). Without ``attention_trainable`` the attention keeps its initial
        weights, and without ``mlp_trainable`` the MLP and the head do.
        """
        super().__init__()
        C, C_mlp = settings.num_heads * settings.num_hidden_features, settings.num_hidden_features_mlp
        self.num_heads = settings.num_heads
        self.wte = nn.Embedding(settings.vocab_size, C)
        self.wpe = nn.Embedding(settings.len_context, C)
        self.c_attn = nn.Linear(C, 3 * C)
        self.ln_f = nn.LayerNorm(C, eps=LAYER_NORM_EPS)
        self.linear_modules = nn.ModuleList(
            nn.Linear(C if i == 0 else C_mlp, C_mlp) for i in range(settings.num_mlp_layers)
        )
        self.lm_head = nn.Linear(C_mlp, settings.vocab_size)
        initialise(self, generator)
        with torch.no_grad():
            self.c_attn.weight[: 2 * C] *= settings.attention_init_std / WEIGHT_STD
            for linear in (*self.linear_modules, self.lm_head):
                linear.weight *= settings.mlp_init_std / WEIGHT_STD
        if settings.attention_init == "zero":
            # Only the queries are 0. If the values were 0 too, the MLP would get no input and never begin to
            # learn. If the keys were 0 too, queries and keys would have no gradient, and the attention would
            # stay uniform for ever.
            nn.init.zeros_(self.c_attn.weight[:C])
        self.c_attn.requires_grad_(settings.attention_trainable)
        self.linear_modules.requires_grad_(settings.mlp_trainable)
        self.lm_head.requires_grad_(settings.mlp_trainable)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, T, 2) of the bit that follows each position.

        All equations of the section. The tokens (B, T) are 0/1 and T is at most len_context. Position i sees
        the bits 0 … i and predicts bit i + 1.
        """
        B, T = tokens.shape
        x = F.scaled_dot_product_attention(*self._queries_keys_values(tokens), is_causal=True)
        x = self.ln_f(x.transpose(1, 2).reshape(B, T, -1))
        for i, linear in enumerate(self.linear_modules):
            x = F.relu(linear(x)) if i == 0 else F.relu(linear(x)) + x
        return self.lm_head(x)

    def attention_weights(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Return the attention weights of the one layer, (B, heads, T, T)."""
        q, k, _ = self._queries_keys_values(tokens)
        return [causal_attention_weights(q, k)]

    def _queries_keys_values(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]  # (B, T, C)
        return split_heads(self.c_attn(x), self.num_heads)


class OneLayerLearner(TransformerLearner):
    """The learner of the one-layer model.

    On the CPU it learns and predicts without autograd: `one_layer_gradients` computes the same as
    `OneLayerAttention`, several times as fast. It may not if the scores of the two bits of a position are more
    than 709 apart, and does not if a score is no number. Then, and on other devices, the model itself is used. On
    one device the weights alone decide.
    """

    def __init__(self, model: OneLayerAttention, settings: SimpleNamespace):
        super().__init__(model, settings)
        self._weights = dict(self.model.named_parameters())

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one optimiser step on ``batch`` and return the loss before it.

        ``batch`` is (B, L) of 0/1, the loss in nats per bit.
        """
        result = batch.is_cpu and loss_and_gradients(self._weights, self.model.num_heads, batch)
        if not result:
            return super().learn(batch, identities)
        loss, gradients = result
        for name, weight in self._weights.items():
            # A frozen weight has no gradient; the optimiser skips it.
            weight.grad = gradients.get(name)
        self.optimizer.step()
        return loss

    def _test(self, sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = log_odds(self._weights, self.model.num_heads, sequences) if sequences.is_cpu else None
        if z is None:
            return super()._test(sequences)
        bits = sequences[:, 1:]
        return -F.logsigmoid(torch.where(bits == 1, z, -z)), bit_accuracies(z, bits)


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> OneLayerLearner:
    """Build the learner of a run in its initial state; it does not depend on the sets."""
    return OneLayerLearner(OneLayerAttention(settings, initial_generator(settings)), settings)
