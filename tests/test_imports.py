"""A job imports what it uses: a thousand jobs pay for what each of them imports."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import REPOSITORY, resolved_settings

from memorization.configuration.settings import DamSettings, GptSettings

SCRIPTS = REPOSITORY / "workflow" / "scripts"
# The slow ones among the libraries. `torch._dynamo` is PyTorch's compiler, of which sympy is a part.
SLOW = {"matplotlib", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "sympy", "torch", "torch._dynamo"}
IMPORTED = {
    "generate_sequences.py": {"numpy"},
    "train*.py": {"numpy", "torch"},
    "evaluate_validation.py": {"numpy", "torch", "pandas", "pyarrow"},
    "aggregate.py": {"numpy", "pandas", "pyarrow"},
    "check_claims.py": {"numpy", "pandas", "pyarrow"},
    "tell_claims.py": {"numpy", "pandas", "pyarrow"},
    "plot_*.py": {"numpy", "pandas", "pyarrow", "matplotlib"},
}
# Libraries can be imported as late as in the first iteration.
TRAIN = """
import json, sys
from memorization.sequences import generate_sequence_set
for args in json.load(sys.stdin):
    sets = [generate_sequence_set(0, 0, args["K"], args["len_context"])]
    Training(args, sets, [0]).run(args["num_iters"])
"""
SMALL = {"K": 20, "batch_size": 8, "num_iters_per_set": 2, "num_iters_per_epoch": 1, "num_switches": 0, "seed": 0}
TRAINED = [
    resolved_settings(**SMALL, len_context=12),
    resolved_settings(**SMALL, len_context=12, optimizer="adamw"),
    GptSettings(**SMALL, model="gpt", len_context=12, num_heads=2, num_layers=1).resolved(),
    DamSettings(**SMALL, model="dam", N=12, H=4, M=20).resolved(),
]


def imports_of(script):
    """The lines of a script that import something."""
    tree = ast.parse(script.read_text())
    return [ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("scripts", IMPORTED)
def test_a_job_imports_no_slow_library_that_it_does_not_use(scripts):
    lines = [line for script in sorted(SCRIPTS.glob(scripts)) for line in imports_of(script)]
    assert lines
    code = "\n".join(lines) + (TRAIN if scripts == "train*.py" else "")
    code += f"\nimport sys\nprint(*({SLOW!r} & {{*sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=SCRIPTS,
        input=json.dumps(TRAINED),
        capture_output=True,
        text=True,
        # The figures' modules are imported in Jupyter too, whose backend matplotlib may not find.
        env=os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    )
    assert {*done.stdout.split()} == IMPORTED[scripts], done.stderr


# Runs each script in an environment without any of the libraries, and ends it as Python does.
FAIL = """
import runpy, sys
from types import SimpleNamespace
sys.modules.update(dict.fromkeys(sys.argv[1].split()))
sys.path.append(sys.argv[2])
for script, log in zip(sys.argv[3::2], sys.argv[4::2]):
    try:
        runpy.run_path(script, {"snakemake": SimpleNamespace(log=[log])})
    except ImportError:
        sys.excepthook(*sys.exc_info())
"""


def test_an_import_that_fails_ends_a_job_in_one_line_and_the_whole_of_it_is_in_the_log(tmp_path):
    scripts = scripts_of_jobs()
    logs = [tmp_path / f"{script.stem}.log" for script in scripts]
    given = [path for of_script in zip(scripts, logs, strict=True) for path in of_script]
    done = subprocess.run(
        [sys.executable, "-c", FAIL, " ".join(SLOW), SCRIPTS, *given], capture_output=True, text=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) == len(scripts), done.stderr
    for line, script, log in zip(lines, scripts, logs, strict=True):
        (name,) = re.findall(rf"^ModuleNotFoundError: import of (\w+) halted; .* \(more in {log}\)$", line)
        assert name in SLOW
        assert f'File "{script}", line ' in log.read_text() and "Traceback" in log.read_text()


def scripts_of_jobs():
    """The scripts that rules call."""
    scripts = {script for script in SCRIPTS.glob("*.py") if "snakemake.output" in script.read_text()}
    return sorted(scripts | {*SCRIPTS.glob("plot_*.py")})


def test_every_script_of_a_job_says_what_it_imports():
    assert {*scripts_of_jobs()} == {script for scripts in IMPORTED for script in SCRIPTS.glob(scripts)}
