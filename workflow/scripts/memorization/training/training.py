"""Training of one run, through all its switches."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..models.learners import Learner, build_learner, evaluate_in_slices, set_up_torch
from ..sequences import cumulative_probabilities, rank_probabilities, sample_batch_ranks

logger = logging.getLogger(__name__)


class Training:
    """The training of one run: its learner, its logs and how far it is."""

    def __init__(self, args: dict, sequence_sets: list[np.ndarray], switch_start_iter: list[int]):
        """Start a training.

        Args:
            args: the resolved settings of the run. A training that ends before the first switch needs only
                those that matter before it.
            sequence_sets: one integer array (K, L) of 0 and 1 for each set.
            switch_start_iter: for each set, the iteration from which it is trained on; the first is 0.
        """
        self.args = args
        self.settings = settings = SimpleNamespace(**args)
        set_up_torch(settings)
        self.sequence_sets = sequence_sets
        self.switch_start_iter = switch_start_iter
        self.learner = build_learner(settings, sequence_sets)
        self.cumulative = cumulative_probabilities(rank_probabilities(settings.K, settings.zipf_exponent))
        self.iteration = 0
        self.num_appearances = np.zeros(settings.K, dtype=np.int64)
        self.epoch_loss = torch.zeros((), dtype=torch.float64, device=settings.device)
        self.logs: list[dict] = []
        self.tests_after_switch: list[dict] = []
        self.pre_switch_state_dict: list[dict] = []
        self.saved_state_dict: list[dict] = []
        self._set_current(0)

    def _set_current(self, sequence_set: int) -> None:
        self.current_set = sequence_set
        self.sequences = torch.from_numpy(self.sequence_sets[sequence_set]).to(self.settings.device)
        # A trunk has no settings of what comes after the switch.
        after = "_after_switch" if sequence_set else ""
        self.lr = getattr(self.settings, f"lr{after}")
        self.batch_size = getattr(self.settings, f"batch_size{after}")
        first_tested = 0 if self.settings.test_earlier_sets else sequence_set
        self.tests = Tests(self.sequence_sets, first_tested, sequence_set, self.settings.test_stride)

    def run(self, until: int, progress: Callable[[range], Iterable[int]] = iter) -> None:
        """Train until ``until`` iterations are done, see `iterations`."""
        for _ in self.iterations(until, progress):
            pass

    def iterations(self, until: int, progress: Callable[[range], Iterable[int]] = iter) -> Iterator[int]:
        """Train until ``until`` iterations are done, and yield the number done after each.

        ``progress`` wraps the range of iterations to show how far the training is. Raises FloatingPointError
        if the loss of an epoch is infinite or not a number.
        """
        settings = self.settings
        for iteration in progress(range(self.iteration, until)):
            if iteration in self.switch_start_iter[1:]:
                self._switch()
            ranks = sample_batch_ranks(self.cumulative, self.batch_size, settings.sequences_seed, iteration)
            np.add.at(self.num_appearances, ranks, 1)
            batch = self.sequences[torch.from_numpy(ranks).to(settings.device)].long()  # (B, L)
            self.epoch_loss += self.learner.learn(batch, self.current_set * settings.K + ranks)
            self.iteration = iteration + 1
            if self.iteration % settings.num_iters_per_epoch == 0:
                self._log()
            elif self.current_set and self._since_switch() in settings.test_iters_after_switch:
                self._test_after_switch()
            if self._since_switch() in settings.saved_iters:
                self._save()
            yield self.iteration

    def _switch(self) -> None:
        """Save the weights and replace the current set by the next.

        Then the model, the optimiser and the memory are reset, and a part is frozen, as the settings say.
        """
        self.pre_switch_state_dict.append(self.learner.state_dict())
        self._set_current(self.current_set + 1)
        self.num_appearances = np.zeros_like(self.num_appearances)
        if self.settings.reset_model_at_switch:
            self.learner = build_learner(self.settings, self.sequence_sets)
        if self.settings.reset_optimizer_at_switch:
            self.learner.optimizer.state.clear()
        self.learner.switch()
        self._apply_what_holds_after_switches()

    def _apply_what_holds_after_switches(self) -> None:
        """Freeze a part and set the learning rate, as the settings say."""
        self.learner.freeze()
        self.learner.optimizer.lr = self.lr

    def _since_switch(self) -> int:
        """Return how many iterations the current set has been trained on."""
        return self.iteration - self.switch_start_iter[self.current_set]

    def _test_after_switch(self) -> None:
        """Keep the tests of an iteration of the setting ``test_iters_after_switch``."""
        self.tests_after_switch.append(
            {
                "iter": self.iteration,
                "sequence_set": self.current_set,
                "test_metrics": self.tests.metrics(self.learner),
            }
        )

    def _save(self) -> None:
        """Keep the weights of an iteration of the setting ``saved_iters``."""
        self.saved_state_dict.append(
            {
                "iter": self.iteration,
                "sequence_set": self.current_set,
                "num_appearances": self.num_appearances.copy(),
                "state_dict": self.learner.state_dict(),
            }
        )

    def _log(self) -> None:
        """Add the entry of an epoch to the logs."""
        settings = self.settings
        train_loss = self.epoch_loss.item() / settings.num_iters_per_epoch
        if not math.isfinite(train_loss):
            raise FloatingPointError(
                f"the training diverged: train loss {train_loss} by iteration {self.iteration}; "
                f"lr: {self.lr} is too high, or weight_decay: {settings.weight_decay}"
            )
        tests = self.tests.metrics(self.learner)
        of_current = slice(-self.tests.num_of_each_set, None)
        self.logs.append(
            {
                "epoch": self.iteration // settings.num_iters_per_epoch,
                "iter": self.iteration,
                "sequence_set": self.current_set,
                "train_loss": train_loss,
                "lr": self.lr,
                "num_appearances": self.num_appearances.copy(),
                "test_metrics": tests,
                **self.learner.diagnostics(
                    loss=float(tests["logsoftmaxloss"][of_current].mean()),
                    accuracy=float(tests["accuracy"][of_current].mean()),
                ),
            }
        )
        self.epoch_loss.zero_()
        logger.info(
            "iteration %d, set %d: train loss %.4f nats per bit", self.iteration, self.current_set, train_loss
        )

    def checkpoint(self) -> dict[str, Any]:
        """Return all that `restore` needs.

        The result shares memory with the training: write it before the training continues.
        """
        return {
            "args": self.args,
            "iteration": self.iteration,
            "current_set": self.current_set,
            "num_appearances": self.num_appearances,
            "epoch_loss": self.epoch_loss.item(),
            "logs": self.logs,
            "tests_after_switch": self.tests_after_switch,
            "pre_switch_state_dict": self.pre_switch_state_dict,
            "saved_state_dict": self.saved_state_dict,
            "learner": self.learner.checkpoint(),
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Continue from a checkpoint of this training or of its trunk."""
        self.iteration = checkpoint["iteration"]
        self.num_appearances = checkpoint["num_appearances"].copy()
        self.epoch_loss.fill_(checkpoint["epoch_loss"])
        self.logs = checkpoint["logs"]
        self.tests_after_switch = checkpoint["tests_after_switch"]
        self.pre_switch_state_dict = checkpoint["pre_switch_state_dict"]
        self.saved_state_dict = checkpoint["saved_state_dict"]
        self.learner.restore(checkpoint["learner"])
        self._set_current(checkpoint["current_set"])
        if self.current_set > 0:
            self._apply_what_holds_after_switches()

    def results(self) -> dict[str, Any]:
        """Return the content of ``<run>.pkl``.

        Its ``args`` are the settings and the number of parameters.
        """
        final_state_dict = self.learner.state_dict()
        return {
            "args": {**self.args, "num_parameters": self.learner.num_parameters},
            "logs": self.logs,
            "tests_after_switch": self.tests_after_switch,
            "pre_switch_state_dict": self.pre_switch_state_dict,
            "saved_state_dict": self.saved_state_dict,
            "model_state_dict": final_state_dict,
            **self.learner.part_state_dicts(next(iter(self.pre_switch_state_dict), None), final_state_dict),
        }


