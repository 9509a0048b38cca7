"""The workflow as a whole: what it plans, what it runs again, and that cores change no result."""

import fnmatch
import json
import math
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPOSITORY, copy_repository, snakemake
from later_settings import add_later_settings
from test_imports import IMPORTED

from memorization.configuration.experiments import read_configuration

pytestmark = pytest.mark.slow

OF_ALL = {"K": 30, "batch_size": 16, "num_iters_per_set": 20, "num_iters_per_epoch": 10, "num_held_out": 20}
SMALL = {
    "defaults": {
        "one_layer_attention": OF_ALL | {"len_context": 12, "num_heads": 2, "num_hidden_features": 4},
        "dam": OF_ALL | {"N": 12, "H": 4, "M": 50},
    },
    "experiments": {
        "freeze": {
            "model": "one_layer_attention",
            "num_threads": 2,
            "sweep": {"freeze": ["none", "mlp"]},
            "seeds": 1,
            "figures": ["by_weights"],
        },
        "memory": {"model": "dam", "num_switches": 0, "seeds": 2, "figures": ["by_rank"]},
    },
}
# Every printable character that a folder's name may have, but for braces, and others that could be in the way.
ODD_NAME = "".join(map(chr, range(32, 127))).translate(dict.fromkeys(map(ord, "/{}"))) + "\n\té日"
# Of each experiment one figure, and what it is made from.
TARGETS = ["results/freeze/by_weights.png", "results/memory/by_rank.png"]
TRUNKS = "_trunks"
OF_A_RUN = ["generate_sequences", "train", "evaluate_validation"]


def write_config(folder, **changed):
    """Write config/config.yaml, with some keys of some experiments changed."""
    experiments = SMALL["experiments"]
    changed = {group: experiments[group] | keys for group, keys in changed.items()}
    config = SMALL | {"experiments": experiments | changed}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))


def planned(folder, *arguments):
    """How many jobs of each rule a dry run plans, by the experiment that they belong to."""
    return planned_jobs(snakemake(folder, "-n", *(arguments or TARGETS)).stdout)


