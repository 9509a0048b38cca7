"""Configurations: the runs that good ones ask for, and one clear line for each mistake of bad ones."""

import json
import re

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY, copy_repository, snakemake

from memorization.configuration.documentation import configuration_schema, settings_page
from memorization.configuration.experiments import ConfigurationError, read_configuration

FIGURES = {"by_epoch": (), "by_rank": ()}
GOOD = """
cache_dir: cache
experiments:
  freeze:
    model: one_layer_attention
    K: 30
    len_context: 12
    num_heads: 2
    batch_size: 16
    num_switches: 1
    num_iters_per_set: 100
    num_iters_per_epoch: 50
    sweep:
      freeze: [none, mlp]
    seeds: 2
    figures: [by_epoch]
"""


def configuration(text=GOOD, **changed):
    config = yaml.safe_load(text)
    config["experiments"]["freeze"].update(changed)
    return config


def test_an_experiment_is_every_combination_of_its_sweep_and_seeds():
    sweep = {"freeze": ["none", "mlp"], "num_heads": [2, 4, 8], "lr": ["1e-3", 0.01]}
    config = configuration(sweep=sweep)
    del config["experiments"]["freeze"]["num_heads"]
    runs = read_configuration(config, FIGURES).runs
    assert len(runs) == len({run.name for run in runs}) == 2 * 3 * 2 * 2
    assert runs[0].name == "one_layer_attention_freeze_none_num_heads_2_lr_0.001_seed_0"
    assert runs[-1].name == "one_layer_attention_freeze_mlp_num_heads_8_lr_0.01_seed_1"
    assert runs[-1].condition == {"freeze": "mlp", "num_heads": 8, "lr": 0.01}
    assert runs[-1].settings["seed"] == 1
    assert runs[-1].settings["num_iters"] == 200
    assert runs[-1].settings["num_hidden_features_mlp"] == 64


def test_an_experiment_wins_over_the_defaults_of_its_model():
    config = configuration()
    config["defaults"] = {"one_layer_attention": {"num_heads": 5, "num_mlp_layers": 4}}
    settings = read_configuration(config, FIGURES).runs[0].settings
    assert (settings["num_heads"], settings["num_mlp_layers"]) == (2, 4)


def test_an_experiment_is_the_union_of_its_conditions():
    text = """
    defaults:
      one_layer_attention: &sizes {K: 30, batch_size: 16, num_iters_per_set: 100, num_iters_per_epoch: 50,
                                   len_context: 12, num_heads: 2}
      dam: {K: 30, N: 20, H: 4, M: 50, batch_size: 16, num_iters_per_set: 100, num_iters_per_epoch: 50}
    experiments:
      freeze:
        seeds: 2
        conditions:
          - {model: one_layer_attention, sweep: {freeze: [none, mlp]}}
          - {model: dam, eta: 5, sweep: {freeze: [none, A]}}
          - {model: dam, eta: 5, clear_memory_at_switch: true}
    """
    runs = read_configuration(yaml.safe_load(text), FIGURES).runs
    assert [(run.name, run.condition) for run in runs if run.settings["seed"] == 0] == [
        (f"{name}_seed_0", dict(zip(("model", "freeze", "clear_memory_at_switch"), values, strict=True)))
        for name, *values in [
            ("one_layer_attention_freeze_none", "one_layer_attention", "none", None),
            ("one_layer_attention_freeze_mlp", "one_layer_attention", "mlp", None),
            ("dam_freeze_none", "dam", "none", False),
            ("dam_freeze_A", "dam", "A", False),
            ("dam_freeze_none_clear_memory_at_switch_true", "dam", "none", True),
        ]
    ]
    assert {run.settings.get("eta") for run in runs} == {None, 5}


def test_uniform_sampling_is_zipf_with_exponent_zero():
    config = configuration(sequence_sampling_distribution="uniform", zipf_exponent=2)
    assert read_configuration(config, FIGURES).runs[0].settings["zipf_exponent"] == 0


