"""Where a result comes from, in a sidecar beside each file.

The sidecar is ``<file>.provenance.json``.
"""

import ctypes
import hashlib
import json
import logging
import os
import platform
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..environment import INSTRUCTION_SETS
from .cache import atomic_write, how_to_make_again
from .commit import code_of_job

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "snakemake")
SUFFIX = ".provenance.json"
# What every sidecar says, in every version.
PARTS = {"sha256": str, "rule": str, "params": dict, "inputs": dict, "code": dict, "processor": str}
# Variables that change numbers and that the workflow leaves as they are. By the last one a program is given other
# functions than those of its libraries.
RECORDED_VARIABLES = (*INSTRUCTION_SETS, "LD_PRELOAD")
# The code may change while a job runs: it has imported its modules at its start.
CODE = code_of_job()


class DamagedProvenanceError(ValueError):
    """A sidecar is not what the workflow writes. The message is one line."""


def write_provenance(job: Any) -> None:
    """Write a sidecar beside each output of a job.

    It has the job's rule, settings, inputs, code, libraries and machine. ``job`` is the object ``snakemake`` of a
    script. Paths are those of the workflow, relative to its folder if they lie in it. There is no time and no host
    name.
    """
    outputs = {str(path) for path in job.output}
    record = {
        "rule": job.rule,
        "params": dict(job.params.items()),
        "inputs": {path: sha256(path) for path in sorted({str(path) for path in job.input})},
        "code": CODE,
        "libraries": library_versions(),
        "python": platform.python_version(),
        "threads_of_torch": threads_of_torch(),
        "instructions_of_torch": instructions_of_torch(),
        **machine(),
    }
    for path in sorted(outputs):
        text = json.dumps({"sha256": sha256(path), **record}, indent=1, ensure_ascii=False, sort_keys=True)
        with atomic_write(f"{path}{SUFFIX}") as file:
            file.write(text.encode() + b"\n")


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return the sidecar of a file.

    Raises `FileNotFoundError` if there is none, and `DamagedProvenanceError` if it says too little.
    """
    try:
        record = json.loads(Path(f"{path}{SUFFIX}").read_text(encoding="utf-8"))
        for part, kind in PARTS.items():
            if not isinstance(record[part], kind):
                raise TypeError(part)
        # Records of older code have no such part.
        if not isinstance(record.get("environment", {}), dict):
            raise TypeError("environment")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedProvenanceError(f"its provenance is damaged; {how_to_make_again(path)}") from error
    return record


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def library_versions() -> dict[str, str | None]:
    """Return the version of each of `LIBRARIES`.

    It is None if the environment of the rule lacks the library.
    """
    versions: dict[str, str | None] = dict.fromkeys(LIBRARIES)
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    return versions


def machine() -> dict[str, Any]:
    """Return what a result depends on beside the code and the libraries.

    It is the ``processor``, the instructions that NumPy uses of it beyond those of every processor, and the
    variables of the ``environment`` by which libraries take other ones.
    """
    import numpy as np

    return {
        "processor": processor(),
        "instructions_of_numpy": np.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
        "environment": {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ},
    }


def instructions_of_torch() -> str | None:
    """Return the instruction set that torch has chosen, such as AVX2.

    It is None if the job does without torch.
    """
    torch = sys.modules.get("torch")
    return torch.backends.cpu.get_cpu_capability() if torch else None


def threads_of_torch() -> int | None:
    """Return the threads that torch computes with; None if the job does without torch.

    They are those that the job has asked for, or fewer if OpenMP has a lower limit.
    """
    torch = sys.modules.get("torch")
    if not torch:
        return None
    limits = []
    with suppress(OSError, AttributeError):
        loaded = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        for library in set(re.findall(r" (/.*/lib(?:gomp|omp|iomp5)\b.*)$", loaded, re.MULTILINE)):
            limits.append(ctypes.CDLL(library).omp_get_thread_limit())
    return min([torch.get_num_threads(), *limits])


def machines_of(paths: Iterable[str]) -> list[str]:
    """Return the machines that files were computed on, each by `name_of_machine`.

    Those of all that the files were made from are among them. Files without a sidecar say nothing.
    """
    names, seen, ahead = set(), set(), list(paths)
    while ahead:
        path = ahead.pop()
        if path not in seen:
            try:
                record = read_provenance(path)
                names.add(name_of_machine(record))
                ahead += record["inputs"]
            except FileNotFoundError:
                pass
            except DamagedProvenanceError as error:
                logging.warning("%s: %s", path, error)
        seen.add(path)
    return sorted(names)


def name_of_machine(record: dict[str, Any]) -> str:
    """Return the processor that a record names, with its variables.

    By these variables libraries compute as on another processor.
    """
    variables = [f"{name}={value}" for name, value in record.get("environment", {}).items()]
    return record["processor"] + (f" under {' '.join(variables)}" if variables else "")


@cache
def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
