"""What is added to Snakemake's plugin for SLURM.

A call waits for the jobs of an earlier one. Mistakes of the plugin are mended here until they are mended there:
each was met on a real SLURM, and tests/cluster would show if it came back.
"""

import functools
import os
import re
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

PLUGIN = "snakemake_executor_plugin_slurm"
# What is mended is not in every version, and another one may have other mistakes.
MENDED_VERSION = "2.8.0"
# The plugin names all jobs of a call alike.
_NAME_OF_CALL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SECONDS_BETWEEN_LOOKS = 5


def prepare_call_on_slurm(executor: Any) -> None:
    """End a call with another version of the plugin; let others wait for earlier ones.

    ``executor`` is Snakemake's plugin for jobs; nothing is done without SLURM's.
    """
    if getattr(executor, "name", None) != "slurm":
        return
    if (version := _installed_version()) != MENDED_VERSION:
        # Exits without the traceback and the banner of an exception.
        raise SystemExit(
            f"profiles/slurm needs snakemake-executor-plugin-slurm {MENDED_VERSION}, this is {version}: README.md "
            "says how to have it"
        )
    _wait_for_jobs_of_earlier_calls()


def _installed_version() -> str:
    """Return the version of the plugin that Python finds first."""
    return next((found.version for found in distributions(name=PLUGIN)), "unknown")


def _wait_for_jobs_of_earlier_calls() -> None:
    """Wait until the jobs of earlier calls in this folder have left SLURM's queue.

    A call of Snakemake that was killed leaves its jobs there. They would write the same files as the jobs of this
    one, and each would remove those of the other.
    """
    told = set()
    try:
        while why := _why_to_wait():
            # Once of each kind, although the jobs become fewer.
            kind = why.partition(":")[0]
            if kind not in told:
                print(f"{why}. This call waits, and goes on by itself", file=sys.stderr, flush=True)
            told.add(kind)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        raise SystemExit("interrupted before anything was submitted; jobs of earlier calls go on") from None


def _why_to_wait() -> str | None:
    """Return why this call cannot begin, if it cannot."""
    try:
        jobs = _jobs_of_this_folder()
    except FileNotFoundError:
        # No `squeue`: Snakemake itself says so.
        return None
    except subprocess.CalledProcessError as error:
        return f"SLURM does not say whether jobs of an earlier call are in its queue: {error.stderr.strip()}"
    if not jobs:
        return None
    numbers = " ".join(jobs)
    return (
        f"jobs of an earlier call in this folder are still in SLURM's queue: {numbers}. To end them now: scancel "
        f"{numbers} (a training keeps a checkpoint)"
    )


def _jobs_of_this_folder() -> list[str]:
    """Return the numbers of the queued jobs that calls in this folder submitted.

    Raises `subprocess.CalledProcessError` if SLURM does not answer.
    """
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A %j %Z"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    jobs = [line.split(maxsplit=2) for line in lines]
    return sorted(
        {
            number
            for number, name, folder in (job for job in jobs if len(job) == 3)
            if _NAME_OF_CALL.search(name) and Path(folder).resolve() == Path.cwd()
        },
        key=int,
    )


def mend_slurm_plugin() -> None:
    """Mend the plugin if it is loaded, as in each main process if it is installed.

    Another version stays as it is, for calls without SLURM.
    """
    plugin = sys.modules.get(PLUGIN)
    if plugin is None or _installed_version() != MENDED_VERSION:
        return
    # Two modules of a workflow can be this one.
    if hasattr(plugin.query_job_status, "__wrapped__"):
        return
    plugin.query_job_status = _with_known_states(plugin.query_job_status)
    executor = plugin.Executor
    executor.__post_init__ = _with_names_of_nodes(executor.__post_init__)
    executor.report_job_error = _with_reason_of_groups(executor.report_job_error)
    executor.run_job = _with_failed_submissions_of_groups(executor.run_job)


def _with_known_states(query: Any) -> Any:
    """Return ``query`` so that no job is waited for in vain.

    The plugin does not know the state "CANCELLED by 1000" and waits for such a job without end. It forgets all
    jobs if SLURM's accounts do not answer.
    """

    @functools.wraps(query)
    async def states_of_jobs(*args: Any, **kwargs: Any) -> tuple[dict[str, str], float]:
        states, seconds = await query(*args, **kwargs)
        return {job: state.partition(" ")[0] for job, state in (states or {}).items()}, seconds or 0.0

    return states_of_jobs


class _NamesOfNodes(set):
    """The nodes that failed.

    SLURM says "None assigned" of a job that it will start on another node.
    """

    def add(self, name: str) -> None:
        if " " not in name:
            super().add(name)


def _with_names_of_nodes(method: Any) -> Any:
    """Return ``method`` so that the executor excludes nothing but nodes.

    Otherwise each later sbatch would fail:
    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/485
    """

    @functools.wraps(method)
    def post_init(self: Any, *args: Any, **kwargs: Any) -> None:
        method(self, *args, **kwargs)
        self._failed_nodes = _NamesOfNodes(self._failed_nodes)

    return post_init


def _with_reason_of_groups(method: Any) -> Any:
    """Return ``method`` so that it shows why a group of jobs failed.

    Snakemake shows it of single jobs only.
    """

    @functools.wraps(method)
    def report_job_error(self: Any, job_info: Any, msg: str | None = None, **kwargs: Any) -> None:
        if msg and job_info.job.is_group():
            self.logger.error(msg)
        method(self, job_info, msg=msg, **kwargs)

    return report_job_error


def _with_failed_submissions_of_groups(method: Any) -> Any:
    """Return ``method`` so that a group of jobs that cannot be submitted is reported.

    To report it, the plugin asks for the rule of the job, which a group does not have. The error that follows ends
    a thread that nobody looks at, and Snakemake would wait without end.
    """

    @functools.wraps(method)
    def run_job(self: Any, job: Any) -> None:
        try:
            method(self, job)
        except Exception as error:
            reason = error.__context__ or error
            self._report_job_error_threadsafe(SubmittedJobInfo(job), f"not submitted to SLURM: {reason}")

    return run_job