def test_every_mistake_is_reported_at_once_and_each_once():
    config = configuration(K=0, lrr=1, sweep={"freeze": ["none", "nothing"], "num_mlp_layers": [1, -1]})
    with pytest.raises(ConfigurationError) as error:
        read_configuration(config, FIGURES)
    assert sorted(error.value.mistakes) == [
        "experiments.freeze.K: 0 is not a positive integer",
        "experiments.freeze.lrr: unknown setting; did you mean lr?",
        'experiments.freeze.sweep.freeze: "nothing" is not one of none, attention, mlp, embeddings',
        "experiments.freeze.sweep.num_mlp_layers: -1 is not a positive integer",
    ]


def test_a_mistake_in_the_defaults_is_found_there():
    config = configuration()
    config["defaults"] = {"one_layer_attention": {"weight_decay": -1}}
    with pytest.raises(ConfigurationError) as error:
        read_configuration(config, FIGURES)
    assert error.value.mistakes == ["defaults.one_layer_attention.weight_decay: -1 is not a number of 0 or more"]


@pytest.mark.parametrize("name", ["config", "smoke", "paper"])
def test_the_files_of_the_repository_fit_the_schema(name):
    config = yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text())
    text = json.dumps(config)
    # YAML 1.1 reads 3e-3 as text; the editors that use the schema read YAML 1.2.
    config = json.loads(re.sub(r'"(\d+e-\d+)"', r"\1", text))
    jsonschema.validate(config, configuration_schema())


@pytest.mark.parametrize("changed", [{"K": 0}, {"lrr": 1}, {"sweep": {"freeze": []}}, {"seeds": "two"}])
def test_the_schema_refuses_what_the_workflow_refuses(changed):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(configuration(**changed), configuration_schema())


def test_schema_and_page_of_the_settings_are_current():
    config = REPOSITORY / "config"
    assert json.loads((config / "schema.json").read_text()) == configuration_schema(), "run make docs"
    assert (config / "README.md").read_text() == settings_page(), "run make docs"


