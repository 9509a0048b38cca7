"""The version of a job's code: what the code does, whatever it is called, says of itself or is read by."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

SCRIPTS = REPOSITORY / "workflow" / "scripts"
MODELS = ("one_layer_attention", "gpt", "dam")
OF_MODEL = {
    model: {(script, model) for script in ("train.py", "train_trunk.py", "evaluate_validation.py")}
    for model in MODELS
}
OF_TRANSFORMERS = OF_MODEL["one_layer_attention"] | OF_MODEL["gpt"]
PLOTS = {(path.name, None) for path in SCRIPTS.glob("plot_*.py")}
JOBS = {("generate_sequences.py", None), ("aggregate.py", None), *PLOTS}.union(*OF_MODEL.values())


@pytest.fixture
def scripts(tmp_path):
    """A copy of the scripts and the library, to be changed."""
    return Path(shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__")))


def code_version_of(scripts):
    """The function `code_version` of a copy, which looks at the copy."""
    path = scripts / "memorization" / "storage" / "code_version.py"
    spec = importlib.util.spec_from_file_location("code_version_of_a_copy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.code_version


def versions(scripts):
    code_version = code_version_of(scripts)
    return {job: code_version(*job) for job in JOBS}


@pytest.fixture(scope="module")
def before():
    """The versions of the repository as it is."""
    return versions(SCRIPTS)


def different(before, after):
    return {job for job in before if before[job] != after[job]}


@pytest.mark.parametrize(
    "module, jobs",
    [
        ("train.py", {(script, model) for script, model in JOBS if script == "train.py"}),
        ("memorization/models/dam.py", OF_MODEL["dam"]),
        ("memorization/models/queue_memory.py", OF_MODEL["dam"]),
        ("memorization/models/gpt.py", OF_MODEL["gpt"]),
        ("memorization/models/transformer.py", OF_TRANSFORMERS),
        ("memorization/figures/drawing.py", PLOTS),
        ("memorization/tables/fits.py", {("aggregate.py", None)}),
        ("memorization/storage/__init__.py", JOBS),
        ("memorization/configuration/settings.py", set()),
    ],
)  # fmt: skip
def test_another_line_changes_the_version_of_the_jobs_that_use_it_and_of_no_other(module, jobs, before, scripts):
    with (scripts / module).open("a") as file:
        file.write("\nADDED = 1\n")
    assert different(before, versions(scripts)) == jobs


DATA = [
    path.relative_to(SCRIPTS) for path in (SCRIPTS / "memorization").rglob("*.*") if path.suffix == ".mplstyle"
]


@pytest.mark.parametrize("data", DATA, ids=str)
def test_another_style_sheet_changes_the_version_of_every_figure(data, before, scripts):
    with (scripts / data).open("a") as file:
        file.write("\n# changed\n")
    assert different(before, versions(scripts)) == PLOTS


def test_comments_docstrings_and_layout_change_no_version(before, scripts):
    for path in scripts.rglob("*.py"):
        # The layout and the comments of `ast.unparse` are its own.
        lines = ast.unparse(ast.parse(path.read_text())).replace("\n", "\n\n")
        docstring = re.sub(r'^""".*?"""', "", lines, count=1, flags=re.DOTALL)
        path.write_text(f'"""Another docstring."""\n{docstring}\n"""Of an attribute."""\n# A comment.\n')
    assert versions(scripts) == before


def test_a_moved_and_renamed_module_changes_no_version(before, scripts):
    library = scripts / "memorization"
    (library / "drawn").mkdir()
    (library / "drawn" / "__init__.py").write_text('"""A room of its own."""\n')
    (library / "sequences.py").rename(library / "drawn" / "by_seed.py")
    rewritten = 0
    for path in scripts.rglob("*.py"):
        text = path.read_text()
        new = re.sub(r"from (memorization|\.+)\.?sequences import", place_of_moved, text)
        path.write_text(new)
        rewritten += new != text
    assert rewritten > 2
    assert versions(scripts) == before


def place_of_moved(found):
    """The import of the moved module: ``from memorization.drawn.by_seed import``."""
    package = found[1] if found[1].startswith(".") else "memorization."
    return f"from {package}drawn.by_seed import"


SMALL = {
    "job.py": "from memorization.a import f\nfrom memorization.data import table\nf(table)",
    "memorization/__init__.py": "",
    "memorization/a.py": "from . import b\ndef f(x):\n    return b.g(x)",
    "memorization/b.py": "def g(x):\n    from .a import f\n    return f(x)",
    "memorization/data/__init__.py": "from pathlib import Path\ntable = Path(__file__).with_name('t.csv')",
    "memorization/data/t.csv": "1,2",
    "memorization/data/other.csv": "1,2",
    "memorization/unused.py": "x = 1",
}  # fmt: skip


@pytest.fixture
def small(tmp_path):
    """A script with modules that import each other, a package that has code, and one that reads a file."""
    for name, text in SMALL.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "memorization" / "storage").mkdir()
    shutil.copy(SCRIPTS / "memorization" / "storage" / "code_version.py", tmp_path / "memorization" / "storage")
    return tmp_path


@pytest.mark.parametrize(
    "name, text, counts",
    [
        ("memorization/a.py", "from . import b\ndef f(x):\n    return b.g(x + 1)", True),
        ("memorization/b.py", "def g(x):\n    from .a import f\n    return f(2 * x)", True),
        ("memorization/b.py", "def g(x):\n    from .a import f as other\n    return f(x)", True),
        ("memorization/__init__.py", "import os", True),
        ("memorization/data/t.csv", "1,3", True),
        ("memorization/data/other.csv", "1,3", False),
        ("memorization/unused.py", "x = 2", False),
    ],
)
def test_cyclic_imports_packages_and_the_files_that_a_module_names_count(name, text, counts, small):
    before = code_version_of(small)("job.py")
    (small / name).write_text(text)
    assert (code_version_of(small)("job.py") != before) == counts


PRINT_VERSIONS = """
import sys
sys.path.insert(0, sys.argv[1])
from memorization.storage.code_version import code_version
for job in {jobs!r}:
    print(*job, code_version(*job))
