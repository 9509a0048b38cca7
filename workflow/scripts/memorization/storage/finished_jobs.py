"""What Snakemake notes when a job has ended."""

from typing import Any

import snakemake.persistence


def leave_notes_to_main_process(workflow: Any) -> None:
    """Keep the processes that run jobs from noting that a job has ended.

    ``workflow`` is the object of this name in a Snakefile. Snakemake's process for a job notes that its files are
    complete. Its main process notes what they were made from, by which a later call tells that a setting has
    changed. If the main process is killed and the job goes on to its end, on a node of a cluster or here, there
    would be only the first note, and the files would be taken for up to date whatever is changed later. Without it
    the same command makes them again, a training from its checkpoint.
    """
    if not workflow.is_main_process:
        snakemake.persistence.PersistenceBase.finished = _note_nothing


async def _note_nothing(self: Any, job: Any) -> None:
    """Stand in for the method that notes the end of a job."""
