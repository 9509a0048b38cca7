"""Configurations: the runs that good ones ask for, and one clear line for each mistake of bad ones."""

import itertools
import json
import re
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY, copy_repository, snakemake
from pydantic import TypeAdapter, ValidationError
from snakemake.cli import parse_config
from snakemake.io import IOFile, apply_wildcards, regex_from_filepattern
from snakemake.pathvars import Pathvars
from snakemake.sourcecache import LocalSourceFile
from snakemake.utils import format as snakemake_format

from memorization.configuration.documentation import configuration_schema, settings_page
from memorization.configuration.experiments import NEEDS, ConfigurationError, read_configuration
from memorization.configuration.files import mistake_of_file, mistake_of_folder, nested_values
from memorization.configuration.settings import TransformerSettings
from memorization.configuration.shape import Folder
from memorization.tables.registry import needs_of_figure

FIGURES = {
    script.stem.removeprefix("plot_"): needs_of_figure(script)
    for script in sorted((REPOSITORY / "workflow" / "scripts").glob("plot_*.py"))
}
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
    assert list(runs[-1].condition.items()) == [
        ("model", "one_layer_attention"),
        ("freeze", "mlp"),
        ("num_heads", 8),
        ("lr", 0.01),
    ]
    assert runs[-1].settings["seed"] == 1
    assert runs[-1].settings["num_iters"] == 200
    assert runs[-1].settings["num_hidden_features_mlp"] == 64


def test_the_first_seed_shifts_all_seeds_and_changes_nothing_else():
    runs = read_configuration(configuration(), FIGURES).runs
    shifted = read_configuration(configuration() | {"first_seed": 100}, FIGURES).runs
    assert [run.settings["seed"] for run in shifted] == [100, 101] * 2
    assert [run.condition for run in shifted] == [run.condition for run in runs]
    assert [run.name.replace("seed_10", "seed_") for run in shifted] == [run.name for run in runs]
    assert mistakes_of(configuration() | {"first_seed": -1}) == ["first_seed: -1 is not an integer of 0 or more"]
    twice = configuration(sweep={}, conditions=[{"lr": 0.1}, {"lr": "1e-1"}]) | {"first_seed": 7}
    (line,) = mistakes_of(twice)
    assert "seed_7 is there twice" in line


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


@pytest.mark.parametrize(
    "reference, expected",
    [
        ({}, {"gpt": (1e-3, "none"), "dam": (1e-2, "none")}),
        # YAML reads the first as a text. A setting that a model lacks does not count for it.
        ({"lr": "1e-3", "freeze": "none"}, {"gpt": (1e-3, "none")}),
        ({"lr": 0.01, "freeze": "none", "num_layers": 2}, {"gpt": (1e-2, "none"), "dam": (1e-2, "none")}),
    ],
)
def test_the_reference_of_a_model_is_its_first_condition_or_the_one_that_is_named(reference, expected):
    sizes = "K: 30, batch_size: 16, num_iters_per_set: 100, num_iters_per_epoch: 50"
    text = f"""
    experiments:
      freeze:
        seeds: 2
        num_switches: 1
        conditions:
          - model: gpt
            sweep: {{lr: [1e-3, 1e-2], freeze: [none, mlp]}}
            {sizes.replace(", ", chr(10) + 12 * " ")}
            len_context: 12
            num_heads: 2
            num_layers: 2
          - {{model: dam, N: 20, H: 4, M: 50, lr: 1e-2, {sizes}, sweep: {{freeze: [none, A]}}}}
    """
    config = yaml.safe_load(text)
    config["experiments"]["freeze"]["reference"] = reference
    if len(expected) == 1:
        config["experiments"]["freeze"]["conditions"].pop()
    references = read_configuration(config, FIGURES).references["freeze"]
    assert {model: (one["lr"], one["freeze"]) for model, one in references.items()} == expected
    assert all(one["model"] == model for model, one in references.items())


def test_a_model_without_the_settings_of_the_reference_is_compared_with_its_first_condition():
    sizes = {"K": 30, "batch_size": 16, "num_iters_per_set": 100, "num_iters_per_epoch": 50}
    attention = sizes | {"model": "one_layer_attention", "len_context": 12, "num_heads": 2}
    dam = sizes | {"model": "dam", "N": 20, "H": 4}
    conditions = [attention | {"sweep": {"lr": [1e-3, 1e-2]}}, dam | {"sweep": {"M": [50, 60]}}]
    experiment = {"seeds": 2, "num_switches": 1, "conditions": conditions, "reference": {"M": 60}}
    references = read_configuration({"experiments": {"queue": experiment}}, FIGURES).references["queue"]
    assert references["dam"]["M"] == 60
    assert references["one_layer_attention"]["lr"] == 1e-3


