"""The workflow as a whole: what it plans, what it runs again, and that cores change no result."""

import math
import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, copy_repository, snakemake

from memorization.configuration.experiments import read_configuration
from memorization.storage.code_version import code_version

pytestmark = pytest.mark.slow

SMALL = {
    "defaults": {
        "one_layer_attention": {
            "K": 30,
            "len_context": 12,
            "num_heads": 2,
            "num_hidden_features": 4,
            "batch_size": 16,
            "num_iters_per_set": 20,
            "num_iters_per_epoch": 10,
            "num_held_out": 20,
        }
    },
    "experiments": {
        "freeze": {
            "model": "one_layer_attention",
            "sweep": {"freeze": ["none", "mlp"]},
            "seeds": 1,
            "figures": ["by_epoch", "by_weights"],
        },
        "two": {"model": "one_layer_attention", "num_threads": 2, "seeds": 2, "figures": ["by_rank"]},
    },
}
STAGES = ["generate_sequences", "train", "evaluate_validation"]


def write_config(folder, config=SMALL, **changed_of_two):
    """Write config/config.yaml, with some settings of the second experiment changed."""
    experiments = config["experiments"]
    config = config | {"experiments": experiments | {"two": experiments["two"] | changed_of_two}}
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))


def planned(folder, *arguments):
    """How many jobs of each rule a dry run plans."""
    output = snakemake(folder, "-n", *arguments).stdout
    table = re.search(r"job +count\n[- ]+\n(.*?)\n\n", output, re.DOTALL)
    if table is None:
        assert "Nothing to be done" in output
        return {}
    rows = (line.split() for line in table[1].splitlines())
    return {rule: int(count) for rule, count in rows if rule not in ("total", "all")}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A repository in which the small configuration has been run."""
    folder = copy_repository(tmp_path_factory.mktemp("ran"))
    write_config(folder)
    snakemake(folder, "--cores", "2")
    return folder


@pytest.fixture
def ran_again(ran):
    """The same, put back to its configuration and code afterwards."""
    library = ran / "workflow" / "scripts"
    before = {path: path.read_text() for path in library.rglob("*.py")}
    yield ran
    for path, text in before.items():
        if path.read_text() != text:
            path.write_text(text)
    write_config(ran)


def number_of_runs(experiment):
    """How many runs an entry of a configuration is, its conditions being different."""
    swept = experiment.get("sweep", {})
    conditions = [swept | condition.get("sweep", {}) for condition in experiment.get("conditions", [{}])]
    return experiment["seeds"] * sum(math.prod(map(len, condition.values())) for condition in conditions)


@pytest.mark.parametrize("name", ["config", "smoke", "paper"])
def test_every_configuration_of_the_repository_is_planned(name, tmp_path):
    folder = copy_repository(tmp_path)
    config = yaml.safe_load((folder / "config" / f"{name}.yaml").read_text())
    jobs = planned(folder, "--configfile", f"config/{name}.yaml")
    assert [jobs[stage] for stage in STAGES] == [sum(map(number_of_runs, config["experiments"].values()))] * 3
    assert not (folder / config.get("cache_dir", "cache")).exists()


def test_paper_is_the_reference_scale():
    config = yaml.safe_load((REPOSITORY / "config" / "paper.yaml").read_text())
    settings = config["defaults"]["one_layer_attention"]
    assert (settings["K"], settings["len_context"], settings["batch_size"]) == (100_000, 100, 256)
    assert settings["num_hidden_features"] == 8
    assert max(config["experiments"]["swap_size"]["conditions"][0]["sweep"]["num_heads"]) == 20
    gpt = config["defaults"]["gpt"]
    assert (gpt["num_heads"], gpt["num_layers"], gpt["num_hidden_features"], float(gpt["lr"])) == (8, 12, 8, 1e-4)
    assert {experiment["seeds"] for experiment in config["experiments"].values()} == {5}


def test_every_file_is_where_it_belongs(ran):
    name = "one_layer_attention_freeze_mlp_seed_0"
    files = {path.name for path in (ran / "cache" / "freeze" / name).iterdir()}
    endings = ["_sequences.pkl", ".pkl", "_evaluation.parquet", "_epochs.parquet", "_positions.parquet"]
    assert files >= {name + ending for ending in endings}
    assert all(file.startswith(name) for file in files)
    results = {path.name for path in (ran / "results" / "freeze").iterdir() if path.is_file()}
    tables = [
        f"{table}.{suffix}"
        for table in ("by_epoch", "by_rank", "by_appearances", "by_weights")
        for suffix in ("parquet", "csv")
    ]
    figures = [f"{figure}.{suffix}" for figure in ("by_epoch", "by_weights") for suffix in ("pdf", "png")]
    made = {*tables, *figures}
    assert results == made | {f"{name}.provenance.json" for name in made}


def test_each_figure_is_drawn_by_its_own_script(ran):
    first, second = (ran / "results" / "freeze" / f"{name}.png" for name in ("by_epoch", "by_weights"))
    assert first.read_bytes() != second.read_bytes()


def test_tables_are_recomputed_from_the_evaluations(ran):
    paths = sorted((ran / "cache" / "two").glob("*/*_evaluation.parquet"))
    assert len(paths) == 2
    evaluations = [pd.read_parquet(path) for path in paths]
    table = pd.read_parquet(ran / "results" / "two" / "by_weights.parquet")
    for row in table.itertuples():
        means = [
            e.loc[(e["weights"] == row.weights) & (e["sequence_set"] == row.sequence_set), "loss"].mean()
            for e in evaluations
        ]
        assert row.loss_mean == pytest.approx(sum(means) / 2, abs=1e-6)
    printed = pd.read_csv(ran / "results" / "two" / "by_weights.csv")
    assert printed["accuracy_mean"].tolist() == pytest.approx(table["accuracy_mean"].tolist(), rel=1e-5)


def test_logs_tell_the_progress_with_an_eta_in_plain_lines(ran):
    run = ran / "cache" / "freeze" / "one_layer_attention_freeze_none_seed_0"
    log = (run / f"{run.name}.log").read_text()
    assert re.search(r"100%\|#+\| 20/20 \[\d\d:\d\d<00:00", log)
    assert "iteration 30, set 1: train loss" in log
    assert "\r" not in log


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


def test_nothing_is_run_again_when_nothing_changed(ran):
    assert planned(ran) == {}


def test_another_lr_runs_only_its_experiment_again(ran_again):
    write_config(ran_again, lr=1e-2)
    jobs = planned(ran_again)
    assert jobs == {"train_trunk": 2, "train": 2, "evaluate_validation": 2, "aggregate": 4, "plot_by_rank": 1}


def test_other_sequences_run_their_experiment_again_from_the_start(ran_again):
    write_config(ran_again, K=31)
    jobs = planned(ran_again)
    assert jobs == dict.fromkeys(STAGES, 2) | {"train_trunk": 2, "aggregate": 4, "plot_by_rank": 1}


def test_one_more_seed_trains_one_more_run(ran_again):
    write_config(ran_again, seeds=3)
    jobs = planned(ran_again)
    assert jobs == dict.fromkeys(STAGES, 1) | {"train_trunk": 1, "aggregate": 4, "plot_by_rank": 1}


def test_a_switch_more_goes_on_from_the_same_trunk(ran_again):
    write_config(ran_again, num_switches=2)
    jobs = planned(ran_again)
    assert jobs == dict.fromkeys(STAGES, 2) | {"aggregate": 4, "plot_by_rank": 1}


def test_more_held_out_sequences_are_only_evaluated(ran_again):
    write_config(ran_again, num_held_out=30)
    assert planned(ran_again) == {"evaluate_validation": 2, "aggregate": 4, "plot_by_rank": 1}


def test_runs_that_differ_after_the_switch_share_a_trunk_and_the_plan_says_so(ran):
    assert len(list((ran / "cache" / "_trunks").glob("*/*.pkl"))) == 3
    said = "4 runs share 3 trunks: 140 iterations of training in place of 160, 12% saved"
    assert said in snakemake(ran, "-n").stderr.splitlines()


def test_one_more_figure_draws_one_more_figure(ran_again):
    write_config(ran_again, figures=["by_rank", "by_appearances"])
    assert planned(ran_again) == {"plot_by_appearances": 1}


def change_library(folder, module, old, new):
    path = folder / "workflow" / "scripts" / "memorization" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_changed_plots_draw_again_and_compute_nothing(ran_again):
    change_library(ran_again, "drawing.py", '"savefig.dpi": 200', '"savefig.dpi": 100')
    assert planned(ran_again) == {"plot_by_epoch": 1, "plot_by_weights": 1, "plot_by_rank": 1}


def test_changed_training_trains_again_on_the_same_sequences(ran_again):
    change_library(ran_again, "training.py", "TEST_STRIDE = 10", "TEST_STRIDE = 5")
    jobs = planned(ran_again)
    assert "generate_sequences" not in jobs
    assert (jobs["train_trunk"], jobs["train"]) == (3, 4)


def test_a_changed_dam_runs_the_dam_again_and_nothing_else(ran_again):
    dam = {
        "model": "dam", "K": 30, "N": 12, "H": 4, "M": 50, "batch_size": 16, "num_iters_per_set": 20,
        "num_iters_per_epoch": 10, "num_held_out": 20, "seeds": 1, "figures": ["by_weights"],
    }  # fmt: skip
    write_config(ran_again, SMALL | {"experiments": SMALL["experiments"] | {"memory": dam}})
    snakemake(ran_again, "--cores", "2")
    assert planned(ran_again) == {}
    change_library(ran_again, "dam.py", "LOGITS_STD = 0.1", "LOGITS_STD = 0.2")
    assert planned(ran_again) == {
        "train_trunk": 1, "train": 1, "evaluate_validation": 1, "aggregate": 4, "plot_by_weights": 1
    }  # fmt: skip
    change_library(ran_again, "gpt.py", "4 * C, C)", "4 * C, C, True)")
    assert planned(ran_again)["train"] == 1


def test_changed_comments_and_docstrings_run_nothing_again(ran_again):
    change_library(ran_again, "training.py", '"""Return the content', '"""Give the content')
    change_library(ran_again, "learners.py", "# cuBLAS reads", "# It is cuBLAS that reads")
    assert planned(ran_again) == {}


def test_code_versions_follow_the_imports():
    versions = {
        script.name: code_version(script.name)
        for script in (REPOSITORY / "workflow" / "scripts").glob("*.py")
        if script.name not in ("utils.py", "document_settings.py")
    }
    plots = {version for script, version in versions.items() if script.startswith("plot_")}
    assert len(plots) == 1
    assert versions.pop("train_trunk.py") == versions["train.py"]
    others = [version for script, version in versions.items() if not script.startswith("plot_")]
    assert len(plots | set(others)) == len(others) + 1


def test_the_number_of_cores_and_the_folder_change_no_byte(ran, tmp_path):
    folder = copy_repository(tmp_path)
    write_config(folder)
    snakemake(folder, "--cores", "1")
    compared = [
        path.relative_to(ran)
        for root in ("cache", "results")
        for path in (ran / root).rglob("*")
        if path.suffix in (".pkl", ".parquet", ".csv", ".pdf", ".png")
    ]
    assert len(compared) == 3 + 4 * 7 + 2 * 8 + 3 * 2
    for path in compared:
        assert (folder / path).read_bytes() == (ran / path).read_bytes(), path


def test_a_job_that_fails_says_why_in_one_line_and_in_its_log(ran_again):
    write_config(ran_again, device="cuda")
    result = snakemake(ran_again, "--cores", "2", check=False)
    assert result.returncode != 0
    said = "RuntimeError: device: cuda is not to be found on this machine; set device to cpu"
    assert any(line.startswith(said) for line in result.stderr.splitlines())
    assert any(said in log.read_text() for log in (ran_again / "cache" / "_trunks").glob("*/*.log"))
    write_config(ran_again)
    snakemake(ran_again, "--cores", "2")