def with_line(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def dam_with(wrong):
    """A configuration of one DAM in which one setting is wrong."""
    right = {"K": 30, "N": 20, "H": 4, "M": 50, "batch_size": 8, "num_switches": 0}
    right |= {"num_iters_per_set": 10, "num_iters_per_epoch": 5}
    lines = [f"{key}: {value}" for key, value in right.items() if not wrong.startswith(f"{key}:")]
    return "experiments: {d: {model: dam, seeds: 1, " + ", ".join([*lines, wrong]) + "}}\n"


BAD = {
    # The file.
    "broken YAML": ("a: [1\nb: 2\n", "line 2, column 2: not YAML"),
    "a tab": ("experiments:\n\tfreeze: 1\n", "line 2, column 1: not YAML"),
    "an undefined alias": ("experiments: *base\n", "line 1, column 14: not YAML"),
    "empty": ("", "is not a mapping with the key experiments"),
    "a list": ("- 1\n", "is not a mapping with the key experiments"),
    "a text": ("experiments\n", "is not a mapping with the key experiments"),
    "a key twice": (with_line("    K: 30", "    K: 30\n    K: 40"), "experiments.freeze.K is there twice"),
    "an alias to itself": ("experiments: &a\n  freeze: *a\n", "contains itself by an alias"),
    "a date that is none": (GOOD + "defaults: 2020-99-99\n", "not YAML: month must be in 1..12"),
    "a tag without a meaning": ("experiments: !foo bar\n", "line 1, column 14: not YAML: could not determine"),
    "a list as a key": ("experiments:\n  [1, 2]: 3\n", "line 2, column 3: not YAML: found unhashable key"),
    "not text": (b"\xff\xfe\x00", "is not text in UTF-8"),
    # The top level.
    "no experiments": ("cache_dir: cache\n", "experiments: missing is not a mapping"),
    "null experiments": ("experiments:\n", "experiments: null is not a mapping"),
    "empty experiments": ("experiments: {}\n", "experiments: {} is not a mapping"),
    "a list of experiments": ("experiments: [a]\n", 'experiments: ["a"] is not a mapping'),
    "unknown key": (with_line("cache_dir", "cache_dirr"), "cache_dirr: unknown key; did you mean cache_dir?"),
    "cache_dir a number": (with_line("cache_dir: cache", "cache_dir: 1"), "cache_dir: 1 is not the path"),
    "cache_dir with braces": (with_line(": cache", ": 'c{a}'"), 'cache_dir: "c{a}" is not the path'),
    "cache_dir here": (with_line(": cache", ": ./cache"), 'cache_dir: "./cache" is not the path of a folder'),
    "cache_dir empty": (with_line(": cache", ": ''"), 'cache_dir: "" is not the path of a folder'),
    "defaults of an unknown model": (GOOD + "defaults: {gtp: {}}", "defaults.gtp: unknown key; did you mean"),
    "defaults a list": (GOOD + "defaults: [1]", "defaults: [1] is not a mapping from models"),
    "defaults of a model a number": (
        GOOD + "defaults: {one_layer_attention: 3}",
        "defaults.one_layer_attention: 3 is not a mapping of settings",
    ),
    "experiment's name with a slash": (with_line("freeze:\n", "a/b:\n"), 'experiments: "a/b" is not a name'),
    "experiment's name leaves the cache": (
        with_line("freeze:\n", "..:\n"),
        'experiments: ".." is not a name',
    ),
    "experiment's name a number": (with_line("freeze:\n", "1:\n"), "experiments: 1 is not a name"),
    "experiment null": ("experiments:\n  freeze:\n", "experiments.freeze: null is not a mapping"),
    # Keys of an experiment.
    "unknown setting": (
        with_line("num_heads", "num_head"),
        "experiments.freeze.num_head: unknown setting; did you mean num_heads?",
    ),
    "unknown setting in other letters": (
        with_line("    K: 30", "    k: 30"),
        "experiments.freeze.k: unknown setting; did you mean K?",
    ),
    "a key of two lines": (
        with_line("    K: 30", '    K: 30\n    "x\\ny": 3'),
        'experiments.freeze."x\\ny": unknown setting; did you mean',
    ),
    "unknown setting in the sweep": (
        with_line("freeze: [none, mlp]", "freze: [none]"),
        "experiments.freeze.sweep.freze: unknown setting; did you mean freeze?",
    ),
    "missing setting": (
        with_line("    batch_size: 16\n", ""),
        "experiments.freeze.batch_size: missing; needs a positive integer",
    ),
    "no model": (
        with_line("    model: one_layer_attention\n", ""),
        "experiments.freeze.model: missing; needs one of one_layer_attention",
    ),
    "unknown model": (with_line("one_layer_attention", "lstm"), 'model: "lstm" is not one of one_layer'),
    "a seed by hand": (with_line("seeds: 2", "seeds: 2\n    seed: 5"), "seed: a seed is not set by hand"),
    "no seeds": (with_line("    seeds: 2\n", ""), "seeds: missing; needs an integer from 1"),
    "seeds zero": (with_line("seeds: 2", "seeds: 0"), "experiments.freeze.seeds: 0 is not an integer from 1"),
    "seeds true": (with_line("seeds: 2", "seeds: true"), "experiments.freeze.seeds: true is not an integer"),
    "unknown figure": (
        with_line("[by_epoch]", "[by_epok]"),
        'experiments.freeze.figures: "by_epok" is not one of',
    ),
    "figures a text": (with_line("[by_epoch]", "by_epoch"), 'figures: "by_epoch" is not a list'),
    "a list among the figures": (with_line("[by_epoch]", "[[by_epoch]]"), 'figures: ["by_epoch"] is not one of'),
    "a figure of switches without one": (
        dam_with("figures: [swap_by_size]"),
        "experiments.d.figures: swap_by_size needs a switch: set num_switches to 1 or more, or leave it out",
    ),
    "a figure of the DAM for a transformer": (
        with_line("[by_epoch]", "[occupancy]"),
        "experiments.freeze.figures: occupancy needs the model dam: set model to dam",
    ),
    **{
        f"{figure} without tests of earlier sets": (
            dam_with(f"test_earlier_sets: false, figures: [{figure}]").replace(
                "num_switches: 0", "num_switches: 1"
            ),
            f"experiments.d.figures: {figure} needs tests of earlier sets: set test_earlier_sets to true",
        )
        for figure in ("forgetting", "forgetting_occupancy")
    },
    "a figure of transformers for the DAM": (
        dam_with("figures: [attention_by_bits]"),
        "experiments.d.figures: attention_by_bits needs a transformer: set model to",
    ),
    "a figure against K without a sweep of it": (
        with_line("[by_epoch]", "[capacity]"),
        "experiments.freeze.figures: capacity needs a sweep of K: give K several values",
    ),
    "a figure against a number where a text is swept": (
        with_line("[by_epoch]", "[by_setting]"),
        "experiments.freeze.figures: by_setting needs one swept number: sweep one setting that is a number",
    ),
    "experiment's name that of a rule": (
        with_line("freeze:\n", "train:\n"),
        'experiments: "train" is the name of a rule of the workflow; give the experiment another',
    ),
    # The sweep.
    "sweep a list": (with_line("freeze: [none, mlp]", "- freeze"), 'sweep: ["freeze"] is not a mapping'),
    "swept value not a list": (with_line("[none, mlp]", "none"), 'sweep.freeze: "none" is not a list of one'),
    "swept list empty": (with_line("[none, mlp]", "[]"), "experiments.freeze.sweep.freeze: [] is not a list"),
    "swept value twice": (with_line("[none, mlp]", "[mlp, mlp]"), 'sweep.freeze: "mlp" is there twice'),
    "swept value twice in other words": (
        with_line("freeze: [none, mlp]", "lr: [1e-3, 0.001]"),
        "experiments.freeze: one_layer_attention_lr_0.001_seed_0 is there twice; give each condition once",
    ),
    "an exponent swept that uniform sampling does not have": (
        with_line("freeze: [none, mlp]", "zipf_exponent: [1, 2]\n    sequence_sampling_distribution: uniform"),
        "zipf_exponent_0.0_seed_0 is there twice; give each condition once",
    ),
    "swept value wrong": (
        with_line("freeze: [none, mlp]", "num_mlp_layers: [2, 0]"),
        "experiments.freeze.sweep.num_mlp_layers: 0 is not a positive integer",
    ),
    "seeds swept": (with_line("freeze: [none, mlp]", "seeds: [1, 2]"), "sweep.seeds: not a setting"),
    "given and swept": (
        with_line("freeze: [none, mlp]", "num_heads: [2, 4]"),
        "experiments.freeze.num_heads: also in the sweep",
    ),
    # Conditions.
    "conditions a mapping": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: {lr: 1}"),
        'experiments.freeze.conditions: {"lr": 1} is not a list of mappings of settings',
    ),
    "no conditions": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: []"),
        "experiments.freeze.conditions: [] is not a list of mappings",
    ),
    "a condition with seeds": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: [{seeds: 3}]"),
        "experiments.freeze.conditions.0.seeds: belongs to the experiment",
    ),
    "unknown setting in a condition": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: [{lr: 0.1}, {lrr: 1}]"),
        "experiments.freeze.conditions.1.lrr: unknown setting; did you mean lr?",
    ),
    "wrong value swept in a condition": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: [{sweep: {lr: [0.1, -1]}}]"),
        "experiments.freeze.conditions.0.sweep.lr: -1 is not a positive number",
    ),
    "swept in the experiment and given in a condition": (
        with_line("    seeds: 2", "    seeds: 2\n    conditions: [{freeze: mlp}]"),
        "experiments.freeze.sweep.freeze: also in experiments.freeze.conditions.0; give it in one place",
    ),
    "two equal conditions": (
        with_line("freeze: [none, mlp]", "freeze: [mlp]\n    conditions: [{lr: 0.1}, {lr: 1e-1}]"),
        "is there twice; give each condition once",
    ),
    "more runs than any study needs": (
        with_line("freeze: [none, mlp]", f"lr: {[i / 1000 for i in range(1, 1200)]}"),
        "experiments.freeze: 1199 conditions with 2 seeds are 2398 runs, more than 2000",
    ),
    "a mistake in unused defaults": (GOOD + "defaults: {dam: {K: -3}}", "defaults.dam.K: -3 is not a positive"),
    "an unknown key in unused defaults": (
        GOOD + "defaults: {dam: {M2: 3}}",
        "defaults.dam.M2: unknown setting; did you mean M?",
    ),
    "seeds in the defaults": (
        GOOD + "defaults: {dam: {seeds: 3}}",
        "defaults.dam.seeds: belongs in an experiment, not here",
    ),
    "another model in the defaults": (
        GOOD + "defaults: {dam: {model: one_layer_attention}}",
        'defaults.dam.model: "one_layer_attention" is not dam',
    ),
    "cache_dir from a variable": (with_line(": cache", ": $SCRATCH/x"), 'cache_dir: "$SCRATCH/x" is not the path'),
    "cache_dir in a home": (with_line(": cache", ": ~/x"), 'cache_dir: "~/x" is not the path'),
    "cache_dir a file": (with_line(": cache", ": README.md/x"), 'cache_dir: "README.md/x" is not the path'),
    "experiment's name periodic": (with_line("freeze:\n", "aaaaaaaa:\n"), 'experiments: "aaaaaaaa" is not a name'),
    # The DAM.
    **{
        f"dam with {wrong}": (dam_with(wrong), f"experiments.d.{expected}")
        for wrong, expected in [
            ("eta: 0", "eta: 0 is not a positive number"),
            ("eta: -1.5", "eta: -1.5 is not a positive number"),
            ("eta: .nan", "eta: nan is not a positive number"),
            ("M: 0", "M: 0 is not a positive integer"),
            ("H: 0", "H: 0 is not a positive integer"),
            ("N: 1", "N: 1 is not an integer of 2 or more"),
            ("freeze: mlp", 'freeze: "mlp" is not one of none, A, both'),
            ("freeze: A", 'freeze: "A" needs a switch'),
            ("clear_memory_at_switch: true", "clear_memory_at_switch: true needs a switch"),
            ("reset_model_at_switch: true", "reset_model_at_switch: true needs a switch"),
            ("reset_optimizer_at_switch: true", "reset_optimizer_at_switch: true needs a switch"),
            ("num_layers: 2", "num_layers: a setting of one_layer_attention and gpt, which dam has not"),
            ("num_threads: 5000", "num_threads: 5000 is not an integer from 1 to 1024"),
            ("clear_memory_at_switch: 1", "clear_memory_at_switch: 1 is not true or false"),
            ("num_heads: 4", "num_heads: a setting of one_layer_attention and gpt, which dam has not"),
            ("len_context: 20", "len_context: a setting of one_layer_attention and gpt, which dam has not"),
        ]
    },
    "a part frozen that starts anew": (
        with_line("freeze: [none, mlp]", "freeze: [mlp]\n    reset_model_at_switch: true"),
        'experiments.freeze.sweep.freeze: "mlp" would freeze initial weights: set reset_model_at_switch to false',
    ),
    "no layers for gpt": (
        with_line("one_layer_attention", "gpt"),
        "experiments.freeze.num_layers: missing; needs a positive integer",
    ),
    # Values.
    "larger than anything": (
        with_line("len_context: 12", f"len_context: {10**24}"),
        f"experiments.freeze.len_context: {10**24} is not an integer of 2 or more up to 1000000000",
    ),
    "integer as text": (
        with_line("K: 30", "K: '30'"),
        'experiments.freeze.K: "30" is not a positive integer',
    ),
    "integer as number": (with_line("K: 30", "K: 30.5"), "experiments.freeze.K: 30.5 is not a positive"),
    "integer as truth": (with_line("K: 30", "K: true"), "experiments.freeze.K: true is not a positive"),
    "integer null": (with_line("K: 30", "K:"), "experiments.freeze.K: null is not a positive integer"),
    "negative switches": (
        with_line("num_switches: 1", "num_switches: -1"),
        "experiments.freeze.num_switches: -1 is not an integer from 0 to 10000",
    ),
    "lr nan": (
        with_line("K: 30", "K: 30\n    lr: .nan"),
        "experiments.freeze.lr: nan is not a positive number",
    ),
    "lr infinite": (
        with_line("K: 30", "K: 30\n    lr: .inf"),
        "experiments.freeze.lr: inf is not a positive",
    ),
    "lr zero": (with_line("K: 30", "K: 30\n    lr: 0"), "experiments.freeze.lr: 0 is not a positive number"),
    "zipf too steep": (
        with_line("K: 30", "K: 30\n    zipf_exponent: 11"),
        "zipf_exponent: 11 is not a number from 0 to 10",
    ),
    "truth as text": (
        with_line("K: 30", "K: 30\n    attention_trainable: 'no'"),
        'attention_trainable: "no" is not true or false',
    ),
    "unknown choice": (with_line("K: 30", "K: 30\n    optimizer: sgd"), '"sgd" is not one of adam, adamw'),
    "a constant changed": (with_line("K: 30", "K: 30\n    vocab_size: 3"), "vocab_size: 3 is not 2"),
    # Combinations.
    "no whole epochs": (
        with_line("num_iters_per_set: 100", "num_iters_per_set: 120"),
        "num_iters_per_set: 120 is not a multiple of num_iters_per_epoch (50), as 100 or 150 would be",
    ),
    "freeze without a switch": (
        with_line("num_switches: 1", "num_switches: 0"),
        'experiments.freeze.sweep.freeze: "mlp" needs a switch',
    ),
    "freeze attention that is not trained": (
        with_line("freeze: [none, mlp]", "freeze: [attention]\n      attention_trainable: [false]"),
        'freeze: "attention" needs an attention that was trained before',
    ),
    "sequences too short to hold out": (
        with_line("len_context: 12", "len_context: 6"),
        "len_context: 6 bits make 64 sequences, too few to hold out some from 60 trained on; 7 or more",
    ),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("repository"))