def test_uniform_sampling_is_zipf_with_exponent_zero():
    config = configuration(sequence_sampling_distribution="uniform", zipf_exponent=2)
    assert read_configuration(config, FIGURES).runs[0].settings["zipf_exponent"] == 0


def mistakes_of(config):
    with pytest.raises(ConfigurationError) as error:
        read_configuration(config, FIGURES)
    return error.value.mistakes


def mistakes_or_none(config):
    """The lines of the mistakes of a configuration; none if it is sound."""
    try:
        read_configuration(config, FIGURES)
    except ConfigurationError as error:
        return error.mistakes
    return []


def test_every_mistake_is_reported_at_once_and_each_once():
    sweep = {"freeze": ["none", "nothing"], "num_mlp_layers": [1, -1]}
    config = configuration(K=0, lrr=1, seeds=0, figures=["by_epok"], sweep=sweep)
    config["cache"] = "cache"
    lines = sorted(line.partition(", attention_similarity")[0] for line in mistakes_of(config))
    assert lines == [
        "cache: unknown key; did you mean cache_dir?",
        "experiments.freeze.K: 0 is not a positive integer",
        'experiments.freeze.figures: "by_epok" is not one of attention_maps',
        "experiments.freeze.lrr: unknown setting; did you mean lr?",
        "experiments.freeze.seeds: 0 is not an integer from 1 to 1000",
        'experiments.freeze.sweep.freeze: "nothing" is not one of none, attention, mlp, embeddings',
        "experiments.freeze.sweep.num_mlp_layers: -1 is not a positive integer",
    ]


def test_a_setting_in_a_place_of_the_wrong_shape_is_not_called_missing():
    config = configuration(sweep={"K": 30})
    del config["experiments"]["freeze"]["K"]
    assert mistakes_of(config) == ["experiments.freeze.sweep.K: 30 is not a list of one value or more"]
    config = configuration() | {"defaults": {"one_layer_attention": ["K", 30]}}
    del config["experiments"]["freeze"]["K"]
    assert mistakes_of(config) == ['defaults.one_layer_attention: ["K", 30] is not a mapping of settings']


def test_a_new_transformer_has_what_a_figure_of_transformers_needs():
    class NewSettings(TransformerSettings):
        model: str = "new"

    settings = [NewSettings.model_construct()]
    assert NEEDS["a transformer"][0](settings, ["model"])
    assert not NEEDS["the model dam"][0](settings, ["model"])


@pytest.mark.parametrize("name", ["config", "smoke", "paper"])
def test_the_files_of_the_repository_are_sound_and_fit_the_schema(name):
    path = REPOSITORY / "config" / f"{name}.yaml"
    assert mistake_of_file(path) is None
    # YAML 1.1 reads 3e-3 as text; the editors that use the schema read YAML 1.2.
    config = json.loads(re.sub(r'"(\d+e-\d+)"', r"\1", json.dumps(yaml.safe_load(path.read_text()))))
    jsonschema.validate(config, configuration_schema())


@pytest.mark.parametrize(
    "changed",
    [
        {"K": 0},
        {"lrr": 1},
        {"freeze": "nothing"},
        {"sweep": {"freeze": []}},
        {"sweep": {"freeze": ["mlp", "mlp"]}},
        {"sweep": {"lr": [0.1, -1]}},
        {"sweep": {"seeds": [1, 2]}},
        {"seeds": "two"},
        {"figures": "by_epoch"},
        {"conditions": []},
        {"conditions": [{"seeds": 3}]},
        {"conditions": [{"sweep": {"lrr": [1]}}]},
        {"conditions": [{"num_switches": -1}]},
        {"test_iters_after_switch": [1, 1]},
        {"test_iters_after_switch": [0]},
        {"sweep": {"test_iters_after_switch": [[1], [2]]}},
    ],
    ids=str,
)
def test_the_schema_refuses_an_experiment_that_the_workflow_refuses(changed):
    assert mistakes_of(configuration(**changed))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(configuration(**changed), configuration_schema())


