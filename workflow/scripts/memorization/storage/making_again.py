"""The command that makes a damaged file again."""

import os
import shlex
from pathlib import Path
from typing import Any

from ..environment import uses_conda

# The options of the call of Snakemake that runs a job. Jobs have its environment, on the nodes of a cluster too.
VARIABLE = "MEMORIZATION_OPTIONS"
OPTIONS_UNKNOWN = " (with --configfile, --config and --use-conda, if the run had them)"


def tell_jobs_the_options(workflow: Any) -> None:
    """Put the options of this call into the environment of all jobs.

    They are those on which a result or the environment of its job depends. ``workflow`` is the object of this
    name in a Snakefile.
    """
    configuration = workflow.config_settings
    options = []
    if uses_conda(workflow):
        options += ["--use-conda"]
        if prefix := workflow.deployment_settings.conda_prefix:
            options += ["--conda-prefix", _shown(prefix)]
    if configuration.configfiles:
        options += ["--configfile", *map(_shown, configuration.configfiles)]
    if configuration.config_args:
        options += ["--config", *map(str, configuration.config_args)]
    os.environ[VARIABLE] = shlex.join(options)


def how_to_make_again(path: str | Path) -> str:
    """Return the end of the message about a damaged file.

    It is the command that makes the file again, in a job with the options of the call that runs it.
    """
    options = os.environ.get(VARIABLE)
    with_options = f" {options}" if options else ""
    hint = OPTIONS_UNKNOWN if options is None else ""
    return f"make it again: snakemake --cores 2{with_options} --force {shlex.quote(str(path))}{hint}"


def _shown(path: str | Path) -> str:
    """Return a path as it is typed in the folder of the workflow."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
