"""The one-layer attention model: a single causal attention layer, read by a residual MLP."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import initial_generator
from .transformer import WEIGHT_STD, TransformerLearner, causal_attention_weights, initialise, split_heads


class OneLayerAttention(nn.Module):
    """One causal attention layer without output projection or residual, then a residual MLP.

    The names of the parameters are a contract with existing analysis code. Each of ``parts`` can be
    frozen after the first switch or swapped at evaluation.
    """

    parts: ClassVar[dict[str, tuple[str, ...]]] = {
        "attention": ("c_attn",),
        "mlp": ("linear_modules", "lm_head"),
        "embeddings": ("wte", "wpe"),
    }

    def __init__(
        self,
        *,
        len_context: int,
        num_heads: int,
        num_hidden_features: int,
        num_hidden_features_mlp: int,
        num_mlp_layers: int,
        attention_init: str,
        attention_init_std: float,
        attention_trainable: bool,
        vocab_size: int,
        generator: torch.Generator,
    ):
        """Build the model with weights N(0, 0.02) drawn from ``generator`` and biases 0.

        ``num_hidden_features`` counts the features of one head: C = num_heads · num_hidden_features.
        Queries and keys are N(0, ``attention_init_std``): with 0.02 the attention is all but uniform, until it
        is trained. ``attention_init: zero`` makes it uniform; without ``attention_trainable`` it stays as
        initialised.
        """
        super().__init__()
        C, C_mlp = num_heads * num_hidden_features, num_hidden_features_mlp
        self.num_heads = num_heads
        self.wte = nn.Embedding(vocab_size, C)
        self.wpe = nn.Embedding(len_context, C)
        self.c_attn = nn.Linear(C, 3 * C)
        self.ln_f = nn.LayerNorm(C, eps=1e-5)
        self.linear_modules = nn.ModuleList(
            nn.Linear(C if i == 0 else C_mlp, C_mlp) for i in range(num_mlp_layers)
        )
        self.lm_head = nn.Linear(C_mlp, vocab_size)
        initialise(self, generator)
        with torch.no_grad():
            self.c_attn.weight[: 2 * C] *= attention_init_std / WEIGHT_STD
        if attention_init == "zero":
            # Queries alone: with values of 0 as well nothing would pass, and the MLP would never begin to learn;
            # with keys of 0 the gradient of both would be 0, and the attention stay uniform for ever.
            nn.init.zeros_(self.c_attn.weight[:C])
        self.c_attn.requires_grad_(attention_trainable)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, T, 2) of the bit that follows each position, for tokens (B, T) of 0/1.

        T is at most len_context. Position i sees the bits 0 … i and predicts bit i + 1.
        """
        B, T = tokens.shape
        x = F.scaled_dot_product_attention(*self._queries_keys_values(tokens), is_causal=True)
        x = self.ln_f(x.transpose(1, 2).reshape(B, T, -1))
        for i, linear in enumerate(self.linear_modules):
            x = F.relu(linear(x)) if i == 0 else F.relu(linear(x)) + x
        return self.lm_head(x)

    def attention_weights(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Return the attention of each layer, (B, heads, T, T): rows are queries and sum to 1."""
        q, k, _ = self._queries_keys_values(tokens)
        return [causal_attention_weights(q, k)]

    def _queries_keys_values(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]  # (B, T, C)
        return split_heads(self.c_attn(x), self.num_heads)


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> TransformerLearner:
    """Build the model of a run with its initial weights, a pure function of the settings and the seed."""
    model = OneLayerAttention(
        len_context=settings.len_context,
        num_heads=settings.num_heads,
        num_hidden_features=settings.num_hidden_features,
        num_hidden_features_mlp=settings.num_hidden_features_mlp,
        num_mlp_layers=settings.num_mlp_layers,
        attention_init=settings.attention_init,
        attention_init_std=settings.attention_init_std,
        attention_trainable=settings.attention_trainable,
        vocab_size=settings.vocab_size,
        generator=initial_generator(settings),
    )
    return TransformerLearner(model, settings)
