"""Whether everything is installed that a call needs; one line tells it otherwise.

This module is imported before all others, and needs nothing but Python itself.
"""

import functools
import sys
from importlib.util import find_spec
from typing import Any, NoReturn

from .environment import uses_conda

OF_JOBS = ("torch", "numpy", "pandas", "pyarrow", "scipy", "matplotlib", "tqdm")
ONE_ENVIRONMENT = "`make .venv/installed` once, and then"


def require_packages_of_jobs(workflow: Any) -> None:
    """End a call of Snakemake before it plans if its jobs would lack libraries.

    ``workflow`` is the object of this name in a Snakefile. With --use-conda jobs have Python of their own. Calls
    that run no job go on.
    """
    missing = _missing(OF_JOBS)
    if uses_conda(workflow) or not missing or not workflow.is_main_process:
        return
    execute = workflow.execute

    @functools.wraps(execute)
    def checked(*args: Any, **kwargs: Any) -> Any:
        settings = kwargs["executor_plugin"].common_settings
        if not (settings.dryrun_exec or settings.touch_exec):
            _end(
                f"{sys.executable} lacks {missing}: add --use-conda (it needs conda); or {ONE_ENVIRONMENT} "
                ".venv/bin/snakemake"
            )
        return execute(*args, **kwargs)

    workflow.execute = checked


def require_packages_of_script(call: str, packages: tuple[str, ...], environment: str) -> None:
    """End the process if a script that is called by hand would lack libraries.

    ``call`` is the script with its arguments. The conda environment that has the ``packages`` is made from the
    file ``environment`` of envs/.
    """
    if missing := _missing(packages):
        _end(
            f"{sys.executable} lacks {missing}: {ONE_ENVIRONMENT} .venv/bin/python {call}; or "
            f"`conda env create -f envs/{environment}.yaml` once, and then "
            f"conda run -n transformer-memorization-{environment} python {call}"
        )


def _missing(packages: tuple[str, ...]) -> str:
    """Return which packages this Python lacks, as text; none gives an empty one."""
    return ", ".join(package for package in packages if find_spec(package) is None)


def _end(message: str) -> NoReturn:
    # Exits without the traceback and the banner of an exception.
    raise SystemExit(message)
