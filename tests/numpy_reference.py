"""The pieces of the transformers in NumPy float64: one sequence, head and position at a time."""

import numpy as np


def attention(qkv, num_heads):
    """The output (T, C) and the weights (heads, T, T) of attention with queries, keys and values (T, 3C)."""
    T, C = len(qkv), qkv.shape[1] // 3
    d = C // num_heads
    q, k, v = qkv[:, :C], qkv[:, C : 2 * C], qkv[:, 2 * C :]
    attended, attention_weights = np.zeros((T, C)), np.zeros((num_heads, T, T))
    for h in range(num_heads):
        head = slice(h * d, (h + 1) * d)
        for t in range(T):
            scores = np.array([q[t, head] @ k[j, head] / np.sqrt(d) for j in range(t + 1)])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            attention_weights[h, t, : t + 1] = weights
            attended[t, head] = sum(weights[j] * v[j, head] for j in range(t + 1))
    return attended, attention_weights


def layer_norm(x, state, name):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def embedded(tokens, state):
    """The sum of both embeddings (T, C) of one sequence of tokens (T,)."""
    return np.array([state["wte.weight"][token] + state["wpe.weight"][t] for t, token in enumerate(tokens)])


def loss_and_accuracy(logits, targets):
    """The negative log-likelihood (nats) of each bit, and whether its more probable value is right."""
    loss, accuracy = [], []
    for sequence_logits, sequence_targets in zip(logits, targets, strict=True):
        nll = [
            np.log(np.exp(row).sum()) - row[bit]
            for row, bit in zip(sequence_logits, sequence_targets, strict=True)
        ]
        right = [row.argmax() == bit for row, bit in zip(sequence_logits, sequence_targets, strict=True)]
        loss.append(nll)
        accuracy.append(right)
    return np.array(loss), np.array(accuracy)
