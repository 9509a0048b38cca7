"""Checkpoints: an interrupted training continues and ends with the same bytes."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..storage.cache import read_checked_pickle, write_checked_pickle
from ..storage.checkpoint_files import checkpoint_of
from ..storage.log import forget_earlier_attempts, keep_attempts
from ..storage.result_lock import end_if_taken_over
from ..storage.unpickling import DamagedPickleError
from .training import Training

# A time limit, Ctrl-C, a closed terminal, and what schedulers send before they kill.
SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
)

logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """A signal ended the training; the checkpoint holds the iterations done so far."""


class Checkpoint:
    """The checkpoint of a training, a file beside its result.

    It stays when the training has ended: until Snakemake has noted that, the result may be removed again. The call
    of Snakemake removes it when all its jobs have ended well.
    """

    def __init__(self, result: str | Path, code: str, identity: dict[str, Any], seconds: float):
        """Keep the checkpoint of the training that ends with ``result``.

        Args:
            result: the path of what the training makes; the checkpoint is ``<stem>.checkpoint.pkl`` beside it.
            code: the version of the code; a checkpoint of another version is not used.
            identity: the settings that identify the training; a checkpoint with others is not used.
            seconds: from one checkpoint to the next.
        """
        self.result = result
        self.path = checkpoint_of(result)
        self.code = code
        self.identity = identity
        self.seconds = seconds
        self._signal: int | None = None

    def resume(self, start: Callable[[], Training]) -> Training:
        """Return the training as it was at the checkpoint.

        If there is no checkpoint, it is the training that ``start`` makes. A checkpoint that is damaged, or was
        made with other code or settings, is renamed and not used. The log says why. It keeps what earlier attempts
        wrote with the same code and settings. Raises `FloatingPointError` if the training is known to diverge:
        another attempt would do so again.
        """
        keep_attempts()
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
            elif "diverged" in content:
                raise FloatingPointError(content["diverged"])
            else:
                training.restore(content["training"])
                logger.info("going on from the checkpoint after iteration %d", training.iteration)
                return training
            forget_earlier_attempts()
        aside = self.path.with_name(f"{self.path.name}.set_aside")
        os.replace(self.path, aside)
        logger.warning("the checkpoint is not used, %s; it is now %s", wrong, aside.name)
        return training

    def write(self, training: Training) -> None:
        """Write the checkpoint, in the place of the one before."""
        self._write(training=training.checkpoint())

    def run(self, training: Training, until: int, progress: Callable[[range], Iterable[int]] = iter) -> None:
        """Train until ``until`` iterations are done, and write checkpoints.

        There is one every ``seconds``, one at each switch and one at the end. After one of `SIGNALS` it finishes
        the iteration, writes a checkpoint and raises `Interrupted`. A signal that is ignored stays so: nohup asks
        for it. If the training diverges, the checkpoint says so to the next attempt.
        """
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._remember) for number in heeded}
        due = {*training.switch_start_iter, until}
        written = time.monotonic()
        try:
            for _ in training.iterations(until, progress):
                done = training.iteration
                if self._signal is None and done not in due and time.monotonic() - written < self.seconds:
                    continue
                self.write(training)
                written = time.monotonic()
                # After the last iteration the result itself is written next.
                if self._signal is not None and done < until:
                    name = signal.Signals(self._signal).name
                    raise Interrupted(
                        f"{name} after iteration {done} of {until}: a checkpoint is kept, "
                        "the same command goes on from it"
                    )
        except FloatingPointError as error:
            self._write(diverged=str(error))
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _write(self, **content: Any) -> None:
        # A job that took the lock over has a newer checkpoint.
        end_if_taken_over(self.result)
        write_checked_pickle({"code": self.code, "identity": self.identity, **content}, self.path)

    def _remember(self, number: int, frame: Any) -> None:
        self._signal = number
