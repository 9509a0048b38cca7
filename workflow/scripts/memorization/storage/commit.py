"""The commit of the code, asked for once a workflow and told to its jobs.

The record is about the moment at which the workflow starts. A job also tells whether a file of the code is another
one when it starts itself.
"""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[4]
CODE_PATHS = ("Snakefile", "rules", "workflow", "requirements.txt", "envs")
# The commit, whether there are changes, and the hash of the code. Jobs have the environment of the workflow, on
# the nodes of a cluster too.
VARIABLE = "MEMORIZATION_CODE"
# Git answers in milliseconds. On a network file system that hangs it may not keep the workflow from starting.
SECONDS_FOR_GIT = 10
UNKNOWN = "unknown"


def tell_jobs_the_code() -> None:
    """Ask git for the commit, and put it into the environment of all jobs."""
    code = code_in_git()
    dirty = {True: "dirty", False: "clean", None: UNKNOWN}[code["dirty"]]
    os.environ[VARIABLE] = f"{code['commit']}:{dirty}:{hash_of_code()}"


def code_of_job() -> dict[str, Any]:
    """Return the code that the workflow has told its jobs of.

    ``commit`` and ``dirty`` (uncommitted changes) are those at the start of the workflow. ``edited`` tells whether
    the code has changed since then. What is not known is ``unknown`` or None.
    """
    try:
        commit, dirty, hash_at_start = os.environ[VARIABLE].split(":")
    except (KeyError, ValueError):
        return {"commit": UNKNOWN, "dirty": None, "edited": None}
    hash_now = hash_of_code()
    return {
        "commit": commit,
        "dirty": {"dirty": True, "clean": False}.get(dirty),
        "edited": None if UNKNOWN in (hash_at_start, hash_now) else hash_now != hash_at_start,
    }


def code_in_git() -> dict[str, Any]:
    """Return the commit of the repository, and whether its code has changes.

    Changes are those that are not committed. The two are ``unknown`` and None if the folder of the workflow is not
    the top of a repository or of a worktree, as after the download of an archive, or if git is absent, refuses or
    takes too long.
    """
    try:
        answer = _git("rev-parse", "--is-inside-work-tree", "--show-prefix", "HEAD")
        inside, folder, commit, _ = answer.split(b"\n")
    except (OSError, subprocess.SubprocessError, ValueError):
        return {"commit": UNKNOWN, "dirty": None}
    # With a folder, the repository is another one, in which this one lies.
    if inside != b"true" or folder:
        return {"commit": UNKNOWN, "dirty": None}
    try:
        # New files count, whatever the user's configuration shows.
        dirty = bool(_git("status", "--porcelain", "--untracked-files=normal", "--", *CODE_PATHS))
    except (OSError, subprocess.SubprocessError):
        dirty = None
    return {"commit": commit.decode(), "dirty": dirty}


def _git(*arguments: str) -> bytes:
    """Return the output of git about the repository.

    It takes no lock, so that a commit can be made at the same time. It starts no program that the configuration
    names to watch files. Variables that name another repository do not count.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    configured = {name: value for name, value in os.environ.items() if name.startswith("GIT_CONFIG")}
    call = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments]
    done = subprocess.run(
        call,
        cwd=REPOSITORY,
        env=kept | configured,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS_FOR_GIT,
        check=True,
    )
    return done.stdout


def hash_of_code() -> str:
    """Return a hash of the names and contents of the files of the code.

    It is ``unknown`` if one of them cannot be read, or goes away at this moment.
    """
    content = hashlib.sha256()
    try:
        for part in (REPOSITORY / part for part in CODE_PATHS):
            for file in sorted(part.rglob("*") if part.is_dir() else [part]):
                name = file.relative_to(REPOSITORY)
                # What Python and editors leave behind is no code.
                left = any(one.startswith((".", "__pycache__")) for one in name.parts)
                if not left and file.is_file():
                    content.update(os.fsencode(name) + b"\n" + file.read_bytes())
    except OSError:
        return UNKNOWN
    return content.hexdigest()[:16]
