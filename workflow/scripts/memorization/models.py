"""Which class stands behind each value of the setting `model`, and how it is built and taken apart."""

import os
from types import SimpleNamespace

import torch
from torch import nn

from .one_layer_attention import OneLayerAttention
from .sequences import Stream, random_generator

StateDict = dict[str, torch.Tensor]


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
    torch.use_deterministic_algorithms(True)


def build_model(settings: SimpleNamespace) -> nn.Module:
    """Build the model of a run with its initial weights: a pure function of the settings and the seed.

    The weights are drawn on the CPU, so that they do not depend on ``settings.device``.
    """
    seed = int(random_generator(settings.seed, Stream.INITIALISATION).integers(2**63))
    model = OneLayerAttention(
        len_context=settings.len_context,
        num_heads=settings.num_heads,
        num_hidden_features=settings.num_hidden_features,
        num_hidden_features_mlp=settings.num_hidden_features_mlp,
        num_mlp_layers=settings.num_mlp_layers,
        attention_init=settings.attention_init,
        attention_trainable=settings.attention_trainable,
        vocab_size=settings.vocab_size,
        generator=torch.Generator().manual_seed(seed),
    )
    return model.to(settings.device)


def freeze_part(model: nn.Module, part: str) -> None:
    """Stop every update of ``part`` (a key of ``model.parts``).

    The gradients are dropped as well: an optimiser steps over a parameter without one, so that neither
    its moments nor its weight decay move the part any more.
    """
    for module in model.parts[part]:
        for parameter in getattr(model, module).parameters():
            parameter.requires_grad_(False)
            parameter.grad = None


def copy_state_dict(model: nn.Module) -> StateDict:
    """Return the model's parameters as they are now, on the CPU and detached from later updates."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}


def swap_part(state_dict: StateDict, earlier: StateDict, modules: tuple[str, ...]) -> StateDict:
    """Return ``state_dict`` with the parameters of ``modules`` put back to what they were ``earlier``."""
    return {name: earlier[name] if name.split(".")[0] in modules else value for name, value in state_dict.items()}


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
