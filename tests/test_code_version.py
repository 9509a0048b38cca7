"""Which code a rule depends on: found from the imports, without comments."""

import subprocess
import sys

import pytest
from conftest import REPOSITORY, copy_repository

JOBS = [
    ("generate_sequences.py", None),
    ("aggregate.py", None),
    ("plot_by_epoch.py", None),
    *((script, model) for script in ("train.py", "train_trunk.py", "evaluate_validation.py")
      for model in ("one_layer_attention", "gpt", "dam")),
]  # fmt: skip
CALL = (
    "import sys; sys.path.insert(0, 'workflow/scripts')\n"
    "from memorization.storage.code_version import code_version\n"
    f"print(*(code_version(*job) for job in {JOBS!r}))"
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("repository"))


def versions(folder):
    printed = subprocess.run([sys.executable, "-c", CALL], cwd=folder, capture_output=True, text=True, check=True)
    return dict(zip(JOBS, printed.stdout.split(), strict=True))


def changed_by(folder, module, old, new):
    """The jobs whose version another line in a module of the library changes."""
    path = folder / "workflow" / "scripts" / "memorization" / module
    text, before = path.read_text(), versions(folder)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    after = versions(folder)
    path.write_text(text)
    return {job for job in JOBS if before[job] != after[job]}


OF_MODEL = {
    model: {(script, model) for script in ("train.py", "train_trunk.py", "evaluate_validation.py")}
    for model in ("one_layer_attention", "gpt", "dam")
}
OF_TRANSFORMERS = OF_MODEL["one_layer_attention"] | OF_MODEL["gpt"]


@pytest.mark.parametrize(
    "module, old, new, expected",
    [
        ("dam.py", "LOGITS_STD = 0.1", "LOGITS_STD = 0.2", OF_MODEL["dam"]),
        ("queue_memory.py", "self.size = 0", "self.size = 0 + 0", OF_MODEL["dam"]),
        ("gpt.py", "4 * C, C)", "4 * C, C, True)", OF_MODEL["gpt"]),
        ("transformer.py", "WEIGHT_STD = 0.02", "WEIGHT_STD = 0.03", OF_TRANSFORMERS),
        ("drawing.py", '"savefig.dpi": 200', '"savefig.dpi": 100', {("plot_by_epoch.py", None)}),
        ("fits.py", "LARGEST_EXPONENT = 20.0", "LARGEST_EXPONENT = 10.0", {("aggregate.py", None)}),
        ("settings.py", "le=10_000", "le=20_000", set()),
    ],
)  # fmt: skip
def test_a_changed_line_changes_the_version_of_the_jobs_that_use_it_and_of_no_other(
    module, old, new, expected, repository
):
    assert changed_by(repository, module, old, new) == expected


@pytest.mark.parametrize(
    "module, old, new",
    [
        ("dam.py", "# Added, not filled in", "# Is added, and not filled in"),
        ("training.py", '"""Return the content', '"""Give the content'),
        ("learners.py", '"""The kinds of swapped weights', '"""The sorts of swapped weights'),
        ("tables.py", '"""Which of a run', '"""From which of a run'),
        ("dam.py", "LOGITS_STD = 0.1\n", "LOGITS_STD = 0.1  # small\n\n"),
    ],
)
def test_comments_docstrings_and_layout_change_no_version(module, old, new, repository):
    assert changed_by(repository, module, old, new) == set()


def test_the_plan_needs_no_library_that_only_jobs_use():
    """Snakemake's own environment has neither NumPy nor PyTorch nor pandas."""
    call = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('numpy', 'torch', 'pandas', 'pyarrow', 'matplotlib', 'scipy')))\n"
        "sys.path.insert(0, 'workflow/scripts')\n"
        "from memorization.configuration import experiments, settings\n"
        "from memorization.storage import code_version, folder_lock\n"
        "from memorization.tables import registry"
    )
    subprocess.run([sys.executable, "-c", call], cwd=REPOSITORY, check=True)
