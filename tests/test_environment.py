"""A job starts from a known environment, whatever the caller's shell holds."""

import os
import site
from pathlib import Path
from types import SimpleNamespace

import pytest
import snakemake
from conftest import REPOSITORY

from memorization.environment import INSTRUCTION_SETS, set_environment_of_jobs, tell_of_packages_of_user

SCRIPTS = REPOSITORY / "workflow" / "scripts"
# Each of these changes numbers, the look of a figure, or how a job ends.
OF_A_SHELL = {
    "BASH_ENV": "/etc/profile.d/omp_thread_limit.sh",
    "CUBLAS_WORKSPACE_CONFIG": ":16:8",
    "DISABLE_ADDMM_CUDA_LT": "1",
    "ENV": "/etc/profile.d/omp_thread_limit.sh",
    "FREETYPE_PROPERTIES": "truetype:interpreter-version=35",
    "GOMP_CPU_AFFINITY": "0",
    "KMP_DETERMINISTIC_REDUCTION": "false",
    "MATPLOTLIBRC": "/home/me/matplotlibrc",
    "MKL_NUM_THREADS": "7",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "NPY_PROMOTION_STATE": "legacy",
    "NVIDIA_TF32_OVERRIDE": "1",
    "OMP_DYNAMIC": "true",
    "OMP_THREAD_LIMIT": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "OPENBLAS_NUM_THREADS": "7",
    "PANDAS_FUTURE_INFER_STRING": "0",
    "PYTHONHASHSEED": "7",
    "PYTHONINSPECT": "1",
    "PYTHONWARNINGS": "error",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "TQDM_MININTERVAL": "x",
    "VECLIB_MAXIMUM_THREADS": "7",
}
STAY = {
    **dict.fromkeys(INSTRUCTION_SETS, "of another processor"),
    "CUDA_VISIBLE_DEVICES": "1",
    "LD_LIBRARY_PATH": "/opt/cuda/lib",
    "PATH": "/usr/bin",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}


def of_jobs(of_a_shell, folder, conda=False):
    environment = dict(of_a_shell)
    set_environment_of_jobs(environment, folder, conda)
    return environment


def test_jobs_of_two_shells_start_with_the_same_variables(tmp_path):
    assert of_jobs(OF_A_SHELL, tmp_path) == of_jobs({}, tmp_path)
    assert of_jobs(of_jobs(OF_A_SHELL, tmp_path), tmp_path) == of_jobs({}, tmp_path)


def test_the_device_the_libraries_and_the_instructions_of_another_processor_stay_as_the_caller_chose(tmp_path):
    assert of_jobs(STAY, tmp_path).items() >= STAY.items()


def test_the_library_of_another_clone_is_not_imported(tmp_path):
    other, own, anything, module = tmp_path / "other", SCRIPTS, tmp_path / "anything", tmp_path / "module"
    (other / "memorization").mkdir(parents=True)
    module.mkdir()
    (module / "memorization.py").touch()
    paths = os.pathsep.join(map(str, (other, own, anything, module)))
    kept = of_jobs({"PYTHONPATH": paths}, tmp_path)["PYTHONPATH"]
    assert kept.split(os.pathsep) == [str(own), str(anything)]


def test_packages_of_the_user_are_left_out_of_environments_of_conda_alone(tmp_path):
    of_a_shell = {"PYTHONHOME": "/opt/python"}
    assert of_jobs(of_a_shell, tmp_path, conda=True).items() >= {"PYTHONNOUSERSITE": "1"}.items()
    assert "PYTHONHOME" not in of_jobs(of_a_shell, tmp_path, conda=True)
    environment = of_jobs(of_a_shell, tmp_path)
    assert environment["PYTHONHOME"] == "/opt/python" and "PYTHONNOUSERSITE" not in environment


@pytest.mark.parametrize(
    "of_user, conda, is_main_process, told",
    [(True, True, True, 1), (True, True, False, 0), (True, False, True, 0), (False, True, True, 0)],
)
def test_a_call_says_if_packages_of_the_user_come_before_those_of_conda(
    of_user, conda, is_main_process, told, monkeypatch, capsys
):
    folder = str(Path(snakemake.__file__).parents[1]) if of_user else "/elsewhere"
    monkeypatch.setattr(site, "getusersitepackages", lambda: folder)
    deployment = SimpleNamespace(deployment_method={"conda"} if conda else set())
    tell_of_packages_of_user(SimpleNamespace(is_main_process=is_main_process, deployment_settings=deployment))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == told
    assert all(line.startswith(f"Snakemake itself is in {folder}: ") for line in lines)