def planned_jobs(output):
    """The same from what a dry run printed."""
    jobs = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    wildcards: (?:group=)?(\w+)", output, re.MULTILINE)
    if not jobs:
        assert "Nothing to be done" in output
    groups = {TRUNKS if group == "trunk" else group for _, group in jobs}
    return {
        group: dict(Counter(rule for rule, of in jobs if (TRUNKS if of == "trunk" else of) == group))
        for group in groups
    }


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A repository in which the small configuration has been run; no test changes it."""
    folder = copy_repository(tmp_path_factory.mktemp("ran") / ODD_NAME)
    write_config(folder)
    printed = snakemake(folder, "--cores", "2", "--verbose", *TARGETS).stderr
    (folder / "printed").write_text(printed)
    return folder


@pytest.fixture
def copy(ran, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(ran, tmp_path / "copy")


def number_of_runs(experiment):
    """How many runs an entry of a configuration is, its conditions being different."""
    swept = experiment.get("sweep", {})
    conditions = [swept | condition.get("sweep", {}) for condition in experiment.get("conditions", [{}])]
    return experiment["seeds"] * sum(math.prod(map(len, condition.values())) for condition in conditions)


def test_every_run_of_the_laptops_configuration_is_planned():
    experiments = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())["experiments"]
    printed = snakemake(REPOSITORY, "-n", "--forceall", "--configfile", "config/config.yaml")
    jobs = planned_jobs(printed.stdout)
    for group, experiment in experiments.items():
        assert [jobs[group][rule] for rule in OF_A_RUN] == [number_of_runs(experiment)] * 3
        plots = {f"plot_{figure}" for figure in experiment["figures"]}
        assert {rule for rule in jobs[group] if rule.startswith("plot_")} == plots
    # Before and after the jobs.
    (total,) = {*re.findall(r"^total +(\d+)$", printed.stdout, re.MULTILINE)}
    last = printed.stderr.splitlines()[-1]
    assert last.startswith(
        f"the whole configuration: {total} jobs, {sum(map(number_of_runs, experiments.values()))} runs"
    )


def test_jobs_of_gpt_alone_ask_for_a_gpu_at_the_reference_scale():
    call = ("-n", "--forceall", "plasticity", "--configfile", "config/paper.yaml", "--config")
    output = snakemake(REPOSITORY, *call, "experiments={'plasticity': {'seeds': 1}}").stdout
    models, rules = ("one_layer_attention", "gpt", "dam"), ("train_trunk", "train", "evaluate_validation")
    asked = re.findall(
        rf"^rule ({'|'.join(rules)}):\n(?:    .*\n)*?    wildcards: .*\b(?:run|trunk)=({'|'.join(models)})_"
        r".*\n(?:    .*\n)*?    resources: .*\bgpu=(\d)",
        output,
        re.MULTILINE,
    )
    assert {*asked} == {(rule, model, "1" if model == "gpt" else "0") for rule in rules for model in models}


def test_paper_is_the_reference_scale():
    config = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text())
    settings = config["defaults"]["one_layer_attention"]
    assert (settings["K"], settings["len_context"], settings["batch_size"]) == (100_000, 100, 256)
    assert settings["num_hidden_features"] == 8
    assert max(config["experiments"]["swap_size"]["conditions"][0]["sweep"]["num_heads"]) == 20
    gpt = config["defaults"]["gpt"]
    assert (gpt["num_heads"], gpt["num_layers"], gpt["num_hidden_features"], float(gpt["lr"])) == (8, 12, 8, 1e-4)
    assert min(experiment["seeds"] for experiment in config["experiments"].values()) == 8


def test_every_file_is_where_it_belongs(ran):
    name = "one_layer_attention_freeze_mlp_seed_0"
    files = {path.name for path in (ran / "cache" / "freeze" / name).iterdir()}
    endings = ["_sequences.pkl", ".pkl", "_evaluation.parquet", "_epochs.parquet", "_positions.parquet"]
    assert files >= {name + ending for ending in endings}
    assert all(file.startswith(name) for file in files)
    assert not [*ran.rglob("*.checkpoint.pkl"), *ran.rglob("*.attempts")]
    made = {f"by_weights.{suffix}" for suffix in ("parquet", "csv", "pdf", "png")}
    results = {path.name for path in (ran / "results" / "freeze").iterdir() if path.is_file()}
    assert results == made | {f"{name}.provenance.json" for name in made}
    # The two runs differ after the switch alone.
    assert len(list((ran / "cache" / "_trunks").glob("*/*.pkl"))) == 1


def test_tables_are_recomputed_from_the_evaluations(ran):
    evaluations = [
        pd.read_parquet(path).query("weights == 'final'")
        for path in sorted((ran / "cache" / "memory").glob("*/*_evaluation.parquet"))
    ]
    table = pd.read_parquet(ran / "results" / "memory" / "by_rank.parquet")
    of_set = table.query("weights == 'final' and sequence_set == 0")
    assert len(evaluations) == 2 and len(of_set) > 1
    for row in of_set.itertuples():
        ranks = f"sequence_set == 0 and {row.rank_low} <= sequence_rank <= {row.rank_high}"
        means = [evaluation.query(ranks)["loss"].mean() for evaluation in evaluations]
        assert row.loss_mean == pytest.approx(sum(means) / 2, abs=1e-6)
    printed = pd.read_csv(ran / "results" / "memory" / "by_rank.csv")
    assert printed["accuracy_mean"].tolist() == pytest.approx(table["accuracy_mean"].tolist(), rel=1e-5)


def test_logs_tell_the_progress_with_an_eta_in_plain_lines(ran):
    run = ran / "cache" / "freeze" / "one_layer_attention_freeze_none_seed_0"
    log = (run / f"{run.name}.log").read_text()
    assert re.search(r"100%\|#+\| 20/20 \[\d\d:\d\d<00:00", log)
    assert "iteration 30, set 1: train loss" in log
    assert "\r" not in log


def test_logs_tell_the_cpu_time_of_training_and_evaluation(ran):
    run = ran / "cache" / "memory" / "dam_seed_0" / "dam_seed_0"
    for log, what in ((".log", "training"), ("_evaluation.log", "evaluation")):
        assert re.search(rf" {what} took \d+\.\d+ s of CPU time\n", run.with_name(run.name + log).read_text())


def test_the_log_of_a_figure_has_nothing_to_say_of_its_fonts(ran):
    """Otherwise a warning would drown in it."""
    assert (ran / "results" / "freeze" / "logs" / "by_weights_figure.log").read_text() == ""


def test_snakemake_looks_for_a_job_to_start_only_when_one_has_ended(ran):
    """Otherwise it would look ever more often, hundreds of times a second late in a run of `make figures`."""
    printed = (ran / "printed").read_text()
    ended = printed.count("\nFinished jobid: ")
    assert ended > 10
    assert printed.count("Ready jobs: ") <= ended + 1


def test_the_readme_reads_a_pickle_as_it_says(ran):
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    code += "\nprint(sequences['switch_start_iter'], data['args']['freeze'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ran / "workflow" / "scripts", capture_output=True, text=True
    )
    assert done.stdout == "[0, 20] none\n", done.stderr


def test_the_readme_reads_a_run_of_the_laptops_configuration():
    config = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    figures = {path.stem.removeprefix("plot_"): () for path in (REPOSITORY / "workflow/scripts").glob("plot_*.py")}
    names = {(run.group, run.name) for run in read_configuration(config, figures).runs}
    readme = (REPOSITORY / "README.md").read_text()
    (group,) = re.findall(r'os.chdir\("../../cache/(\w+)"\)', readme)
    (name,) = re.findall(r'dir_name = "(\w+)"', readme)
    assert (group, name) in names


def test_the_last_lines_of_a_plan_say_what_the_configuration_asks_for(ran):
    saved, whole = snakemake(ran, "-n", *TARGETS).stderr.splitlines()[-2:]
    assert saved == "2 runs share 1 trunks: 100 iterations of training in place of 120, 17% saved"
    tables = [path for path in (ran / "cache").rglob("*.parquet")]
    rows = sum(pq.read_metadata(path).num_rows for path in tables)
    size = sum(path.stat().st_size for path in (ran / "cache").rglob("*") if path.is_file()) / 1e9
    said = re.fullmatch(
        r"the whole configuration: (\d+) jobs, 4 runs, 100 iterations of training, (\d+) rows of tables, "
        r"([\d.]+) GB in the cache, at most ([\d.]+) GB while it runs, about ([\d.]+) core hours without a GPU",
        whole,
    )
    # Most of it is the start of the jobs, which the plan counts as 3 seconds a run and 1.2 a trunk.
    assert (4 * 3 + 1.2) / 3600 < float(said[5]) < 1.2 * (4 * 3 + 1.2) / 3600
    # A few pairs of bits are in none of the few held-out sequences.
    assert rows <= int(said[2]) < 1.05 * rows
    assert size / 1.3 < float(said[3]) < 1.3 * size
    # While it runs, a checkpoint is there for each run and each trunk.
    assert float(said[3]) < float(said[4]) < 2 * float(said[3])


def test_the_plan_is_said_once_and_not_where_it_is_in_the_way(ran):
    assert "whole configuration" not in (quiet := snakemake(ran, "-n", *TARGETS, "-q")).stdout + quiet.stderr
    dag = snakemake(ran, *TARGETS, "--dag")
    assert dag.stdout.startswith("digraph") and dag.stderr.count("whole configuration") == 1
    # Jobs, which read the same Snakefile, say nothing of it.
    assert (ran / "printed").read_text().count("whole configuration") == 1


def test_another_lr_trains_again_and_a_switch_more_goes_on_from_the_same_trunk(copy):
    write_config(copy, memory={"lr": 1e-3}, freeze={"num_switches": 2})
    assert planned(copy) == {
        "memory": {"train": 2, "evaluate_validation": 2, "aggregate": 2, "plot_by_rank": 1},
        "freeze": dict.fromkeys(OF_A_RUN, 2) | {"aggregate": 1, "plot_by_weights": 1},
    }


def test_settings_that_change_places_make_other_sequences_and_more_held_out_ones_are_only_evaluated(copy):
    write_config(copy, memory={"K": 12, "N": 30}, freeze={"num_held_out": 30})
    assert planned(copy) == {
        "memory": dict.fromkeys(OF_A_RUN, 2) | {"aggregate": 2, "plot_by_rank": 1},
        "freeze": {"evaluate_validation": 2, "aggregate": 1, "plot_by_weights": 1},
    }


def test_one_more_seed_trains_one_more_run_and_one_more_figure_is_drawn(copy):
    write_config(copy, memory={"seeds": 3}, freeze={"figures": ["by_weights", "by_rank"]})
    assert planned(copy, *TARGETS, "results/freeze/by_rank.png") == {
        "memory": dict.fromkeys(OF_A_RUN, 1) | {"aggregate": 2, "plot_by_rank": 1},
        "freeze": {"aggregate": 1, "plot_by_rank": 1},
    }


def add_a_line(folder, script):
    with (folder / "workflow" / "scripts" / script).open("a") as file:
        file.write("\nADDED = 1\n")


def test_a_changed_model_trains_its_runs_again_and_a_changed_look_draws_all_figures_again(copy):
    add_a_line(copy, "memorization/models/dam.py")
    add_a_line(copy, "memorization/figures/drawing.py")
    assert planned(copy) == {
        "memory": {"train": 2, "evaluate_validation": 2, "aggregate": 2, "plot_by_rank": 1},
        "freeze": {"plot_by_weights": 1},
    }


def test_the_content_of_a_script_decides_and_not_its_date(copy):
    script = copy / "workflow" / "scripts" / "train.py"
    before = script.read_text()
    add_a_line(copy, "train.py")
    jobs = planned(copy)
    assert {group: jobs[group]["train"] for group in jobs} == {"memory": 2, "freeze": 2}
    # Back to what was run, as when one branch is left for another and taken up again. All files of the repository
    # are newer, and so is a result.
    script.write_text(before)
    made = {"cache", "results", ".snakemake"}
    for path in copy.rglob("*"):
        if not made & {*path.relative_to(copy).parts}:
            os.utime(path)
    os.utime(next((copy / "cache" / "memory").glob("*/*_sequences.pkl")))
    assert planned(copy) == {}
    # A cluster's profile changes nothing of it.
    assert planned(copy, "--profile", "profiles/slurm", *TARGETS) == {}


def test_a_new_setting_computes_nothing_again_and_is_known_to_every_job(copy):
    add_later_settings(copy / "workflow" / "scripts")
    assert planned(copy) == {}
    # Another value is another run, beside those at the neutral value.
    write_config(copy, memory={"conditions": [{}, {"momentum": 0.5}]})
    assert planned(copy) == {
        "memory": dict.fromkeys(OF_A_RUN, 2) | {"aggregate": 2, "plot_by_rank": 1},
    }
    old, new = (copy / "cache" / "memory" / name for name in ("dam_seed_0", "dam_momentum_0.5_seed_0"))
    pickled, evaluation = new / f"{new.name}.pkl", old / f"{old.name}_evaluation.parquet"
    before = evaluation.read_bytes()
    snakemake(copy, "--cores", "2", "--force", *(path.relative_to(copy) for path in (pickled, evaluation)))
    assert pickle.loads(pickled.read_bytes())["args"]["momentum"] == 0.5
    # A pickle that is older than the setting is read with the neutral value.
    assert evaluation.read_bytes() == before
    settings = json.loads((evaluation.with_name(f"{evaluation.name}.provenance.json")).read_text())["params"]
    assert settings["settings"]["momentum"] == 0
    assert settings["identity"] == {"num_held_out": 20}


def test_the_number_of_cores_the_folder_and_the_callers_shell_change_no_byte(ran, copy, tmp_path):
    """The variables are those that changed bytes or failed the figures."""
    settings = tmp_path / "home" / ".config" / "matplotlib" / "matplotlibrc"
    settings.parent.mkdir(parents=True)
    settings.write_text("text.usetex: True\nfont.size: 30\nbackend: Qt4Agg\n")
    (tmp_path / "not_text").write_bytes(b"\xff\xfe")
    (tmp_path / "another_clone" / "memorization").mkdir(parents=True)
    (tmp_path / "another_clone" / "memorization" / "__init__.py").write_text("raise SystemExit('another clone')")
    (tmp_path / "of_every_shell").write_text("export OMP_THREAD_LIMIT=1\n")
    of_a_shell = {
        "BASH_ENV": f"{tmp_path}/of_every_shell",
        "HOME": f"{tmp_path}/home",
        "LC_ALL": "C",
        "MATPLOTLIBRC": f"{tmp_path}/not_text",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_DYNAMIC": "true",
        "OMP_THREAD_LIMIT": "1",
        "PYTHONPATH": f"{tmp_path}/another_clone",
        "SOURCE_DATE_EPOCH": "1",
        "TMPDIR": "/nowhere",
        "TQDM_MININTERVAL": "x",
        "TZ": "Pacific/Auckland",
    }
    run = "cache/freeze/one_layer_attention_freeze_mlp_seed_0/one_layer_attention_freeze_mlp_seed_0"
    of_run = [f"{run}{ending}" for ending in ("_sequences.pkl", ".pkl", "_evaluation.parquet")]
    made = [*of_run, *(f"results/freeze/by_weights.{suffix}" for suffix in ("parquet", "csv", "png", "pdf"))]
    for path in made:
        (copy / path).unlink()
    snakemake(copy, "--cores", "1", *made, **of_a_shell)
    for path in made:
        assert (copy / path).read_bytes() == (ran / path).read_bytes(), path


def names_of_pins(record):
    """The libraries whose pins the parameters of a job have."""
    return {pin.split("==")[0] for pin in record["params"]["pins"].split()}


def test_a_result_depends_on_the_pins_of_the_libraries_that_its_job_imports(ran):
    records = [json.loads(path.read_text()) for path in ran.glob("*/**/*.provenance.json")]
    of_rules = {record["rule"]: names_of_pins(record) for record in records}
    assert len(of_rules) >= 6
    for rule, pinned in of_rules.items():
        (imported,) = {tuple(of) for script, of in IMPORTED.items() if fnmatch.fnmatch(f"{rule}.py", script)}
        assert pinned >= {*imported}, rule


# What a plan with --use-conda asks conda.
CONDA_OF_PLANS = """#!/bin/sh
case "$*" in
    "info --json") echo '{"conda_prefix": "/none", "platform": "linux-64"}';;
    "--version") echo "conda 26.7.1";;
    "config --get channel_priority --json") echo '{"get": {"channel_priority": "strict"}}';;
    *) exit 1;;