def files_of(folder):
    return {path for path in folder.rglob("*") if not {".snakemake", "__pycache__"} & set(path.parts)}


def lines_of_a_refusal(folder, config_file):
    """The lines that a dry run with a bad configuration prints, but for what Snakemake says of profiles."""
    before = files_of(folder)
    result = snakemake(folder, "-n", "--configfile", config_file, check=False)
    assert result.returncode != 0
    assert files_of(folder) == before, "something was written"
    printed = (result.stdout + result.stderr).splitlines()
    assert "Traceback" not in result.stderr
    return [line for line in printed if line and not line.startswith("Using workflow specific profile")]


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_ends_a_dry_run_with_one_line_that_names_the_mistake(case, repository, tmp_path):
    content, expected = BAD[case]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (line,) = lines_of_a_refusal(repository, path)
    assert expected in line


@pytest.mark.slow
def test_an_absent_file_is_named_in_one_line(repository):
    (line,) = lines_of_a_refusal(repository, "config/absent.yaml")
    assert line.startswith("config/absent.yaml: No such file or directory")


@pytest.mark.slow
def test_an_absent_default_file_is_named_in_one_line(repository):
    (repository / "config" / "config.yaml").rename(repository / "config" / "moved.yaml")
    try:
        result = snakemake(repository, "-n", check=False)
    finally:
        (repository / "config" / "moved.yaml").rename(repository / "config" / "config.yaml")
    assert result.returncode != 0
    assert "config/config.yaml: No such file or directory" in result.stderr
    assert "Traceback" not in result.stderr
