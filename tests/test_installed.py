"""A call that lacks something says so in one line, before anything runs."""

import subprocess
import sys

import pytest
from conftest import REPOSITORY, copy_repository, snakemake

from memorization.installed import OF_JOBS, require_snakemake


@pytest.fixture
def hide(monkeypatch, tmp_path):
    """Hide packages from every Python that the test starts, as if they were not installed."""

    def hide(*packages):
        lines = "".join(f"sys.modules[{package!r}] = None\n" for package in packages)
        (tmp_path / "hidden").mkdir()
        (tmp_path / "hidden" / "sitecustomize.py").write_text(f"import sys\n{lines}")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"))

    return hide


@pytest.mark.parametrize("version", ["7.32.4", "8.30.0", "9.0.0", "9.16.3"])
def test_an_older_snakemake_is_refused_in_one_line(version):
    with pytest.raises(
        SystemExit, match=rf"^Snakemake 9\.17 or newer is needed, this is {version}: .*\.venv"
    ) as end:
        require_snakemake(version)
    assert "\n" not in str(end.value)


@pytest.mark.parametrize("version", ["9.17.0", "9.27.1", "9.28.0+2.g1234567", "10.0.0"])
def test_a_newer_snakemake_is_taken(version):
    require_snakemake(version)


@pytest.mark.slow
def test_without_the_packages_of_jobs_one_line_names_the_two_ways_to_have_them(hide, tmp_path):
    hide(*OF_JOBS)
    folder = copy_repository(tmp_path / "copy")
    result = snakemake(folder, "--cores", "1", "--configfile", "config/smoke.yaml", check=False)
    *_, line = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert "Building DAG" not in result.stderr
    assert "torch, numpy, pandas, pyarrow, scipy, matplotlib, tqdm" in line
    assert "--use-conda" in line and "make .venv/installed" in line
    assert list(folder.glob("cache*")) == []


@pytest.mark.slow
def test_without_its_plugin_the_slurm_profile_says_so_in_one_line(hide):
    hide("snakemake_executor_plugin_slurm")
    result = snakemake(REPOSITORY, "-n", "--profile", "profiles/slurm", check=False)
    # Before it, Snakemake names the profiles.
    *of_profiles, line = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 1
    assert all(line.startswith("Using") for line in of_profiles)
    assert "snakemake-executor-plugin-slurm" in line


@pytest.mark.parametrize("script", ["trace.py", "verify.py"])
def test_without_numpy_a_script_names_the_two_ways_to_call_it(script, hide):
    hide("numpy")
    call = [sys.executable, REPOSITORY / "workflow" / "scripts" / script, "README.md"]
    result = subprocess.run(call, capture_output=True, text=True)
    (line,) = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 1
    assert f".venv/bin/python workflow/scripts/{script}" in line
    assert "conda env create -f envs/" in line