esac
"""


def test_another_environment_with_the_same_pins_computes_nothing_again(copy, tmp_path, monkeypatch):
    """Only plans: `conda` is one that answers their questions, and makes no environment."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "conda").write_text(CONDA_OF_PLANS)
    (tmp_path / "bin" / "conda").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for path in (copy / "envs").glob("*.yaml"):
        path.write_text(f"# Another comment.\n{path.read_text()}")
    assert planned(copy, "--use-conda", "--conda-prefix", tmp_path / "elsewhere", *TARGETS) == {}
    tables = copy / "envs" / "tables.yaml"
    tables.write_text(re.sub(r"(matplotlib==).*", r"\g<1>1.0", tables.read_text()))
    assert planned(copy) == {"freeze": {"plot_by_weights": 1}, "memory": {"plot_by_rank": 1}}


@pytest.mark.skipif(
    not shutil.which("conda"), reason="no `conda` command: no environment of envs/ is made, and no job runs in one"
)
def test_jobs_in_conda_environments_make_the_same_bytes(ran, copy, tmp_path):
    made = [path.relative_to(ran) for path in ran.glob("*/memory/**/*.p*") if path.is_file()]
    made = [path for path in made if path.suffix in (".pkl", ".parquet", ".png", ".pdf")]
    assert len(made) > 10
    for path in made:
        (copy / path).unlink()
    snakemake(copy, "--cores", "1", "--use-conda", "--conda-prefix", tmp_path / "environments", TARGETS[1])
    for path in made:
        assert (copy / path).read_bytes() == (ran / path).read_bytes(), path
    assert planned(copy) == {}


