"""The repository itself: style, lint, pins and captions."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, SNAKEMAKE, snakemake

from memorization.configuration.shape import RULES

SCRIPTS = REPOSITORY / "workflow" / "scripts"

TOOLS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["snakefmt", "--check", "Snakefile", "rules"],
    ],
    ids=" ".join,
)
def test_style(command):
    result = subprocess.run([TOOLS / command[0], *command[1:]], cwd=REPOSITORY, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_snakemake_lint_has_nothing_to_say():
    result = snakemake(REPOSITORY, "--lint", check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def pins(lines):
    return dict(line.split("==") for line in lines if re.fullmatch(r"[\w-]+==[\w.]+", line))


def test_requirements_are_pinned_exactly_and_installed():
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pinned = pins(lines)
    assert [line for line in lines if line and not line.startswith("#") and line not in
            {f"{name}=={version}" for name, version in pinned.items()}] == []  # fmt: skip
    frozen = subprocess.run([TOOLS / "python", "-m", "pip", "freeze"], capture_output=True, text=True, check=True)
    installed = {name.lower(): version for name, version in pins(
        line.split("+")[0] for line in frozen.stdout.splitlines()).items()}  # fmt: skip
    pinned = {name.lower(): version for name, version in pinned.items()}
    assert pinned.items() <= installed.items()
    # What else pip lists on some machines: its own tools, and what a CUDA build of torch comes with.
    others = {name for name in installed if not re.match(r"nvidia|cuda|triton|setuptools|wheel|pip", name)}
    assert others <= pinned.keys()


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda path: path.name)
def test_conda_environments_have_the_versions_of_the_requirements(path):
    pinned = pins((REPOSITORY / "requirements.txt").read_text().splitlines())
    (by_pip,) = [entry["pip"] for entry in yaml.safe_load(path.read_text())["dependencies"]
                 if isinstance(entry, dict)]  # fmt: skip
    assert len(pins(by_pip)) == len(by_pip) > 0
    assert pins(by_pip).items() <= pinned.items()


def test_every_rule_has_environment_threads_resources_log_and_benchmark():
    directives = ["conda:", "threads:", "resources:", "mem_mb=", "runtime=", "log:", "benchmark:"]
    for path in (REPOSITORY / "rules").glob("*.smk"):
        rules = re.split(r"^ *rule\b", path.read_text(), flags=re.MULTILINE)[1:]
        for rule in rules:
            assert [d for d in directives if d not in rule] == [], path.name


def test_every_path_that_the_readme_names_exists():
    readme = (REPOSITORY / "README.md").read_text()
    tour = readme.split("## A tour of the folders")[1]
    files = {path.name for path in REPOSITORY.rglob("*.py") if ".venv" not in path.parts}
    named = set(re.findall(r"\b[a-z_]+\.py\b", tour))
    assert named and named <= files
    library = {path.name for path in (REPOSITORY / "workflow/scripts/memorization").glob("*.py")}
    assert library - {"__init__.py"} <= named
    for path in re.findall(r"\]\(([^)]+)\)", readme):
        assert (REPOSITORY / path).exists(), path


def test_every_figure_has_a_caption():
    """And the smallest configuration draws each of them."""
    drawn = yaml.safe_load((REPOSITORY / "config" / "smoke.yaml").read_text())["experiments"].values()
    captions = {path.stem for path in (REPOSITORY / "report").glob("*.rst")} - {"any_figure"}
    assert captions == {figure for experiment in drawn for figure in experiment["figures"]}
    assert {f"plot_{figure}.py" for figure in captions} <= {path.name for path in SCRIPTS.glob("*.py")}


def test_the_slurm_profile_sets_the_resources_of_every_rule():
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
    listed = subprocess.run(
        [SNAKEMAKE, "--list-rules"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    # The targets of the experiments are rules without a job; a new figure has the resources of its rule.
    targets = {"all", *yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())["experiments"]}
    rules = {rule for rule in listed.stdout.split() if rule not in targets and not rule.startswith("plot_")}
    captions = {path.stem for path in (REPOSITORY / "report").glob("*.rst")} - {"any_figure"}
    assert set(profile["set-resources"]) == rules | {f"plot_{figure}" for figure in captions}
    # No experiment may have the name of one.
    assert {*rules, "all"} == set(RULES)
    for resources in profile["set-resources"].values():
        assert {"mem_mb", "runtime"} <= set(resources)
