"""Where a result comes from, in a sidecar beside each file.

The sidecar is ``<file>.provenance.json``.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .cache import atomic_write

LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "snakemake")
SUFFIX = ".provenance.json"
CODE_PATHS = ("Snakefile", "rules", "workflow", "requirements.txt", "envs")


def write_provenance(job: Any) -> None:
    """Write a sidecar beside each output of a job.

    It has the job's rule, settings, inputs, code and libraries. ``job`` is the object ``snakemake`` of a script.
    Paths are those of the workflow, relative to its folder if they lie in it. There is no time and no host name.
    """
    outputs = {str(path) for path in job.output}
    record = {
        "rule": job.rule,
        "params": dict(job.params.items()),
        "inputs": {path: sha256(path) for path in sorted({str(path) for path in job.input})},
        "code": CODE,
        "libraries": library_versions(),
        "python": platform.python_version(),
        "processor": processor(),
    }
    for path in sorted(outputs):
        text = json.dumps({"sha256": sha256(path), **record}, indent=1, ensure_ascii=False, sort_keys=True)
        with atomic_write(f"{path}{SUFFIX}") as file:
            file.write(text.encode() + b"\n")


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


def code_in_git() -> dict[str, Any]:
    """Return the repository's commit, and whether its code has uncommitted changes."""

    def git(*arguments: str) -> str:
        repository = Path(__file__).resolve().parents[4]
        return subprocess.run(
            ["git", *arguments], cwd=repository, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", *CODE_PATHS))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": None}


# Read when a job starts, because a commit can be made while it runs.
CODE = code_in_git()


def processors_of(paths: Iterable[str]) -> list[str]:
    """Return the processors that files were computed on.

    Those of all that the files were made from are among them. Files without a sidecar say nothing.
    """
    names, seen, ahead = set(), set(), list(paths)
    while ahead:
        path = ahead.pop()
        sidecar = Path(f"{path}{SUFFIX}")
        if path not in seen and sidecar.exists():
            record = json.loads(sidecar.read_text(encoding="utf-8"))
            names.add(record["processor"])
            ahead += record["inputs"]
        seen.add(path)
    return sorted(names)


@cache
def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