def test_a_mistake_in_the_code_of_a_job_is_told_in_one_line_before_any_job(copy):
    scripts = copy / "workflow" / "scripts"
    # An editor's and a file system's own files are no code: a link to nothing, and bytes.
    (scripts / ".#train.py").symlink_to("me@here.1234")
    (scripts / "._train.py").write_bytes(b"\0\5\x16\7\xff")
    module = scripts / "memorization" / "models" / "dam.py"
    module.write_text(module.read_text() + "\ndef (")
    result = snakemake(copy, "-n", *TARGETS, check=False)
    line = len(module.read_text().splitlines())
    assert result.stderr.splitlines()[-1] == f"{module}: line {line}: invalid syntax"
    assert result.returncode != 0


def test_a_job_that_fails_says_why_in_one_line_and_in_its_log(copy):
    write_config(copy, memory={"device": "cuda"})
    run = copy / "cache" / "memory" / "dam_seed_0" / "dam_seed_0"
    result = snakemake(copy, "--cores", "2", f"{run.relative_to(copy)}.pkl", check=False)
    assert result.returncode != 0
    said = "RuntimeError: device: cuda is not to be found on this machine; set device to cpu"
    assert any(line.startswith(said) for line in result.stderr.splitlines())
    assert said in run.with_suffix(".log").read_text()


