"""Whether everything is installed that a call needs; one line tells it otherwise.

This module is imported first and needs nothing itself.
"""

import sys
from importlib.util import find_spec
from typing import NoReturn

# 9.17 is the first that brings pydantic.
MIN_SNAKEMAKE = (9, 17)
OF_THE_PLAN = ("yaml", "pydantic")
OF_JOBS = ("torch", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "tqdm")
OWN_ENVIRONMENT = "`make .venv/installed` once"


def lacking(packages: tuple[str, ...]) -> str:
    """Return which of ``packages`` this Python cannot import, as text; it is empty if there are all."""
    return ", ".join(package for package in packages if find_spec(package) is None)


def require_snakemake(version: str) -> None:
    """End the process if Snakemake is too old, or comes without the packages that a plan needs."""
    first, second = (int(part) for part in version.split(".")[:2])
    needed = ".".join(map(str, MIN_SNAKEMAKE))
    if (first, second) < MIN_SNAKEMAKE:
        _end(f"Snakemake {needed} or newer is needed, and this is {version}")
    if missing := lacking(OF_THE_PLAN):
        _end(f"Snakemake's own environment lacks {missing}, which Snakemake {needed} and newer bring")


def require_packages_of_jobs() -> None:
    """End the process if jobs that run with this Python would find no libraries."""
    if missing := lacking(OF_JOBS):
        _end(
            f"{sys.executable} lacks {missing}: add --use-conda (it needs conda), or call {OWN_ENVIRONMENT} and then "
            ".venv/bin/snakemake"
        )


def require_packages_of_script(script: str, environment: str, packages: tuple[str, ...]) -> None:
    """End the process if a script that is called by hand would find no libraries.

    The conda environment that has them is made from the file ``environment`` of envs/.
    """
    if missing := lacking(packages):
        _end(
            f"{sys.executable} lacks {missing}: call {OWN_ENVIRONMENT} and then .venv/bin/python {script}, or "
            f"`conda env create -f envs/{environment}.yaml` once and then "
            f"conda run -n transformer-memorization-{environment} python {script}"
        )


def _end(message: str) -> NoReturn:
    # Exits without the traceback and the banner of an exception.
    raise SystemExit(message)
