"""The repository itself: style, pins, the rules' directives, the rooms of the library, and what the pages name."""

import ast
import fnmatch
import re
import subprocess
import sys
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, copy_repository, snakemake
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from memorization.configuration.experiments import ConfigurationError, read_configuration
from memorization.slurm_plugin import MENDED_VERSION, PLUGIN
from memorization.tables.registry import TABLES

SCRIPTS = REPOSITORY / "workflow" / "scripts"
LIBRARY = SCRIPTS / "memorization"
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


def functions_longer_than(lines, path):
    """The names of the functions in a file that have more lines than that, the docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) is not None else None
            counted = node.end_lineno - node.lineno + 1
            if docstring:
                counted -= docstring.end_lineno - docstring.lineno + 1
            if counted > lines:
                yield f"{path.name}: {node.name} has {counted} lines"


def test_no_function_is_longer_than_40_lines():
    assert [long for path in sorted(SCRIPTS.rglob("*.py")) for long in functions_longer_than(40, path)] == []


def first_lines_longer_than(characters, path):
    """The first lines of the docstrings in a file that have more characters than that."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first_line = (ast.get_docstring(node) or "").partition("\n")[0]
            if len(first_line) > characters:
                yield f"{path.name}: {first_line}"


def test_no_docstring_begins_with_a_line_of_more_than_80_characters():
    assert [long for path in sorted(SCRIPTS.rglob("*.py")) for long in first_lines_longer_than(80, path)] == []


# Pins.


def pins(lines):
    """The versions that requirements are pinned to, by package; each must be pinned exactly."""
    pinned = {}
    for requirement in map(Requirement, lines):
        (pin,) = requirement.specifier
        assert (pin.operator, requirement.marker, requirement.url) == ("==", None, None), requirement
        pinned[canonicalize_name(requirement.name)] = str(Version(pin.version))
    return pinned


REQUIREMENTS = pins(
    line for line in (REPOSITORY / "requirements.txt").read_text().splitlines() if line and line[0] != "#"
)
# What a build of torch with CUDA comes with. torch names the versions itself.
OF_CUDA = r"nvidia|cuda|triton"


def test_requirements_are_installed():
    installed = {canonicalize_name(found.name): Version(found.version).public for found in distributions()}
    assert REQUIREMENTS.items() <= installed.items()
    # What else is there on some machines: pip's own tools.
    others = {name for name in installed if not re.match(rf"{OF_CUDA}|wheel|pip", name)}
    assert others <= REQUIREMENTS.keys()


def with_all_they_need(names):
    """Packages, and those that they need in this Python."""
    found, ahead = set(), list(names)
    while ahead:
        name = canonicalize_name(ahead.pop())
        if name not in found and not re.match(OF_CUDA, name):
            found.add(name)
            needed = map(Requirement, distribution(name).requires or [])
            ahead += [of.name for of in needed if not of.marker or of.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda path: path.name)