OUTER = """
MEMORY = {memory}

module memorization:
    snakefile: "clone/Snakefile"
    prefix: "memory"
    config: MEMORY

module other_seeds:
    snakefile: "clone/Snakefile"
    prefix: "others"
    config: MEMORY | {{"first_seed": 100}}

use rule * from memorization as memorization_*
use rule * from other_seeds as other_*

rule number_of_rows:
    default_target: True
    input:
        "memory/results/memory/by_rank.csv",
        rules.memorization_memory.input,
    output:
        "rows.txt",
    shell:
        "wc -l < {{input[0]}} > {{output}}"
"""


def test_the_workflow_is_a_module_of_another_with_its_own_folder_configuration_and_files(tmp_path):
    """In folders whose names have every character that a configuration may give."""
    odd = "".join(map(chr, range(33, 127))).translate(dict.fromkeys(map(ord, "/*?{}<>~$:"))) + "é日"
    memory = SMALL["experiments"]["memory"] | {"num_switches": 1, "seeds": 1}
    given = SMALL | {"experiments": {"memory": memory}, "cache_dir": f"cache/{odd}", "checkpoint_seconds": 7}
    copy_repository(tmp_path / "clone")
    (tmp_path / "Snakefile").write_text(OUTER.format(memory=repr(given)))
    printed = snakemake(tmp_path, "--cores", "2")
    assert int((tmp_path / "rows.txt").read_text()) > 1
    assert {path.name for path in tmp_path.iterdir()} >= {"memory", "clone"}
    assert not {"cache", "results"} & {
        path.name for folder in (tmp_path, tmp_path / "clone") for path in folder.iterdir()
    }
    (trained,) = (tmp_path / "memory" / "cache" / odd / "memory").glob("*/dam_seed_0.pkl")
    assert pickle.loads(trained.read_bytes())["args"]["K"] == OF_ALL["K"]
    assert "whole configuration" in printed.stderr
    # Without a handler `onsuccess`, which Snakemake does not call in a module.
    assert not [*tmp_path.rglob("*.checkpoint.pkl"), *tmp_path.rglob("*.attempts")]
    # The second module has its own seeds and its own files.
    plan = snakemake(tmp_path, "-n", "other_memory").stdout
    assert "others/cache/" in plan and "dam_seed_100.pkl" in plan


