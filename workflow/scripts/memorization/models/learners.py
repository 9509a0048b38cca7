"""The interface between a model and its training, and the choice of the model.

Each value of the setting ``model`` is a module of this package. Its function ``build(settings,
sequence_sets)`` returns a `Learner`.
"""

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from ..sequences import Stream, random_generator
from .adam import Adam

# Sequences whose losses of single bits are in memory at once.
_SLICE = 16_384

StateDict = dict[str, Any]


class Learner(Protocol):
    """A model with all that changes in training: parameters, optimiser, memory."""

    has_memory: ClassVar[bool]
    """Whether the model has a memory of sequences beside its parameters."""

    swaps: dict[str, tuple[str, ...]]
    """For each kind of swapped weights, the entries of the state dict that are put back (see `is_part`)."""

    @property
    def num_parameters(self) -> int:
        """The number of parameters of the model, trained or not."""

    @property
    def optimizer(self) -> Adam:
        """The optimiser of the parameters that are trained from the start.

        It is built when it is first used: an evaluation needs none.
        """

    def learn(self, batch: torch.Tensor, identities: np.ndarray) -> torch.Tensor:
        """Make one iteration on ``batch`` and return the loss (nats per bit) before it.

        ``batch`` is (B, L) of 0/1. ``identities`` (B,) are the row numbers of its sequences in the sets of the
        run, counted through all sets.
        """

    def switch(self) -> None:
        """Apply a switch to the model itself; its state before was saved."""

    def freeze(self) -> None:
        """Stop every update of the part that the setting ``freeze`` names."""

    def evaluate(self, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss (nats) and the accuracy of each predicted bit, both (K, P).

        ``sequences`` are (K, L) of 0/1. The P predicted bits are the last ones.
        """

    def attention_maps(self, sequences: np.ndarray) -> np.ndarray:
        """Return the mean attention of each head over ``sequences`` (K, L).

        The axes are (layer, head, predicted position, key position, query bit, key bit). The last two have
        length 1 if the attention does not depend on the bits. The value is NaN if there is no attention to
        average. A model may use only the first of many sequences.
        """

    def diagnostics(self, loss: float, accuracy: float) -> dict[str, float]:
        """Return the numbers that the model adds to each entry of the log.

        ``loss`` (nats per bit) and ``accuracy`` are those of the tested sequences of the current set.
        """

    def state_dict(self) -> StateDict:
        """Return a copy of the state on the CPU, which later training does not change."""

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Replace the state by one that `state_dict` returned."""

    def refilled(self, state_dict: StateDict, last_drawn: Callable[[int], np.ndarray]) -> StateDict:
        """Return a state with the memory of another set, of a model that has a memory.

        ``last_drawn`` gives the last (number, L) sequences of 0/1, or fewer, that were drawn from that set.
        """

    def checkpoint(self) -> dict[str, Any]:
        """Return all that training changes.

        The result may share memory with the model: write it before the training continues.
        """

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Continue from what `checkpoint` returned.

        The learner that returned it had the same settings, and the same sets or the first of them.
        """

    def part_state_dicts(self, pre_switch: StateDict | None, final: StateDict) -> dict[str, Any]:
        """Return the entries of a run's results that hold single parts of the model.

        ``pre_switch`` is the state before the first switch, None if the run has no switch.
        """


def evaluate_in_slices(learner: Learner, sequences: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield what ``learner.evaluate`` returns for some thousand sequences at a time.

    The losses and accuracies of single bits can take more memory than the ``sequences`` (K, L) themselves.
    """
    for first in range(0, len(sequences), _SLICE):
        yield learner.evaluate(sequences[first : first + _SLICE])


def build_learner(settings: SimpleNamespace, sequence_sets: list[np.ndarray]) -> Learner:
    """Build the learner that ``settings.model`` names, in its initial state.

    The result depends on the settings and the sets alone.
    """
    return import_module(f".{settings.model}", __package__).build(settings, sequence_sets)


def set_up_torch(settings: SimpleNamespace) -> None:
    """Set the number of threads and choose deterministic algorithms.

    A job that is repeated on the same type of machine then gives the same bits. Raises RuntimeError if the
    machine lacks ``settings.device``.
    """
    if settings.device == "cuda":
        # cuBLAS is deterministic only with this setting, which it reads when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if not torch.cuda.is_available():
            raise RuntimeError("device: cuda is not to be found on this machine; set device to cpu")
    torch.set_num_threads(settings.num_threads)
    # The same as use_deterministic_algorithms(True), which takes a second to import a compiler.
    torch.set_deterministic_debug_mode("error")
    # No number is read before it is written. Filling new tensors would take up to a tenth of an iteration.
    torch.utils.deterministic.fill_uninitialized_memory = False
    # Linux's allocator gives memory back as soon as more is free than twice the largest block freed so far, and an
    # iteration then gets it again page by page, in a tenth of its time. Freeing a large block once prevents that.
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


def initial_generator(settings: SimpleNamespace) -> torch.Generator:
    """Return the generator of a run's initial weights.

    It is on the CPU also if the model is not, so that the weights are the same on every device.
    """
    seed = random_generator(settings.weights_seed, Stream.INITIALISATION).integers(2**63)
    return torch.Generator().manual_seed(int(seed))


def build_optimizer(trainable: list[torch.nn.Parameter], settings: SimpleNamespace) -> Adam:
    """Return the optimiser of the parameters that are trained from the start."""
    return Adam(trainable, settings.lr, settings.weight_decay, decoupled=settings.optimizer == "adamw")


def distinct_sequences(batch: torch.Tensor, identities: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distinct sequences of a batch, and how much of it each is.

    A sequence that is in the batch twice is computed once, and its loss counts twice. ``batch`` is (B, L), and
    equal ``identities`` (B,) are copies. The shares are float64 and sum to 1.
    """
    _, first, counts = np.unique(identities, return_index=True, return_counts=True)
    first, share = (torch.from_numpy(values).to(batch.device) for values in (first, counts / len(identities)))
    return batch.index_select(0, first), share


def bit_accuracies(preference: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    """Return 1 for each bit whose value is the more probable one, and 0 for others.

    It is 1/2 if both values have the same probability. ``preference`` is positive if 1 is more probable than
    0, and negative if it is less; ``bits`` are 0/1.
    """
    return (1 + preference.sign() * (2 * bits - 1)) / 2


def freeze(parameter: torch.nn.Parameter) -> None:
    """Stop every update of a parameter ("Freezing" of docs/models.md).

    The gradient is dropped as well: an optimiser skips a parameter without a gradient, and then neither the
    moments nor weight decay change it.
    """
    parameter.requires_grad_(False)
    parameter.grad = None


def swap_entries(state_dict: StateDict, earlier: StateDict, swapped: tuple[str, ...]) -> StateDict:
    """Return ``state_dict`` with the entries of ``swapped`` taken from ``earlier``.

    The equation θ^swap of docs/models.md, "Swapping". See `is_part` for which entries these are.
    """
    return {name: earlier[name] if is_part(name, swapped) else value for name, value in state_dict.items()}


def is_part(name: str, modules: tuple[str, ...]) -> bool:
    """Tell whether an entry of a state dict is one of ``modules`` or belongs to one.

    ``lm_head.weight`` belongs to ``lm_head``; ``memory_size`` does not belong to ``memory``.
    """
    return any(name == module or name.startswith(f"{module}.") for module in modules)
