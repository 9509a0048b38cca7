"""GPT: pre-norm transformer blocks as in GPT-2, with a vocabulary of two."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import initial_generator
from .transformer import TransformerLearner, causal_attention_weights, initialise, split_heads


class Attention(nn.Module):
    """Causal scaled dot-product attention with an output projection."""

    def __init__(self, C: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.c_attn = nn.Linear(C, 3 * C)
        self.c_proj = nn.Linear(C, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, C) for x (B, T, C); position i sees the positions 0 … i."""
        x = F.scaled_dot_product_attention(*split_heads(self.c_attn(x), self.num_heads), is_causal=True)
        return self.c_proj(x.transpose(1, 2).flatten(2))

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention (B, heads, T, T) for x (B, T, C): rows are queries and sum to 1."""
        q, k, _ = split_heads(self.c_attn(x), self.num_heads)
        return causal_attention_weights(q, k)


class Mlp(nn.Module):
    """Two linear layers, four times as wide between them, with GELU in the form of tanh."""

    def __init__(self, C: int):
        super().__init__()
        self.c_fc = nn.Linear(C, 4 * C)
        self.c_proj = nn.Linear(4 * C, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, C) for x (B, T, C)."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention, then the MLP, each of the normalised stream and added to it."""

    def __init__(self, C: int, num_heads: int):
        super().__init__()
        self.ln_1 = nn.LayerNorm(C, eps=1e-5)
        self.attn = Attention(C, num_heads)
        self.ln_2 = nn.LayerNorm(C, eps=1e-5)
        self.mlp = Mlp(C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, C) for x (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """Blocks over learned embeddings of bits and positions, a final LayerNorm and a head of its own.

    Each of ``parts`` can be frozen after the first switch or swapped at evaluation: all attention blocks,
    all MLP blocks with the head, the embeddings. The LayerNorms are in none of them, as in the one-layer
    model.
    """

    def __init__(
        self,
        *,
        len_context: int,
        num_layers: int,
        num_heads: int,
        num_hidden_features: int,
        vocab_size: int,
        generator: torch.Generator,
    ):
        """Build the model with weights N(0, 0.02) drawn from ``generator`` and biases 0.

        As in GPT-2, what the 2 · num_layers projections add to the stream starts smaller by the root of
        their number. ``num_hidden_features`` counts the features of one head: C = num_heads ·
        num_hidden_features.
        """
        super().__init__()
        C = num_heads * num_hidden_features
        self.wte = nn.Embedding(vocab_size, C)
        self.wpe = nn.Embedding(len_context, C)
        self.h = nn.ModuleList(Block(C, num_heads) for _ in range(num_layers))
        self.ln_f = nn.LayerNorm(C, eps=1e-5)
        self.lm_head = nn.Linear(C, vocab_size, bias=False)
        self.parts = {
            "attention": tuple(f"h.{i}.attn" for i in range(num_layers)),
            "mlp": (*(f"h.{i}.mlp" for i in range(num_layers)), "lm_head"),
            "embeddings": ("wte", "wpe"),
        }
        initialise(self, generator)
        with torch.no_grad():
            for block in self.h:
                for projection in (block.attn.c_proj, block.mlp.c_proj):
                    projection.weight /= math.sqrt(2 * num_layers)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, T, 2) of the bit that follows each position, for tokens (B, T) of 0/1.

        T is at most len_context. Position i sees the bits 0 … i and predicts bit i + 1.
        """
        x = self._embedded(tokens)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))

    def attention_weights(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Return the attention of each layer, (B, heads, T, T): rows are queries and sum to 1."""
        x, weights = self._embedded(tokens), []
        for block in self.h:
            weights.append(block.attn.weights(block.ln_1(x)))
            x = block(x)
        return weights

    def _embedded(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]  # (B, T, C)


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> TransformerLearner:
    """Build the model of a run with its initial weights, a pure function of the settings and the seed."""
    model = Gpt(
        len_context=settings.len_context,
        num_layers=settings.num_layers,
        num_heads=settings.num_heads,
        num_hidden_features=settings.num_hidden_features,
        vocab_size=settings.vocab_size,
        generator=initial_generator(settings),
    )
    return TransformerLearner(model, settings)
