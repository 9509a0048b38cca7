"""Real jobs of the workflow in processes that can be killed: each is a fork, which has torch already."""

import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
import torch._dynamo  # torch imports it at the first step: here once for all forks
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


class Run:
    """The jobs of one run in a folder: its sequences, its trunk, its training and its evaluation."""

    def __init__(self, folder: Path, model: str, checkpoint_seconds: float = 0.01):
        self.folder = folder
        self.checkpoint_seconds = checkpoint_seconds
        resolved = SETTINGS_OF_MODEL[model](**SMALL[model], model=model, seed=5).resolved()
        self.settings = settings_until(Stage.EVALUATION, resolved)
        self.starts = list(range(0, resolved["num_iters"], resolved["num_iters_per_set"]))
        folder.mkdir(exist_ok=True)

    def job(self, rule: str) -> SimpleNamespace:
        """Return what the script of ``rule`` sees as ``snakemake``."""
        settings, path = self.settings, lambda name: str(self.folder / name)
        sequences = {key: settings[key] for key in ("seed", "K", "len_context")}
        parts = {
            "generate_sequences": (
                {},
                {"sequences": "run_sequences.pkl"},
                {"sequences": {**sequences, "switch_start_iter": self.starts}},
            ),
            "train_trunk": ({}, {"trunk": "trunk.pkl"}, of_training(settings_until(Stage.SWITCH, settings))),
            "train": (
                {"sequences": "run_sequences.pkl", "trunk": "trunk.pkl"},
                {"results": "run.pkl"},
                of_training(settings),
            ),
            "evaluate_validation": (
                {"sequences": "run_sequences.pkl", "results": "run.pkl"},
                {
                    table: f"run_{table}.parquet"
                    for table in ("evaluation", "positions", "attention", "epochs", "diagnostics")
                },
                {"settings": {**settings, "num_held_out": 20}},
            ),
        }
        inputs, outputs, params = parts[rule]
        return SimpleNamespace(
            rule=rule,
            input=Named(**{key: path(name) for key, name in inputs.items()}),
            output=Named(**{key: path(name) for key, name in outputs.items()}),
            params=Named(**params, code="of the test"),
            log=[path(f"{rule}.log")],
            config={"checkpoint_seconds": self.checkpoint_seconds},
            wildcards=SimpleNamespace(run="run", trunk="trunk"),
        )

    def start(self, rule: str, before: Callable[[], None] = lambda: None) -> int:
        """Start the job in a process of its own, which calls ``before`` first; return the process's number."""
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

    def run_all(self) -> None:
        """Run every job of the run, uninterrupted."""
        for rule in ("generate_sequences", "train_trunk", "train", "evaluate_validation"):
            assert self.run(rule) == 0, self.said(rule)

    def said(self, rule: str) -> list[str]:
        """Return the lines that a job has printed."""
        path = self._printed(rule)
        return path.read_text().splitlines() if path.exists() else []

    def _printed(self, rule: str) -> Path:
        # Not in the folder, which a test may fill or protect.
        return self.folder.with_name(f"{self.folder.name}.{rule}.stderr")

    def files(self) -> dict[str, bytes]:
        """Return the results of the run: what is compared byte for byte."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("*.p*")) if is_result(path)}


def of_training(settings: dict) -> dict[str, dict]:
    """Return the parameters of a training with these settings."""
    return {"settings": settings, "identity": settings}


def is_result(path: Path) -> bool:
    """Tell a result from logs, sidecars and checkpoints."""
    return path.suffix in (".pkl", ".parquet") and ".checkpoint" not in path.name and path.name[0] != "."


def run_script(rule: str, job: SimpleNamespace) -> None:
    """Run the script of a rule as Snakemake does, with ``snakemake`` among its globals."""
    runpy.run_path(str(SCRIPTS / f"{rule}.py"), init_globals={"snakemake": job})


def wait(process: int) -> int:
    """Wait for a process and return its status: negative, the signal that killed it."""
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


def kill_after(process: int, seconds: float) -> int:
    """Kill a process after so long, where it has not ended by then, and return its status."""
    time.sleep(seconds)
    # A process that has ended is there until it is waited for.
    os.kill(process, signal.SIGKILL)
    return wait(process)


def die() -> None:
    """Kill this process, as nothing can be caught."""
    os.kill(os.getpid(), signal.SIGKILL)