@pytest.mark.parametrize(
    "changed",
    [
        {"cache_dir": "~/x"},
        {"checkpoint_seconds": 0},
        {"defaults": {"gtp": {}}},
        {"defaults": {"dam": {"num_heads": 3}}},
        {"defaults": {"dam": {"freeze": "mlp"}}},
        {"experiments": {}},
        {"experiments": {"A": {"model": "dam", "seeds": 1}}},
        {"experiments": {"a": {"model": "dam"}}},
        {"experiment": {}},
    ],
    ids=str,
)
def test_the_schema_refuses_a_file_that_the_workflow_refuses(changed):
    assert mistakes_of(configuration() | changed)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(configuration() | changed, configuration_schema())


def test_schema_and_page_of_the_settings_are_current():
    config = REPOSITORY / "config"
    assert json.loads((config / "schema.json").read_text()) == configuration_schema(), "run make docs"
    assert (config / "README.md").read_text() == settings_page(), "run make docs"


def test_the_example_on_the_page_of_the_settings_has_the_runs_that_it_says():
    (example,) = re.findall(r"```yaml\n(.*?)```", settings_page(), re.DOTALL)
    runs = read_configuration(yaml.safe_load(example), FIGURES).runs
    assert [run.group for run in runs] == ["freeze"] * 10 + ["both_models"] * 15


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def dam_with(wrong):
    """A configuration of one DAM in which one setting is wrong."""
    right = {"K": 30, "N": 20, "H": 4, "M": 50, "batch_size": 8, "num_switches": 0}
    right |= {"num_iters_per_set": 10, "num_iters_per_epoch": 5}
    lines = [f"{key}: {value}" for key, value in right.items() if f"{key}:" not in wrong]
    return "experiments: {d: {model: dam, seeds: 1, " + ", ".join([*lines, wrong]) + "}}\n"


