"""A job imports what it uses: a thousand jobs pay for what each of them imports."""

import ast
import json
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
        [sys.executable, "-c", code], cwd=SCRIPTS, input=json.dumps(TRAINED), capture_output=True, text=True
    )
    assert {*done.stdout.split()} == IMPORTED[scripts], done.stderr


def test_every_script_of_a_job_says_what_it_imports():
    jobs = {script for script in SCRIPTS.glob("*.py") if "snakemake.output" in script.read_text()}
    jobs |= {*SCRIPTS.glob("plot_*.py")}
    assert jobs == {script for scripts in IMPORTED for script in SCRIPTS.glob(scripts)}
