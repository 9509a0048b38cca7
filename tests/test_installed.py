"""A call that lacks something says so in one line, before anything runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, copy_repository

from memorization.installed import OF_JOBS

PLUGINS = ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_slurm_jobstep")


@pytest.fixture
def call(tmp_path):
    """Call Python where only those packages are installed that are not named."""

    def call(folder, *arguments, without):
        (tmp_path / "installed").mkdir()
        for path in Path(pytest.__file__).parents[1].iterdir():
            if path.name not in without:
                (tmp_path / "installed" / path.name).symlink_to(path)
        variables = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
        command = [sys.executable, "-S", *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)

    return call


@pytest.mark.slow
def test_an_older_snakemake_is_refused_in_one_line():
    older = "import snakemake.common as c; c.__version__ = '9.19.0'; from snakemake.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", older, "-n"], cwd=REPOSITORY, capture_output=True, text=True)
    *of_profiles, line = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 1
    assert all(said.startswith("Using") for said in of_profiles)
    assert line.startswith("Snakemake 9.20 or newer is needed, this is 9.19.0: ")


@pytest.mark.slow
def test_without_the_packages_of_jobs_one_line_names_the_two_ways_to_have_them(call, tmp_path):
    folder = copy_repository(tmp_path / "copy")
    arguments = ("-m", "snakemake", "--cores", "1", "--configfile", "config/smoke.yaml")
    # Snakemake's plugin for SLURM needs some of them.
    result = call(folder, *arguments, without=(*OF_JOBS, *PLUGINS))
    *_, line = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert "Building DAG" not in result.stderr
    assert ", ".join(OF_JOBS) in line
    assert "--use-conda" in line and "make .venv/installed" in line
    assert list(folder.glob("cache*")) == []


@pytest.mark.slow
def test_without_its_plugin_the_slurm_profile_says_so_in_one_line(call):
    result = call(REPOSITORY, "-m", "snakemake", "-n", "--profile", "profiles/slurm", without=PLUGINS)
    # Before it, Snakemake names the profiles.
    *of_profiles, line = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 1
    assert all(line.startswith("Using") for line in of_profiles)
    assert "snakemake-executor-plugin-slurm" in line


@pytest.mark.slow
def test_another_version_of_the_slurm_plugin_is_refused_in_one_line_on_slurm_alone(tmp_path):
    installed, name = tmp_path / "installed", PLUGINS[0]
    shutil.copytree(Path(pytest.__file__).parents[1] / name, installed / name)
    with open(installed / name / "__init__.py", "a") as file:
        # As in 2.0.3.
        file.write("\ndel query_job_status\n")
    (installed / f"{name}-2.0.3.dist-info").mkdir()
    (installed / f"{name}-2.0.3.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 2.0.3\n")

    def call(*arguments):
        command = [sys.executable, "-m", "snakemake", "dam_memory", *arguments]
        variables = os.environ | {"PYTHONPATH": str(installed)}
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120)

    folder = copy_repository(tmp_path / "copy")
    local = call("--configfile", "config/smoke.yaml", "-n", "--quiet")
    assert local.returncode == 0, local.stderr
    on_slurm = call("--configfile", "config/smoke.yaml", "--profile", "profiles/slurm")
    *_, line = on_slurm.stderr.splitlines()
    assert (on_slurm.returncode, on_slurm.stdout) == (1, "")
    assert line.startswith("profiles/slurm needs snakemake-executor-plugin-slurm 2.8.0, this is 2.0.3: ")
    assert "Building DAG" not in on_slurm.stderr


@pytest.mark.parametrize("options", [[], ["-P"]], ids=["usual", "as with PYTHONSAFEPATH"])
@pytest.mark.parametrize("script", ["trace.py", "verify.py"])
def test_without_numpy_a_script_names_the_two_ways_to_call_it(script, options, call):
    result = call(REPOSITORY, *options, f"workflow/scripts/{script}", "README.md", without=("numpy",))
    (line,) = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 1
    assert f".venv/bin/python workflow/scripts/{script}" in line
    assert "conda env create -f envs/" in line