print(code_version("f_strings.py"))
"""


def pythons():
    """The interpreters on this machine that the workflow runs with, by their version."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [sys.executable, *versions.glob("3.*/bin/python")]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in range(11, 20)))
    found = {}
    for candidate in candidates:
        call = [candidate, "-c", "import sys; print(*sys.version_info[:2])"]
        answer = subprocess.run(call, capture_output=True, text=True)
        if answer.returncode == 0 and (version := tuple(map(int, answer.stdout.split()))) >= (3, 11):
            found.setdefault(version, candidate)
    return found


def test_every_python_finds_the_same_versions(scripts):
    interpreters = pythons()
    if len(interpreters) == 1:
        pytest.skip(f"only Python {sys.version.split()[0]} is on this machine")
    # Python 3.12 reads the format of an f-string another way than those before and after it.
    (scripts / "f_strings.py").write_text("f'{1:<{2}}{3!r:^{4}.5}{6=}'")
    call = ["-c", PRINT_VERSIONS.format(jobs=sorted(JOBS, key=str)), scripts]
    printed = {
        version: subprocess.run([python, *call], capture_output=True, text=True, check=True).stdout
        for version, python in interpreters.items()
    }
    assert len(set(printed.values())) == 1, f"other versions under one of the Pythons {[*printed]}"


def test_the_plan_needs_no_library_that_only_jobs_use():
    """Snakemake's own environment has neither NumPy nor PyTorch nor pandas."""
    call = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('numpy', 'torch', 'pandas', 'pyarrow', 'matplotlib', 'scipy')))\n"
        "sys.path.insert(0, 'workflow/scripts')\n"
        "from memorization.configuration import experiments, files, identity, settings, trunks\n"
        "from memorization.storage import code_version, folder_lock\n"
        "from memorization.tables import registry"
    )
    subprocess.run([sys.executable, "-c", call], cwd=REPOSITORY, check=True)


@pytest.mark.parametrize("content", [b"x = 1\nx = = 2\n", b'name = "caf\xe9"\n', b'zero = "\0"\n'])
def test_code_that_is_no_python_is_a_syntax_error_with_its_file(small, content):
    (small / "job.py").write_bytes(content)
    with pytest.raises(SyntaxError) as caught:
        code_version_of(small)("job.py")
    assert caught.value.filename == str(small / "job.py")
