"""GPT: pre-norm transformer blocks as in GPT-2, with a vocabulary of two.

The equations are in docs/models.md, section "GPT".
"""

import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .learners import distinct_sequences, initial_generator
from .transformer import TransformerLearner, bit_losses, causal_attention_weights, initialise, split_heads

# Bits evaluated at once on the CPU: with fewer the matrices are small, and more do not stay in the cache.
_NUM_BITS = 4096


class Attention(nn.Module):
    """Causal scaled dot-product attention with an output projection."""

    # Up to so many positions, the CPU is faster with all scores at once. Those of more positions leave the cache.
    few_positions = 32

    def __init__(self, C: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.c_attn = nn.Linear(C, 3 * C)
        self.c_proj = nn.Linear(C, C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, T, C) for x (B, T, C); position i sees the positions 0 … i."""
        qkv = self.c_attn(x)
        if x.is_cpu and x.shape[1] <= self.few_positions:
            return self.c_proj(attend_by_products(qkv, self.num_heads))
        x = F.scaled_dot_product_attention(*split_heads(qkv, self.num_heads), is_causal=True)
        return self.c_proj(x.transpose(1, 2).flatten(2))

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Return the attention weights (B, heads, T, T) for x (B, T, C).

        Rows are queries and sum to 1.
        """
        q, k, _ = split_heads(self.c_attn(x), self.num_heads)
        return causal_attention_weights(q, k)


def attend_by_products(qkv: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Return the causal attention (B, T, C) of queries, keys and values (B, T, 3C).

    It is that of `scaled_dot_product_attention`. The features are the rows of the matrices, because products with
    few rows are twice as fast as those with few columns.
    """
    B, T, _ = qkv.shape
    q, k, v = qkv.view(B, T, 3, num_heads, -1).permute(2, 0, 3, 4, 1).flatten(1, 2)  # (B heads, d, T) each
    after = qkv.new_full((T, T), -math.inf).triu(1)
    scores = torch.baddbmm(after, q.transpose(1, 2), k, alpha=1 / math.sqrt(q.shape[1]))
    y = torch.bmm(v, torch.softmax(scores, dim=-1).transpose(1, 2))  # (B heads, d, T)
    return y.view(B, -1, T).transpose(1, 2)


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


class GptLearner(TransformerLearner):
    """The learner of GPT.

    On the CPU it computes each distinct sequence of a batch once and weights its loss by the number of its copies,
    of which a batch drawn from a Zipf distribution has many. In exact arithmetic this is the loss of the batch.
    Other devices compute the copies too: they are fastest if the shapes are the same in all iterations.
    """

    def _loss(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        if not batch.is_cpu:
            return super()._loss(batch, identities)
        distinct, share = distinct_sequences(batch, identities)
        losses = bit_losses(self.model(distinct[:, :-1]), distinct[:, 1:])
        return share.to(losses) @ losses.mean(dim=1)

    def _test(self, sequences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if not sequences.is_cpu:
            return super()._test(sequences)
        parts = sequences.split(max(1, _NUM_BITS // sequences.shape[1]))
        losses, accuracies = zip(*map(super()._test, parts), strict=True)
        return torch.cat(losses), torch.cat(accuracies)


def build(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> GptLearner:
    """Build the learner of a run in its initial state; it does not depend on the sets."""
    return GptLearner(Gpt(settings, initial_generator(settings)), settings)
