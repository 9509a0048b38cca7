"""What training and evaluation ask of a model, and how the one that a run names is built.

Each value of the setting ``model`` is a module of this package with a function ``build(settings,
sequence_sets)`` that returns a `Learner`.
"""

import os
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import torch

from ..sequences import Stream, random_generator

StateDict = dict[str, Any]


class Learner(Protocol):
    """A model with all that changes in training: parameters, optimiser, memory."""

    swaps: dict[str, tuple[str, ...]]
    """The kinds of swapped weights: name, and the entries of the state dict that are put back."""

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one iteration on ``batch`` (B, L) of 0/1 and return its loss (nats a bit) before it.

        ``identities`` (B,) are the rows of the sequences in all sets of the run, one after the other.
        """

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser, over what is trained from the start; an evaluation does without."""

    def switch(self) -> None:
        """Do what a switch does to the model itself, after the state was saved."""

    def freeze(self) -> None:
        """Stop every update of the part that the settings name: from the first switch on."""

    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each predicted bit of ``sequences`` (K, L)."""

    def attention_maps(self, sequences: np.ndarray) -> np.ndarray:
        """Return how much each head attends to each position, on average over ``sequences`` (K, L).

        Over a part of them where they are more than are needed. The axes are (layer, head, predicted
        position, key position, query bit, key bit); the last two have length 1 where the attention does
        not depend on the bits. NaN where there is none.
        """

    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return what is logged of the model itself each epoch.

        ``loss`` (nats) and ``accuracy`` are those of the tested sequences of the current set.
        """

    def state_dict(self) -> StateDict:
        """Return a copy of the state on the CPU, which later training does not change."""

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take on a state that `state_dict` returned."""

    def checkpoint(self) -> dict[str, Any]:
        """Return all that training changes, on the CPU; a view, to be written before training goes on."""

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from what `checkpoint` returned, in a learner of the same settings, with more sets or not."""

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return what the results of a run hold of single parts, beside the whole states."""


def build_learner(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> Learner:
    """Build the learner of a run in its initial state: a pure function of the settings and the sets."""
    return import_module(f".{settings.model}", __package__).build(settings, sequence_sets)


def set_up_torch(settings: SimpleNamespace) -> None:
    """Make what a job computes a function of its settings alone: its threads, its algorithms.

    Raises RuntimeError where the machine lacks ``settings.device``.
    """
    if settings.device == "cuda":
        # cuBLAS reads it when it starts, and is not deterministic without.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if not torch.cuda.is_available():
            raise RuntimeError("device: cuda is not to be found on this machine; set device to cpu")
    torch.set_num_threads(settings.num_threads)
    # The same as use_deterministic_algorithms(True), which takes a second to import a compiler.
    torch.set_deterministic_debug_mode("error")


def initial_generator(settings: SimpleNamespace) -> torch.Generator:
    """Return the stream of a run's initial weights, on the CPU whatever the device of the model."""
    seed = random_generator(settings.seed, Stream.INITIALISATION).integers(2**63)
    return torch.Generator().manual_seed(int(seed))


OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def build_optimizer(trainable: list[torch.nn.Parameter], settings: SimpleNamespace) -> torch.optim.Optimizer:
    """Return the optimiser of a run over the parameters that are trained from the start."""
    return OPTIMIZERS[settings.optimizer](
        trainable, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )


def freeze(parameter: torch.nn.Parameter) -> None:
    """Stop every update of a parameter.

    Its gradient is dropped as well: an optimiser steps over a parameter without one, so that neither its
    moments nor its weight decay move it any more.
    """
    parameter.requires_grad_(False)
    parameter.grad = None


def swap_entries(state_dict: StateDict, earlier: StateDict, swapped: tuple[str, ...]) -> StateDict:
    """Return ``state_dict`` with the entries of ``swapped`` put back to what they were ``earlier``.

    ``lm_head`` is the entry of that name, or ``lm_head.weight`` and ``lm_head.bias``.
    """
    return {name: earlier[name] if is_part(name, swapped) else value for name, value in state_dict.items()}


def is_part(name: str, modules: tuple[str, ...]) -> bool:
    """Tell whether ``name`` is one of ``modules`` or the name of something in one of them."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)
