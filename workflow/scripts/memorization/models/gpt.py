"""GPT: pre-norm transformer blocks as in GPT-2, with a vocabulary of two.

The equations are in docs/models.md, section "GPT".
"""

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
        """Return the attention weights (B, heads, T, T) for x (B, T, C).

        Rows are queries and sum to 1.
        """
        q, k, _ = split_heads(self.c_attn(x), self.num_heads)
        return causal_attention_weights(q, k)


class Mlp(nn.Module):
    """Two linear layers with 4C features between them, and GELU in its tanh form."""

    def __init__(self, C: int):
        super().__init__()
        self.c_fc = nn.Linear(C, 4 * C)
        self.c_proj = nn.Linear(4 * C, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, C) for x (B, T, C)."""
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    """Attention, then the MLP.

    Each reads the normalised stream x and adds its output to x.
    """

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
    """Blocks on learned embeddings, a final LayerNorm and an untied head.

    The MLP part includes the head. The LayerNorms are in no part, as in the one-layer model.
    """

    def __init__(self, settings: SimpleNamespace, generator: torch.Generator):
        """Draw the weights from N(0, 0.02) with ``generator``; the biases are 0.

        As in GPT-2, the output projections of attention and MLP, 2 · num_layers of them, are then divided by
        √(2 · num_layers): the size of their sum does not depend on the depth.
        """
        super().__init__()
        C, num_layers = settings.num_heads * settings.num_hidden_features, settings.num_layers
        self.wte = nn.Embedding(settings.vocab_size, C)
        self.wpe = nn.Embedding(settings.len_context, C)
        self.h = nn.ModuleList(Block(C, settings.num_heads) for _ in range(num_layers))
        self.ln_f = nn.LayerNorm(C, eps=1e-5)
        self.lm_head = nn.Linear(C, settings.vocab_size, bias=False)
        self.parts = {
            "mlp": (*(f"h.{i}.mlp" for i in range(num_layers)), "lm_head"),
            "attention": tuple(f"h.{i}.attn" for i in range(num_layers)),
            "embeddings": ("wte", "wpe"),
        }
        initialise(self, generator)
        with torch.no_grad():
            for block in self.h:
                for projection in (block.attn.c_proj, block.mlp.c_proj):
                    projection.weight /= math.sqrt(2 * num_layers)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, T, 2) of the bit that follows each position.

        All equations of the section. The tokens (B, T) are 0/1 and T is at most len_context. Position i sees
        the bits 0 … i and predicts bit i + 1.
        """
        x = self._embedded(tokens)
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))

    def attention_weights(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """Return the attention weights of each layer, (B, heads, T, T)."""
        x, weights = self._embedded(tokens), []
        for block in self.h:
            weights.append(block.attn.weights(block.ln_1(x)))
            x = block(x)
        return weights

    def _embedded(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]  # (B, T, C)


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> TransformerLearner:
    """Build the learner of a run in its initial state; it does not depend on the sets."""
    return TransformerLearner(Gpt(settings, initial_generator(settings)), settings)
