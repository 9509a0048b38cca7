"""Checkpoints: a training that is stopped, or killed, goes on from where it was and ends with the same bytes."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..storage.cache import read_checked_pickle, remove_what_was_left, write_checked_pickle
from ..storage.unpickling import DamagedPickleError
from .training import Training

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """A signal ended the training; what was done is in the checkpoint."""


class Checkpoint:
    """The one checkpoint of a training, a file beside its result that is there only while it is needed."""

    def __init__(self, result: str | Path, code: str, identity: dict[str, Any], seconds: float):
        """Keep the checkpoint of the training that ends with ``result``.

        Args:
            result: the path of what the training makes; the checkpoint is ``<stem>.checkpoint.pkl`` beside it.
            code: the version of the code, without which a checkpoint is of no use.
            identity: the settings that identify the training, without which it is of none either.
            seconds: from one checkpoint to the next.
        """
        result = Path(result)
        self.path = result.with_name(f"{result.stem}.checkpoint.pkl")
        self.code = code
        self.identity = identity
        self.seconds = seconds
        self._signal: int | None = None

    def resume(self, start: Callable[[], Training]) -> Training:
        """Return the training as it was at the checkpoint, or as ``start`` makes it where there is none.

        A checkpoint of other settings, of other code or that is damaged is set aside; the log says so.
        """
        training = start()
        if not self.path.exists():
            return training
        try:
            content = read_checked_pickle(self.path)
        except DamagedPickleError as error:
            wrong = f"it is damaged: {error}"
        else:
            if content["code"] != self.code:
                wrong = "the code has changed since"
            elif content["identity"] != self.identity:
                wrong = "its settings are others"
            else:
                training.restore(content["training"])
                logger.info("going on from the checkpoint after iteration %d", training.iteration)
                return training
        aside = self.path.with_name(f"{self.path.name}.set_aside")
        os.replace(self.path, aside)
        logger.warning("the checkpoint is not used, %s; it is now %s", wrong, aside.name)
        return training

    def write(self, training: Training) -> None:
        """Write the checkpoint, in the place of the one before."""
        content = {"code": self.code, "identity": self.identity, "training": training.checkpoint()}
        write_checked_pickle(content, self.path)

    def remove(self) -> None:
        """Remove the checkpoint, as the last thing that a job does."""
        self.path.unlink(missing_ok=True)
        remove_what_was_left(self.path)

    def run(self, training: Training, until: int, progress: Callable[[range], Iterable[int]] = iter) -> None:
        """Train until so many iterations are done, with a checkpoint every so often and at each switch.

        SIGTERM, SIGINT and SIGUSR1 end the training after the current iteration: raises `Interrupted`.
        """
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        written = time.monotonic()
        try:
            for _ in training.iterations(until, progress):
                at_switch = training.iteration in training.switch_start_iter
                if self._signal is None and not at_switch and time.monotonic() - written < self.seconds:
                    continue
                # At the end the result itself is about to be written.
                if training.iteration < until:
                    self.write(training)
                    written = time.monotonic()
                    if self._signal is not None:
                        name = signal.Signals(self._signal).name
                        raise Interrupted(
                            f"{name} after iteration {training.iteration} of {until}: a checkpoint is kept, "
                            "the same command goes on from it"
                        )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _remember(self, number: int, frame: Any) -> None:
        self._signal = number
