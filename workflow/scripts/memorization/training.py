"""Training of one run, through all its switches."""

import logging
import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import torch

from .learners import Learner, build_learner, set_up_torch
from .sequences import cumulative_probabilities, rank_probabilities, sample_batch_ranks

# During training one sequence in so many is tested; the evaluation afterwards tests them all.
TEST_STRIDE = 10

logger = logging.getLogger(__name__)


def train(
    args: dict,
    sequence_sets: list[np.ndarray],
    switch_start_iter: list[int],
    progress: Callable[[range], Iterable[int]] = iter,
) -> dict:
    """Train one run and return the content of ``<run>.pkl``.

    Args:
        args: every resolved setting of the run.
        sequence_sets: one integer array (K, L) of 0 and 1 for each set.
        switch_start_iter: the iteration from which each set is trained on; the first is 0.
        progress: wraps the range of iterations, to show how far the training is.

    Raises FloatingPointError where the loss of an epoch is not a number.
    """
    settings = SimpleNamespace(**args)
    set_up_torch(settings)
    learner = build_learner(settings, sequence_sets)
    cumulative = cumulative_probabilities(rank_probabilities(settings.K, settings.zipf_exponent))
    current_set = 0
    sequences = torch.from_numpy(sequence_sets[0]).to(settings.device)
    num_appearances = np.zeros(settings.K, dtype=np.int64)
    epoch_loss = torch.zeros((), dtype=torch.float64, device=settings.device)
    logs, pre_switch_state_dict = [], []

    for iteration in progress(range(settings.num_iters)):
        if iteration in switch_start_iter[1:]:
            pre_switch_state_dict.append(learner.state_dict())
            current_set += 1
            sequences = torch.from_numpy(sequence_sets[current_set]).to(settings.device)
            num_appearances = np.zeros_like(num_appearances)
            learner.switch(current_set)

        ranks = sample_batch_ranks(cumulative, settings.batch_size, settings.seed, iteration)
        np.add.at(num_appearances, ranks, 1)
        batch = sequences[torch.from_numpy(ranks).to(settings.device)]  # (B, L)
        epoch_loss += learner.learn(batch, current_set * settings.K + ranks)

        iter_done = iteration + 1
        if iter_done % settings.num_iters_per_epoch == 0:
            train_loss = epoch_loss.item() / settings.num_iters_per_epoch
            if not math.isfinite(train_loss):
                raise FloatingPointError(
                    f"the training diverged: train loss {train_loss} by iteration {iter_done}; "
                    f"lr: {settings.lr} is too high, or weight_decay: {settings.weight_decay}"
                )
            first_tested = 0 if settings.test_earlier_sets else current_set
            logs.append(
                {
                    "epoch": iter_done // settings.num_iters_per_epoch,
                    "iter": iter_done,
                    "sequence_set": current_set,
                    "train_loss": train_loss,
                    "lr": settings.lr,
                    "num_appearances": num_appearances.copy(),
                    "test_metrics": test_sets(learner, sequence_sets, first_tested, current_set),
                    **learner.diagnostics(),
                }
            )
            epoch_loss.zero_()
            logger.info(
                "iteration %d of %d, set %d: train loss %.4f nats",
                iter_done,
                settings.num_iters,
                current_set,
                train_loss,
            )

    final_state_dict = learner.state_dict()
    return {
        "args": args,
        "logs": logs,
        "pre_switch_state_dict": pre_switch_state_dict,
        "model_state_dict": final_state_dict,
        **learner.part_state_dicts(next(iter(pre_switch_state_dict), None), final_state_dict),
    }


def test_sets(learner: Learner, sequence_sets: list[np.ndarray], first: int, last: int) -> dict[str, np.ndarray]:
    """Evaluate every `TEST_STRIDE`-th sequence of the sets ``first`` … ``last``.

    Returns equal-length arrays: ``sequence_set``, ``sequence_rank``, ``logsoftmaxloss`` (nats a bit)
    and ``accuracy``.
    """
    tested = [sequences[::TEST_STRIDE] for sequences in sequence_sets[first : last + 1]]
    loss, accuracy = learner.evaluate(np.concatenate(tested))
    ranks = np.arange(0, len(sequence_sets[0]), TEST_STRIDE)
    return {
        "sequence_set": np.repeat(np.arange(first, last + 1), len(ranks)),
        "sequence_rank": np.tile(ranks, len(tested)),
        "logsoftmaxloss": loss.mean(axis=1),
        "accuracy": accuracy.mean(axis=1),
    }