@pytest.mark.parametrize(
    "config, expected",
    [
        ('config: {"experiments": {"a": {"model": "dma", "seeds": 1}}}', "experiments.a.model: "),
        ("", "config/config.yaml: No such file or directory"),
    ],
    ids=["a mistake", "no configuration"],
)
def test_a_module_with_a_wrong_configuration_says_so_in_one_line(config, expected, tmp_path):
    text = f'module a:\n    snakefile: "{REPOSITORY}/Snakefile"\n    {config}\nuse rule * from a as a_*\n'
    (tmp_path / "Snakefile").write_text(text)
    result = snakemake(tmp_path, "-n", check=False)
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and line.startswith(expected)


def test_modules_of_two_clones_do_not_share_the_library_of_one(tmp_path):
    copy_repository(tmp_path / "clone")
    paths = {"a": REPOSITORY / "Snakefile", "b": tmp_path / "clone" / "Snakefile"}
    modules = [
        f'module {name}:\n    snakefile: "{path}"\n    prefix: "{name}"\n    config: {SMALL!r}\n'
        f"use rule * from {name} as {name}_*\n"
        for name, path in paths.items()
    ]
    (tmp_path / "Snakefile").write_text("\n".join(modules))
    result = snakemake(tmp_path, "-n", check=False)
    (line,) = [line for line in result.stderr.splitlines() if "clone" in line]
    assert result.returncode == 1 and line.startswith(f"{tmp_path / 'clone'}: ")
