"""Real jobs of the workflow in processes that can be killed: each is a fork, which has torch already."""

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from conftest import Named

from memorization.configuration.settings import SETTINGS_OF_MODEL, Stage, settings_until

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
SMALL = {
    "one_layer_attention": {
        "K": 30, "len_context": 12, "num_heads": 2, "num_hidden_features": 4, "batch_size": 16, "lr": 1e-2,
        "num_iters_per_set": 40, "num_iters_per_epoch": 10, "num_switches": 2, "freeze": "attention",
    },
    "gpt": {
        "K": 20, "len_context": 10, "num_heads": 2, "num_hidden_features": 4, "num_layers": 2, "batch_size": 8,
        "num_iters_per_set": 20, "num_iters_per_epoch": 10, "freeze": "mlp",
    },
    "dam": {
        "K": 20, "N": 10, "H": 4, "M": 60, "batch_size": 8, "num_iters_per_set": 40, "num_iters_per_epoch": 10,
        "num_switches": 2, "reset_optimizer_at_switch": True,
    },
}  # fmt: skip


# The jobs of a run in their order, each with its outputs.
OUTPUTS = {
    "generate_sequences": {"sequences": "run_sequences.pkl"},
    "train_trunk": {"trunk": "trunk.pkl"},
    "train": {"results": "run.pkl"},
    "evaluate_validation": {
        table: f"run_{table}.parquet"
        for table in ("evaluation", "positions", "predictions", "attention", "epochs", "diagnostics")
    },
}
INPUTS = {
    "train": {"sequences": "run_sequences.pkl", "trunk": "trunk.pkl"},
    "evaluate_validation": {"sequences": "run_sequences.pkl", "results": "run.pkl"},
}


class Run:
    """The jobs of one run in a folder: its sequences, its trunk, its training and its evaluation."""

    def __init__(self, folder: Path, model: str, checkpoint_seconds: float = 0.01):
        self.folder = folder
        self.checkpoint_seconds = checkpoint_seconds
        resolved = SETTINGS_OF_MODEL[model](**SMALL[model], model=model, seed=5).resolved()
        self.settings = settings_until(Stage.EVALUATION, resolved)
        folder.mkdir(exist_ok=True)

    def job(self, rule: str) -> SimpleNamespace:
        """Return what the script of ``rule`` sees as ``snakemake``."""
        settings, path = self.settings, lambda name: str(self.folder / name)
        starts = list(range(0, settings["num_iters"], settings["num_iters_per_set"]))
        sequences = {key: settings[key] for key in ("seed", "K", "len_context")}
        before_switch = settings_until(Stage.SWITCH, settings)
        params = {
            "generate_sequences": {"sequences": {**sequences, "switch_start_iter": starts}},
            "train_trunk": {"settings": before_switch, "identity": before_switch},
            "train": {"settings": settings, "identity": settings},
            "evaluate_validation": {"settings": {**settings, "num_held_out": 20}},
        }
        return SimpleNamespace(
            rule=rule,
            input=Named(**{key: path(name) for key, name in INPUTS.get(rule, {}).items()}),
            output=Named(**{key: path(name) for key, name in OUTPUTS[rule].items()}),
            params=Named(**params[rule], code="of the test"),
            log=[path(f"{rule}.log")],
            config={"checkpoint_seconds": self.checkpoint_seconds},
            wildcards=SimpleNamespace(run="run", trunk="trunk"),
        )

    def start(self, rule: str, before: Callable[[], None] = lambda: None) -> int:
        """Start the job in a process of its own, which calls ``before`` first; return the process's number."""
        import torch

        process = os.fork()
        if process:
            return process
        status = 1
        try:
            torch.set_num_threads(1)
            sys.stderr = open(self._printed(rule), "a", buffering=1)  # noqa: SIM115 - until the process ends
            before()
            run_script(rule, self.job(rule))
            status = 0
        except BaseException:
            # What an interpreter of its own would do.
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def run(self, rule: str, before: Callable[[], None] = lambda: None) -> int:
        """Run the job to its end, and return its status: negative, the signal that killed it."""
        return wait(self.start(rule, before))

    def said(self, rule: str) -> list[str]:
        """Return the lines that a job has printed."""
        path = self._printed(rule)
        return path.read_text().splitlines() if path.exists() else []

    def _printed(self, rule: str) -> Path:
        # Not in the folder, which a test may fill or protect.
        return self.folder.with_name(f"{self.folder.name}.{rule}.stderr")

    def files(self) -> dict[str, bytes]:
        """Return the results that are there, which are compared byte for byte: no log, sidecar or checkpoint."""
        names = [name for outputs in OUTPUTS.values() for name in outputs.values()]
        return {name: (self.folder / name).read_bytes() for name in names if (self.folder / name).exists()}


def run_script(rule: str, job: SimpleNamespace) -> None:
    """Run the script of a rule as Snakemake does, with ``snakemake`` among its globals."""
    runpy.run_path(str(SCRIPTS / f"{rule}.py"), init_globals={"snakemake": job})


def wait(process: int) -> int:
    """Wait for a process and return its status: negative, the signal that killed it."""
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def kill_after(process: int, seconds: float) -> int:
    """Kill a process after so long, unless it has ended by then, and return its status."""
    time.sleep(seconds)
    # A process that has ended is there until it is waited for.
    os.kill(process, signal.SIGKILL)
    return wait(process)


def die() -> None:
    """Kill this process, as nothing can be caught."""
    os.kill(os.getpid(), signal.SIGKILL)