def test_a_conda_environment_pins_all_that_it_installs_to_the_versions_of_the_requirements(path):
    environment = yaml.safe_load(path.read_text())
    (by_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pins(by_pip).items() <= REQUIREMENTS.items()
    assert with_all_they_need(pins(by_pip)) == pins(by_pip).keys()
    # `conda env create -f` works by itself, as the scripts advise.
    assert environment["name"] == f"transformer-memorization-{path.stem}"


def test_pre_commit_has_the_versions_of_the_requirements():
    (tools,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    used = [pin for hook in tools["hooks"] for pin in hook["additional_dependencies"]]
    assert pins(used).items() <= REQUIREMENTS.items()
    assert {"ruff", "snakefmt"} == pins(used).keys()


def test_the_mended_version_of_the_slurm_plugin_is_the_one_of_the_requirements_and_of_the_readme():
    name = canonicalize_name(PLUGIN)
    assert REQUIREMENTS[name] == MENDED_VERSION
    assert re.findall(rf"{name}=(\S+)", (REPOSITORY / "README.md").read_text()) == [MENDED_VERSION]


# The rules, the figures and the profiles.


@pytest.mark.slow
def test_snakemake_lint_has_nothing_to_say():
    """Among its complaints: a rule without a log, or without a conda environment."""
    result = snakemake(REPOSITORY, "--lint", check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """What a dry run of the smallest configuration, which uses every rule, says of one job of each rule."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    printed = snakemake(folder, "-n", "--configfile", "config/smoke.yaml").stdout
    found = dict(re.findall(r"^rule (\w+):\n((?: +.*\n)+)", printed, re.MULTILINE))
    del found["all"]
    assert {"train", "aggregate", "plot_by_epoch"} <= found.keys()
    return found


@pytest.mark.slow
def test_every_job_has_a_benchmark_and_says_its_memory_and_its_time(jobs):
    for rule, job in jobs.items():
        assert "\n    benchmark: " in job, rule
        (resources,) = re.findall(r"^    resources: (.*)$", job, re.MULTILINE)
        assert {"mem_mb", "runtime"} <= {entry.split("=")[0] for entry in resources.split(", ")}, rule


@pytest.mark.slow
def test_no_experiment_may_have_the_name_of_a_rule(jobs):
    for name in ("all", *jobs):
        with pytest.raises(ConfigurationError, match=f'"{name}" is the name of a rule'):
            read_configuration({"experiments": {name: {"model": "dam"}}}, {})


@pytest.mark.slow
def test_the_slurm_profile_names_only_rules_that_there_are_and_groups_all_short_jobs(jobs):
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
    assert profile["executor"] == "slurm"
    assert set(profile.get("set-resources", {})) <= set(jobs)
    # A trunk is a submission of its own, because several runs wait for it; so are all claims and the targets.
    grouped = {entry.partition("=")[0] for entry in profile["groups"]}
    targets = {*yaml.safe_load((REPOSITORY / "config" / "smoke.yaml").read_text())["experiments"], "all"}
    assert grouped == {*jobs} - {"train_trunk", "claims"} - targets


def test_the_times_that_the_docs_advise_for_a_partition_of_a_day_fit_into_a_day():
    text = (REPOSITORY / "docs" / "cluster.md").read_text()
    (advised,) = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    rules = "\n".join(path.read_text() for path in sorted((REPOSITORY / "rules").glob("*.smk")))
    # The time grows until the last attempt, unless the page replaces it.
    asked = {
        rule or "figure": int(runtime) * (1 + advised["retries"])
        for rule, runtime in re.findall(
            r"^ *rule ?(\w*):$.*?runtime=growing\((\d+)\)", rules, re.MULTILINE | re.DOTALL
        )
    }
    assert advised["set-resources"].keys() <= asked.keys()
    asked |= {rule: of_rule["runtime"] for rule, of_rule in advised["set-resources"].items()}
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
    groups = [entry.partition("=") for entry in profile["groups"]]
    paper = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text())["experiments"]
    submissions = {
        "run": sum(asked[rule] for rule, _, group in groups if group == "run"),
        "trunk": asked["train_trunk"],
        "tables": len(TABLES) * asked["aggregate"] + asked["claims_of_group"],
        "figures": max(len(experiment["figures"]) for experiment in paper.values()) * asked["figure"],
        "claims": asked["claims"],
    }
    assert {name: minutes for name, minutes in submissions.items() if minutes > 24 * 60} == {}


def test_every_figure_has_a_caption():
    """And the smallest configuration draws each of them."""
    drawn = yaml.safe_load((REPOSITORY / "config" / "smoke.yaml").read_text())["experiments"].values()
    captions = {path.stem for path in (REPOSITORY / "report").glob("*.rst")} - {"any_figure", "claims", "workflow"}
    assert captions == {figure for experiment in drawn for figure in experiment["figures"]}
    assert captions == {path.stem.removeprefix("plot_") for path in SCRIPTS.glob("plot_*.py")}


# The rooms of the library: which of the others each may import. Every room may import the modules beside them.

MODULES_OF_ALL = ("sequences", "ideal_observer", "one_bit_heads", "limits", "environment", "number_texts")
MAY_IMPORT = {
    "configuration": set(),
    "models": set(),
    "storage": set(),
    "training": {"models", "storage"},
    "tables": {"storage"},
    "figures": {"tables", "storage"},
}


def imported_modules(path, library):
    """The modules that a module of the library imports anywhere, by their names from the library's folder on."""
    package = (library.name, *path.parent.relative_to(library).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base = [*base, *(node.module.split(".") if node.module else [])]
            yield from ([*base, alias.name] for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            # The beginning of the name, if the rest is found out only at run time.
            name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            assert isinstance(name, ast.Constant), f"{path}:{node.lineno}: an import that cannot be checked"
            level = len(name.value) - len(name.value.lstrip("."))
            base = package[: len(package) - level + 1] if level else ()
            yield [*base, *name.value.lstrip(".").split(".")]


def forbidden_imports(library):
    """The imports of one room from another that it may not know, as ``module: room``."""
    for path in sorted(library.rglob("*.py")):
        room, *_ = path.relative_to(library).parts
        allowed = {*MODULES_OF_ALL, room} | MAY_IMPORT.get(room, set())
        for names in imported_modules(path, library):
            if names[0] == library.name and (len(names) == 1 or names[1] not in allowed):
                yield f"{path.relative_to(library)}: {'.'.join(names)}"


def test_rooms_import_only_what_they_may_know():
    rooms = {path.name for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)
    assert list(forbidden_imports(LIBRARY)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "from ..storage.cache import read_pickle",
        "from ..storage import cache",
        "from .. import storage",
        "import memorization.storage.cache as cache",
        "from memorization.storage.cache import read_pickle",
        "from memorization import storage",
        "def read(path):\n    from ..storage.cache import read_pickle\n    return read_pickle(path)",
        "if TYPE_CHECKING:\n    from ..training.training import Training",
        "import importlib\nimportlib.import_module('memorization.storage.cache')",
        "from importlib import import_module\nimport_module('..storage.cache', __package__)",
        "from importlib import import_module\nimport_module(f'..storage.{name}', __package__)",
    ],
)
def test_an_import_that_a_room_may_not_make_is_found(wrong, tmp_path):
    library = tmp_path / "memorization"
    good = "import torch\nfrom importlib import import_module\nfrom ..sequences import Stream\n"
    good += "from .learners import build\nfrom . import dam\nimport_module(f'.{name}', __package__)\n"
    for name, text in (("models/gpt.py", good), ("training/loop.py", "from ..models.gpt import build\n")):
        (library / name).parent.mkdir(parents=True)
        (library / name).write_text(text)
    assert list(forbidden_imports(library)) == []
    (library / "models" / "gpt.py").write_text(f"{good}{wrong}\n")
    (found,) = forbidden_imports(library)
    assert found.startswith("models/gpt.py: memorization.")


# The pages.

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
# What docs/add-an-experiment.md tells its reader to write.
OF_THE_READER = {"workflow/scripts/plot_forgetting_by_decay.py", "report/forgetting_by_decay.rst"}


def paths_named(text):
    """The words in backticks, and in code blocks of no language, that have the form of a path."""
    blocks = [block for language, block in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if not language]
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    words = inline + [word for block in blocks for word in re.split(r"[\s,]+", block)]
    path = r"(?:[A-Za-z_.][\w.-]*/)+[\w.-]*|[\w-]+\.(?:py|smk|md|yaml|json|rst|txt|cff|toml|mplstyle)"
    return {word for word in words if re.fullmatch(path, word)}


@pytest.fixture(scope="module")
def known_paths(tmp_path_factory):
    """Every path of the repository, beginning in any folder: `workflow/scripts/train.py`, `scripts/train.py`."""
    folder = copy_repository(tmp_path_factory.mktemp("repository"))
    paths = [path.relative_to(folder).parts for path in folder.rglob("*")]
    return {"/".join(parts[i:]) for parts in paths for i in range(len(parts))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_link_on_a_page_is_there(page, known_paths):
    text = page.read_text()
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}
    assert {link for link in links if not (page.parent / link).exists()} == set()
    # What the workflow makes is named too, and ignored by git.
    made = [line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()]
    named = {
        path
        for path in paths_named(text) - OF_THE_READER
        if not any(fnmatch.fnmatch(path.split("/")[0], pattern) for pattern in made)
    }
    assert {path for path in named if path.strip("/") not in known_paths} == set()


def test_the_readme_names_every_room():
    assert {f"{room}/" for room in MAY_IMPORT} <= paths_named((REPOSITORY / "README.md").read_text())