FILES = [
    ("a: [1\nb: 2\n", "line 2, column 2: not YAML"),
    ("experiments:\n\tfreeze: 1\n", "line 2, column 1: not YAML"),
    ("experiments: *base\n", "line 1, column 14: not YAML"),
    ("experiments: !foo bar\n", "line 1, column 14: not YAML: could not determine a constructor for the tag"),
    ("experiments:\n  [1, 2]: 3\n", "line 2, column 3: not YAML: found unhashable key"),
    ("defaults: 2020-99-99\n", "not YAML: month must be in 1..12"),
    ("experiments: &a\n  freeze: *a\n", "contains itself by an alias"),
    (b"\xff\xfe\x00", "is not text in UTF-8"),
    ("", "is not a mapping with the key experiments"),
    ("- 1\n", "is not a mapping with the key experiments"),
    ("a:\n- b: {c: 1, c: 2}\n", "line 2: a.0.b.c is there twice; give it once"),
    ("a: {b: 1}\na: 2\n", "line 2: a is there twice; give it once"),
    ("a:\n  b: 030\n", "line 2: a.b: YAML reads 030 as 24, in base 8; write 30, or 24 if that is meant"),
    (
        "a: [1, {b: [-010]}]\n",
        "line 1: a.1.b.0: YAML reads -010 as -8, in base 8; write -10, or -8 if that is meant",
    ),
    ("a: 1:40\n", 'line 1: a: YAML reads 1:40 as 100, in base 60; write 100, or "1:40" if a text is meant'),
    ("a: 1:40.5\n", 'line 1: a: YAML reads 1:40.5 as 100.5, in base 60; write 100.5, or "1:40.5"'),
]
# What is changed in the good file.
CHANGED = [
    (GOOD, "cache_dir: cache\n", "experiments: missing; needs a mapping from names to experiments"),
    (GOOD, "experiments:\n", "experiments: null is not a mapping from names"),
    (GOOD, "experiments: {}\n", "experiments: {} is not a mapping from names"),
    (GOOD, "experiments: [a]\n", 'experiments: ["a"] is not a mapping from names'),
    (GOOD, "experiments: {freeze: }\n", "experiments.freeze: null is not a mapping of settings"),
    ("cache_dir", "cache_dirr", "cache_dirr: unknown key; did you mean cache_dir?"),
    (": cache", ": 1", "cache_dir: 1 is not the path of a folder"),
    (": cache", ": 'c{a}'", 'cache_dir: "c{a}" is not the path of a folder'),
    (": cache", ": ./cache", 'cache_dir: "./cache" is not the path of a folder'),
    (": cache", ": ''", 'cache_dir: "" is not the path of a folder'),
    (": cache", ": $SCRATCH/x", 'cache_dir: "$SCRATCH/x" is not the path of a folder'),
    (": cache", ": ~/x", 'cache_dir: "~/x" is not the path of a folder'),
    (": cache", ": README.md/x", 'cache_dir: "README.md/x" is not the path of a folder'),
    ("freeze:\n", "a/b:\n", 'experiments: "a/b" is not a name of an experiment'),
    ("freeze:\n", "..:\n", 'experiments: ".." is not a name of an experiment'),
    ("freeze:\n", "1:\n", "experiments: 1 is not a name of an experiment"),
    ("freeze:\n", "aaaaaaaa:\n", 'experiments: "aaaaaaaa" is not a name of an experiment'),
    (
        "freeze:\n",
        "train:\n",
        'experiments: "train" is the name of a rule of the workflow; give the experiment another',
    ),
    # Keys.
    ("num_heads", "num_head", ".num_head: unknown setting; did you mean num_heads?"),
    ("K: 30", "k: 30", ".k: unknown setting; did you mean K?"),
    ("    batch_size: 16\n", "", ".batch_size: missing; needs a positive integer"),
    ("    model: one_layer_attention\n", "", ".model: missing; needs one of one_layer_attention, gpt, dam"),
    ("one_layer_attention", "lstm", '.model: "lstm" is not one of one_layer_attention, gpt, dam'),
    ("one_layer_attention", "gpt", ".num_layers: missing; needs a positive integer"),
    ("    seeds: 2\n", "", ".seeds: missing; needs an integer from 1 to 1000"),
    ("seeds: 2", "seeds: 0", ".seeds: 0 is not an integer from 1 to 1000"),
    ("seeds: 2", "seeds: true", ".seeds: true is not an integer from 1 to 1000"),
    # Figures.
    ("[by_epoch]", "[by_epok]", '.figures: "by_epok" is not one of attention_maps'),
    ("[by_epoch]", "[[by_epoch]]", '.figures: ["by_epoch"] is not one of attention_maps'),
    ("[by_epoch]", "by_epoch", '.figures: "by_epoch" is not a list of figures'),
    ("[by_epoch]", "[occupancy]", ".figures: occupancy needs the model dam: set model to dam, or add a condition"),
    ("[by_epoch]", "[capacity]", ".figures: capacity needs a sweep of K: give K several values in sweep"),
    (
        "[by_epoch]",
        "[by_setting]",
        ".figures: by_setting needs one swept number: sweep one setting that is a number",
    ),
    # The sweep.
    ("freeze: [none, mlp]", "freze: [none]", ".sweep.freze: unknown setting; did you mean freeze?"),
    ("freeze: [none, mlp]", "- freeze", '.sweep: ["freeze"] is not a mapping from settings to lists'),
    ("[none, mlp]", "none", '.sweep.freeze: "none" is not a list of one value or more'),
    ("[none, mlp]", "[]", ".sweep.freeze: [] is not a list of one value or more"),
    ("[none, mlp]", "[mlp, mlp]", '.sweep.freeze: "mlp" is there twice; give each value once'),
    (
        "freeze: [none, mlp]",
        "lr: [1e-3, 0.001]",
        ": one_layer_attention_lr_0.001_seed_0 is there twice; give each condition once",
    ),
    (
        "freeze: [none, mlp]",
        "zipf_exponent: [1, 2]\n    sequence_sampling_distribution: uniform",
        ": one_layer_attention_zipf_exponent_0.0_seed_0 is there twice; give each condition once",
    ),
    ("freeze: [none, mlp]", "num_mlp_layers: [2, 0]", ".sweep.num_mlp_layers: 0 is not a positive integer"),
    ("freeze: [none, mlp]", "seeds: [1]", ".sweep.seeds: not a setting; it belongs to an experiment as a whole"),
    ("freeze: [none, mlp]", "num_heads: [2, 4]", ".num_heads: also in the sweep; give it in one place"),
    (
        "freeze: [none, mlp]",
        f"lr: {[i / 1000 for i in range(1, 6000)]}",
        ": 5999 conditions with 2 seeds are 11998 runs, more than 10000; sweep fewer values",
    ),
    (
        "freeze: [none, mlp]",
        "test_iters_after_switch: [1, 2]",
        ".sweep.test_iters_after_switch: a setting that is a list cannot be swept; give it one list, beside sweep",
    ),
    # Values.
    (
        "len_context: 12",
        f"len_context: {10**24}",
        f".len_context: {10**24} is not an integer of 2 or more up to 1000",
    ),
    ("K: 30", "K: '30'", '.K: "30" is not a positive integer'),
    ("K: 30", "K: 30.5", ".K: 30.5 is not a positive integer"),
    ("K: 30", "K: true", ".K: true is not a positive integer"),
    ("K: 30", "K:", ".K: null is not a positive integer"),
    ("num_switches: 1", "num_switches: -1", ".num_switches: -1 is not an integer from 0 to 10000"),
    # Combinations.
    (
        "num_iters_per_set: 100",
        "num_iters_per_set: 120",
        ".num_iters_per_set: 120 is not a multiple of num_iters_per_epoch (50), as 100 or 150 would be",
    ),
    ("num_switches: 1", "num_switches: 0", '.sweep.freeze: "mlp" needs a switch after which it begins'),
    (
        "[none, mlp]",
        "[attention]\n      attention_trainable: [false]",
        '.sweep.freeze: "attention" needs a part that was trained before: set attention_trainable to true',
    ),
    (
        "[none, mlp]",
        "[mlp]\n      mlp_trainable: [false]",
        '.sweep.freeze: "mlp" needs a part that was trained before: set mlp_trainable to true',
    ),
    (
        "[none, mlp]",
        "[embeddings]\n      mlp_trainable: [false]\n      attention_trainable: [false]",
        '.sweep.freeze: "embeddings" would leave the LayerNorm alone to learn',
    ),
    (
        "[none, mlp]",
        "[mlp]\n    reset_model_at_switch: true",
        '.sweep.freeze: "mlp" would freeze initial weights: set reset_model_at_switch to false',
    ),
    (
        "len_context: 12",
        "len_context: 6",
        ".len_context: 6 bits make 64 sequences, too few to hold out some from 60 trained on; 7 or more would do",
    ),
    (
        "[none, mlp]",
        "[mlp]\n    conditions: [{lr: 0.1}, {lr: 1e-1}]",
        ": one_layer_attention_freeze_mlp_seed_0 is there twice; give each condition once",
    ),
    (
        "[none, mlp]",
        "[mlp]\n    conditions: [{test_iters_after_switch: [1]}, {test_iters_after_switch: []}]",
        ": one_layer_attention_freeze_mlp_seed_0 is there twice; give each condition once "
        "(test_iters_after_switch tells no conditions apart)",
    ),
]
# What is added to the experiment of the good file.
ADDED = [
    ('"x\\ny": 3', '"x\\ny": unknown setting; did you mean'),
    ("seed: 5", "seed: a seed is not set by hand; set experiments.freeze.seeds"),
    ("lr: .nan", "lr: nan is not a positive number"),
    ("lr: .inf", "lr: inf is not a positive number"),
    ("zipf_exponent: 11", "zipf_exponent: 11 is not a number from 0 to 10"),
    ("attention_trainable: 'no'", 'attention_trainable: "no" is not true or false'),
    ("lr_after_switch: 0", "lr_after_switch: 0 is not a positive number or null"),
    *(
        (
            f"test_iters_after_switch: {wrong}",
            f"test_iters_after_switch: {wrong} is not a list of increasing positive integers or null",
        )
        for wrong in ("3", "[0, 1]", "[1, 1]", "[2, 1]", "[1.5]", '["a"]', "[true]", "{}")
    ),
    (
        "test_iters_after_switch: [1, 101, 102]",
        "test_iters_after_switch: 101 is more than num_iters_per_set (100): leave it out",
    ),
    (
        "num_iters_of_last_set: 50\n    test_iters_after_switch: [1, 51]",
        "test_iters_after_switch: 51 is more than num_iters_of_last_set (50): leave it out",
    ),
    ("saved_iters: [100, 101]", "saved_iters: 101 is more than num_iters_per_set (100): leave it out"),
    *(
        (
            f"num_iters_of_last_set: {wrong}",
            f"num_iters_of_last_set: {wrong} is not a multiple of num_iters_per_epoch (50) of at most "
            "num_iters_per_set (100)",
        )
        for wrong in (70, 150)
    ),
    ("optimizer: sgd", 'optimizer: "sgd" is not one of adam, adamw'),
    ("vocab_size: 3", "vocab_size: 3 is not 2"),
    ("conditions: {lr: 1}", 'conditions: {"lr": 1} is not a list of mappings of settings'),
    ("conditions: []", "conditions: [] is not a list of mappings of settings"),
    ("conditions: [{}, lr]", 'conditions.1: "lr" is not a mapping of settings'),
    ("conditions: [{seeds: 3}]", "conditions.0.seeds: not a setting; it belongs to an experiment as a whole"),
    ("conditions: [{lr: 0.1}, {lrr: 1}]", "conditions.1.lrr: unknown setting; did you mean lr?"),
    ("conditions: [{sweep: {lr: [0.1, -1]}}]", "conditions.0.sweep.lr: -1 is not a positive number"),
    ("conditions: [{freeze: mlp}]", "sweep.freeze: also in experiments.freeze.conditions.0; give it in one place"),
    ("reference: mlp", 'reference: "mlp" is not a mapping of settings'),
    ("reference: {frieze: mlp}", "reference.frieze: unknown setting; did you mean freeze?"),
    ("reference: {M: 30}", "reference.M: a setting of dam, which one_layer_attention has not; leave it out"),
    (
        "reference: {freeze: attention, K: 30}",
        'reference: no condition of one_layer_attention with freeze "attention" and K 30; give settings that',
    ),
    ("reference: {freeze: [mlp]}", 'reference: no condition of one_layer_attention with freeze ["mlp"]; give'),
    ("reference: {K: 30}", "reference: 2 conditions of one_layer_attention with K 30; give settings that exactly"),
]
# What is added to the good file beside its experiments.
BESIDE = [
    ("checkpoint_seconds: 0", "checkpoint_seconds: 0 is not a positive number"),
    ("defaults: [1]", "defaults: [1] is not a mapping from models to settings"),
    ("defaults: {gtp: {}}", "defaults.gtp: unknown key; did you mean gpt?"),
    ("defaults: {one_layer_attention: 3}", "defaults.one_layer_attention: 3 is not a mapping of settings"),
    ("defaults: {one_layer_attention: {lr: -1}}", "defaults.one_layer_attention.lr: -1 is not a positive number"),
    # Of a model without an experiment.
    ("defaults: {dam: {K: -3}}", "defaults.dam.K: -3 is not a positive integer"),
    ("defaults: {dam: {M2: 3}}", "defaults.dam.M2: unknown setting; did you mean M?"),
    ("defaults: {dam: {seeds: 3}}", "defaults.dam.seeds: not a setting; it belongs to an experiment as a whole"),
    ("defaults: {dam: {model: gpt}}", 'defaults.dam.model: "gpt" is not dam'),
]
# What is wrong with a DAM.
DAM = [
    ("eta: 0", "eta: 0 is not a positive number"),
    ("N: 1", "N: 1 is not an integer of 2 or more"),
    ("num_threads: 5000", "num_threads: 5000 is not an integer from 1 to 1024"),
    ("freeze: mlp", 'freeze: "mlp" is not one of none, A, B, both'),
    ("freeze: A", 'freeze: "A" needs a switch after which it begins'),
    ("clear_memory_at_switch: true", "clear_memory_at_switch: true needs a switch"),
    ("lr_after_switch: 0.1", "lr_after_switch: 0.1 needs a switch: set num_switches to 1 or more, or"),
    ("num_layers: 2", "num_layers: a setting of one_layer_attention and gpt, which dam has not; leave it out"),
    (
        "figures: [swap_by_size]",
        "figures: swap_by_size needs a switch: set num_switches to 1 or more, or leave it out",
    ),
    (
        "figures: [contrasts]",
        "figures: contrasts needs two conditions of one model: give a setting several values in sweep",
    ),
    (
        "saved_iters: [1], figures: [explained]",
        "figures: explained needs a transformer: set model to one_layer_attention",
    ),
    *(
        (
            f"num_switches: 1, test_earlier_sets: false, figures: [{figure}]",
            f"figures: {figure} needs tests of earlier sets: set test_earlier_sets to true",
        )
        for figure in ("forgetting", "forgetting_occupancy")
    ),
]
BAD = [
    *((changed(old, new), f"experiments.freeze{line}" if line[0] in ".:" else line) for old, new, line in CHANGED),
    *((f"{GOOD}    {added}\n", f"experiments.freeze.{line}") for added, line in ADDED),
    *((f"{GOOD}{beside}\n", line) for beside, line in BESIDE),
    *((dam_with(wrong), f"experiments.d.{line}") for wrong, line in DAM),
]


