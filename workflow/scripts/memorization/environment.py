"""The environment variables that a job starts with.

A job has the environment of the process that reads the Snakefile, on a cluster's node too. Whatever the caller's
shell holds, jobs then compute and draw the same.
"""

import importlib.util
import os
import site
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

# By these a library takes the instructions of another processor. They stay, because people compare processors with
# them, and are part of the provenance.
INSTRUCTION_SETS = (
    "ATEN_CPU_CAPABILITY", "DNNL_CPU_ISA_HINTS", "DNNL_MAX_CPU_ISA", "GLIBC_TUNABLES", "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_CPU_ISA_HINTS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
)  # fmt: skip
# These change no number, and a job may need them: memory of a GPU, and two OpenMP libraries under macOS.
_HARMLESS = ("KMP_DUPLICATE_LIB_OK", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
# Everything else that begins like this is removed: it can change the number of threads, how a sum is divided among
# them, the algorithm, the precision, the type of a column, the look of a figure, or fail a progress bar. Snakemake
# gives each job its number of threads.
_REMOVED = (
    "BLIS_", "CUBLAS", "CUDNN_", "DISABLE_ADDMM_CUDA_LT", "DNNL_", "FREETYPE_", "GOMP_", "GOTO_", "KMP_",
    "MATPLOTLIBRC", "MKL_", "MPL", "NPY_", "NUMEXPR_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "OPENBLAS_",
    "PANDAS_", "PYTORCH_", "SCIPY_", "TORCH_", "TQDM_", "VECLIB_",
)  # fmt: skip
# Snakemake starts a job by a shell, which would read the file that one of these names and set variables again.
_REMOVED_OF_THE_SHELL = {"BASH_ENV", "ENV"}
# How Python runs. With PYTHONINSPECT a job would not end, with PYTHONWARNINGS a warning could end it.
_REMOVED_OF_PYTHON = {
    "PYTHONDEVMODE", "PYTHONINSPECT", "PYTHONINTMAXSTRDIGITS", "PYTHONIOENCODING", "PYTHONMALLOC",
    "PYTHONOPTIMIZE", "PYTHONPROFILEIMPORTTIME", "PYTHONTRACEMALLOC", "PYTHONUTF8", "PYTHONVERBOSE",
    "PYTHONWARNINGS",
}  # fmt: skip
_SET = {
    # A job has its number of threads also if the machine is busy.
    "OMP_DYNAMIC": "false",
    "MKL_DYNAMIC": "false",
    "PYTHONHASHSEED": "0",
    # Without a screen, and outside Jupyter, whose backend a job may lack.
    "MPLBACKEND": "agg",
}


def uses_conda(workflow: Any) -> bool:
    """Tell whether jobs run in conda environments of their own.

    ``workflow`` is the object of this name in a Snakefile.
    """
    return "conda" in map(str, workflow.deployment_settings.deployment_method)


def set_environment_of_jobs(environment: MutableMapping[str, str], folder: Path, conda: bool) -> None:
    """Change the variables in ``environment`` to those that a job starts with.

    ``folder`` is Snakemake's own: figures keep their cache of fonts there and read no settings of the user, whose
    home may not be writable. With ``conda`` jobs have Python and packages of environments of their own.
    """
    for name in list(environment):
        if name in _REMOVED_OF_PYTHON | _REMOVED_OF_THE_SHELL or (
            name.startswith(_REMOVED) and name not in INSTRUCTION_SETS and name not in _HARMLESS
        ):
            del environment[name]
    environment.update(_SET, MPLCONFIGDIR=str(folder.resolve() / "matplotlib"))
    if "PYTHONPATH" in environment:
        paths = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if not _has_another_library(path))
    if conda:
        # Otherwise packages in ~/.local would come before those of the environment.
        environment.pop("PYTHONHOME", None)
        if not _of_user("snakemake"):
            environment["PYTHONNOUSERSITE"] = "1"


def tell_of_packages_of_user(workflow: Any) -> None:
    """Say once in a call if ``pip install --user`` could change what jobs compute.

    Jobs in conda environments then import packages of the user in place of those that are pinned.
    """
    if workflow.is_main_process and uses_conda(workflow) and _of_user("snakemake"):
        print(
            f"Snakemake itself is in {site.getusersitepackages()}: with --use-conda, jobs import packages from "
            "there first. README.md says how to have Snakemake elsewhere",
            file=sys.stderr,
        )


def _has_another_library(path: str) -> bool:
    """Tell whether a folder has the library of another clone, or a module of its name.

    A job would import that one in place of its own.
    """
    library = Path(path or ".") / __package__
    if library.with_suffix(".py").is_file():
        return True
    return library.is_dir() and not library.samefile(Path(__file__).parent)


def _of_user(package: str) -> bool:
    """Tell whether a package was installed by ``pip install --user``."""
    spec = importlib.util.find_spec(package)
    return bool(spec and spec.origin and Path(spec.origin).is_relative_to(site.getusersitepackages()))