class Tests:
    """The tests of some sets: every ``stride``-th sequence, the same at each epoch."""

    def __init__(self, sequence_sets: list[np.ndarray], first: int, last: int, stride: int):
        """Prepare the tests of the sets ``first`` … ``last``."""
        tested = [sequences[::stride] for sequences in sequence_sets[first : last + 1]]
        ranks = np.arange(0, len(sequence_sets[0]), stride)
        self.num_of_each_set = len(ranks)
        self._sequences = np.concatenate(tested)
        self._sequence_set = np.repeat(np.arange(first, last + 1), len(ranks))
        self._sequence_rank = np.tile(ranks, len(tested))

    def metrics(self, learner: Learner) -> dict[str, np.ndarray]:
        """Return the entry ``test_metrics`` of the log, equal-length arrays.

        They are ``sequence_set``, ``sequence_rank``, ``logsoftmaxloss`` (nats per bit) and ``accuracy``.
        """
        slices = evaluate_in_slices(learner, self._sequences)
        means = [np.stack([metric.mean(axis=1) for metric in metrics]) for metrics in slices]
        loss, accuracy = np.concatenate(means, axis=1)
        return {
            "sequence_set": self._sequence_set,
            "sequence_rank": self._sequence_rank,
            "logsoftmaxloss": loss,
            "accuracy": accuracy,
        }
