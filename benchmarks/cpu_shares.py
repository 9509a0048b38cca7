"""How much of the CPU time of a run of the workflow is training and evaluation.

The rest is the start of a process for each job, Snakemake, and the tables and figures.
"""

import resource
import tempfile
from pathlib import Path

import verify
import yaml

from memorization.storage.log import logged_cpu_time


def cpu_seconds_of_ended_processes() -> float:
    """Return the CPU time of the processes that this one started and has waited for.

    Theirs count too.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_share(setting: str, experiments: dict, configuration: dict) -> dict:
    """Run ``experiments`` of a configuration in a scratch folder and return the row of its share."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "experiments.yaml"
        path.write_text(yaml.safe_dump(configuration | {"experiments": experiments}), encoding="utf-8")
        before = cpu_seconds_of_ended_processes()
        verify.run_workflow(folder, path)
        everything = cpu_seconds_of_ended_processes() - before
        computing = sum(map(logged_cpu_time, folder.glob("cache*/*/*/*.log")))
    return {
        "benchmark": "share of CPU time that is training and evaluation",
        "setting": setting,
        "baseline": "Snakemake and all its jobs",
        "ours_ms": 1000 * computing,
        "baseline_ms": 1000 * everything,
    }


def share_of_the_tests_configuration() -> dict:
    """Measure config/smoke.yaml, whose trainings take less than a second."""
    configuration = read("smoke.yaml")
    return cpu_share("config/smoke.yaml", configuration["experiments"], configuration)


def share_of_the_laptops_configuration() -> dict:
    """Measure an experiment of config/config.yaml that has all models, with one seed."""
    configuration = read("config.yaml")
    experiment = configuration["experiments"]["freeze"] | {"seeds": 1, "figures": ["by_weights"]}
    return cpu_share("laptop's sizes, experiment freeze, one seed", {"freeze": experiment}, configuration)


def read(name: str) -> dict:
    """Return a file of the folder ``config``."""
    return yaml.safe_load((verify.REPOSITORY / "config" / name).read_text(encoding="utf-8"))