@pytest.mark.parametrize("content, expected", FILES, ids=[line for _, line in FILES])
def test_a_file_that_yaml_cannot_read_or_misreads_is_refused_in_one_line(content, expected, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = mistake_of_file(path)
    assert line.startswith(f"{path}: {expected}") and "\n" not in line


@pytest.mark.parametrize("content, expected", BAD, ids=[line for _, line in BAD])
def test_a_bad_configuration_is_refused_in_one_line_that_names_the_mistake(content, expected, monkeypatch):
    # The path of a folder is looked up in the folder of the call.
    monkeypatch.chdir(REPOSITORY)
    (line,) = mistakes_of(yaml.safe_load(content))
    assert line.startswith(expected) and "\n" not in line


@pytest.mark.parametrize(
    "number", ["10", "0", "07", "0x1F", "0b11", "1_000", "0.5", "1e-3", "'010'", "'1:40'", "08"]
)
def test_a_number_or_a_text_that_yaml_reads_as_it_looks_is_no_mistake_of_the_file(number, tmp_path):
    path = tmp_path / "good.yaml"
    path.write_text(f"K: {number}\n")
    assert mistake_of_file(path) is None


@pytest.mark.parametrize(
    "content, expected",
    [
        ('{\n\t"experiments": {"a": {"lr": 1e-3, "K": 10}}\n}', None),
        ('{"experiments": {"a": {"lr": 1}, "a": {}}}', "a is there twice; give it once"),
        ("[1, 2]", "is not a mapping with the key experiments"),
    ],
    ids=["tabs", "a key twice", "a list"],
)
def test_a_json_file_is_read_as_snakemake_reads_it(content, expected, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(content)
    assert mistake_of_file(path) == (expected and f"{path}: {expected}")


def test_nested_values_of_the_command_line_have_numbers():
    given = parse_config(
        ["first_seed=3", "experiments={'a': {'seeds': 3, 'lr': 0.5, 'freeze': 'none', 'x': null}}"]
    )
    nested = {"experiments": {"a": {"seeds": 3, "lr": 0.5, "freeze": "none", "x": None}}}
    assert nested_values(given) == nested and given["first_seed"] == 3


def test_a_file_that_is_not_there_is_named():
    assert mistake_of_file("config/absent.yaml").startswith("config/absent.yaml: No such file or directory")
    assert mistake_of_file("config").startswith("config: Is a directory")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    return copy_repository(tmp_path_factory.mktemp("repository"))


def files_of(folder):
    return {path for path in folder.rglob("*") if not {".snakemake", "__pycache__"} & set(path.parts)}


def refusal(folder, *arguments):
    """The lines that a dry run which is refused prints, without what Snakemake says about profiles."""
    before = files_of(folder)
    result = snakemake(folder, "-n", *arguments, check=False)
    assert result.returncode != 0
    assert files_of(folder) == before, "something was written"
    printed = (result.stdout + result.stderr).splitlines()
    return [line for line in printed if line and not line.startswith("Using workflow specific profile")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content, expected",
    [
        (
            GOOD + "  other:\n    model: lstm\n",
            [
                "experiments.other.seeds: missing; needs an integer from 1 to 1000",
                'experiments.other.model: "lstm" is not one of one_layer_attention, gpt, dam',
            ],
        ),
        (
            GOOD + "    conditions: [{lr: 0.1, lr: 0.2}]\n",
            ["bad.yaml: line 17: experiments.freeze.conditions.0.lr is there twice; give it once"],
        ),
        (
            GOOD + "claims: no/claims.yaml\n",
            ["no/claims.yaml: No such file or directory; name a YAML file, such as report/claims.yaml"],
        ),
    ],
    ids=["two mistakes", "a key twice", "claims"],
)
def test_a_bad_file_ends_a_dry_run_with_a_line_for_each_mistake(content, expected, repository, tmp_path):
    (tmp_path / "bad.yaml").write_text(content)
    lines = refusal(repository, "--configfile", tmp_path / "bad.yaml")
    assert [line.removeprefix(f"{tmp_path}/") for line in lines] == expected


# Every printable character, and others that a file system takes.
CHARACTERS = [*map(chr, range(1, 256)), "日", "\u0301", "\u2028", "\ufeff", "😀"]
PATHS = [
    *(f"{before}{character}{after}" for character in CHARACTERS for before in ("", "a") for after in ("", "b")),
    *(f"a{one}b{other}c" for one, other in itertools.product(map(chr, range(32, 127)), repeat=2)),
]


def means_itself(path):
    """Whether Snakemake takes a path as it is, in the pattern of an output as well as in a message."""
    pattern = f"{path}/{{group}}/x.pkl"
    if Pathvars.with_defaults().apply(pattern) != pattern or IOFile(path, None).contains_wildcard():
        return False
    file = apply_wildcards(pattern, {"group": "g"})
    found = re.match(regex_from_filepattern(pattern), f"{path}/g/x.pkl")
    return file == f"{path}/g/x.pkl" and found and found["group"] == "g" and snakemake_format(path) == path


def test_a_folder_of_any_characters_means_itself_to_snakemake_or_is_refused(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = TypeAdapter(Folder)
    accepted = []
    for path in PATHS:
        with suppress(ValidationError):
            accepted.append(folder.validate_python(path))
    assert [path for path in accepted if not means_itself(path)] == []
    # The refused are few, and refused in one line.
    refused = {character for character in CHARACTERS if f"a{character}b" not in accepted}
    assert {*"*?{}<>~$: \n\t"} <= refused and not refused & {*"\"#%&'()+,-.;=@[\\]^_`|!éß日😀"}
    for character in refused:
        (line,) = mistakes_of(configuration() | {"cache_dir": f"a{character}b"})
        assert line.startswith("cache_dir: ") and "is not the path of a folder, without" in line
        assert len(line.splitlines()) == 1


def test_the_repository_in_a_folder_of_any_characters_is_read_by_snakemake_or_refused():
    for path in PATHS:
        script = LocalSourceFile(f"/{path}/envs/tables.yaml")
        try:
            sound = script.format(group="g").get_path_or_uri(secret_free=True) == f"/{path}/envs/tables.yaml"
        except (ValueError, NameError, LookupError):
            sound = False
        assert sound or mistake_of_folder(Path(f"/{path}"))
    (line,) = mistake_of_folder(Path("/a{b")).splitlines()
    assert line.startswith("/a{b: has a brace") and mistake_of_folder(Path("/a b")) is None


def test_names_of_experiments_and_runs_have_no_character_of_snakemakes_syntax():
    for character in CHARACTERS:
        named = configuration()
        named["experiments"] = {f"a{character}b": named["experiments"].pop("freeze")}
        if mistakes_of_name := mistakes_or_none(named):
            assert (
                len(mistakes_of_name[0].splitlines()) == 1
                and "is not a name of an experiment" in mistakes_of_name[0]
            )
        else:
            assert re.fullmatch(r"[a-z0-9_]", character)
    sweep = {"lr": [1e-20, "1e+5"], "weights_seed": [None, 3], "test_earlier_sets": [True, False]}
    for run in read_configuration(configuration(sweep=sweep), FIGURES).runs:
        assert re.fullmatch(r"[\w.+-]+", run.name, re.ASCII) and means_itself(run.name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "call, expected",
    [
        (["--configfile", "config/smoke.yaml", "dam_memory"], "dam_memory: is not a file that is there. "),
        (["--configfile", "config/absent.yaml"], "config/absent.yaml: is not a file that is there. "),
        (["--config", "first_seed=1", "dam_memory"], "dam_memory: is not key=value. Snakemake"),
    ],
    ids=["a target", "an absent file", "a target after --config"],
)
def test_a_word_that_snakemake_takes_for_a_file_or_a_value_is_named_in_one_line(call, expected, repository):
    (line,) = refusal(repository, *call)
    assert line.startswith(expected) and line.endswith("or after --")


@pytest.mark.slow
def test_an_absent_default_file_is_named_in_one_line(tmp_path):
    folder = copy_repository(tmp_path)
    (folder / "config" / "config.yaml").unlink()
    (line,) = refusal(folder)
    assert line.startswith("config/config.yaml: No such file or directory")
