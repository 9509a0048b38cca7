"""Mistakes of Snakemake's plugin for SLURM (2.8.0), mended here until they are mended there.

Each was met on a real SLURM, and tests/cluster would show if it came back.
"""

import functools
import sys
from typing import Any

PLUGIN = "snakemake_executor_plugin_slurm"


def mend_slurm_plugin() -> None:
    """Mend the plugin if it has been loaded, as it is in the main process wherever it is installed."""
    plugin = sys.modules.get(PLUGIN)
    if plugin is None:
        return
    plugin.query_job_status = _with_known_states(plugin.query_job_status)
    executor = plugin.Executor
    executor.__post_init__ = _with_names_of_nodes(executor.__post_init__)
    executor.report_job_error = _with_reason_of_groups(executor.report_job_error)


def _with_known_states(query: Any) -> Any:
    """Return ``query`` so that no job is waited for in vain.

    The plugin does not know the state "CANCELLED by 1000" and waits for such a job without end. It forgets all jobs
    if SLURM's accounts do not answer.
    """

    @functools.wraps(query)
    async def states_of_jobs(*args: Any, **kwargs: Any) -> tuple[dict[str, str], float]:
        states, seconds = await query(*args, **kwargs)
        return {job: state.partition(" ")[0] for job, state in (states or {}).items()}, seconds or 0.0

    return states_of_jobs


class _NamesOfNodes(set):
    """The nodes that failed. SLURM says "None assigned" of a job that it will start on another node."""

    def add(self, name: str) -> None:
        if " " not in name:
            super().add(name)


def _with_names_of_nodes(method: Any) -> Any:
    """Return ``method`` so that the executor excludes nothing but nodes; otherwise each later sbatch would fail.

    https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/485
    """

    @functools.wraps(method)
    def post_init(self: Any, *args: Any, **kwargs: Any) -> None:
        method(self, *args, **kwargs)
        self._failed_nodes = _NamesOfNodes(self._failed_nodes)

    return post_init


def _with_reason_of_groups(method: Any) -> Any:
    """Return ``method`` so that the reason is shown for a group of jobs too; Snakemake shows that of single jobs."""

    @functools.wraps(method)
    def report_job_error(self: Any, job_info: Any, msg: str | None = None, **kwargs: Any) -> None:
        if msg and job_info.job.is_group():
            self.logger.error(msg)
        method(self, job_info, msg=msg, **kwargs)

    return report_job_error
