"""The configuration file: its shape, the runs that it asks for, and what is wrong with it in plain lines."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .settings import LARGEST, SETTINGS_OF_MODEL, RunSettings, allowed_values
from .wording import did_you_mean, nearest, one_of, shown, shown_key

EXPERIMENT_KEYS = ("seeds", "sweep", "conditions", "figures")
# `snakemake <experiment>` asks for an experiment as it does for a rule.
RULES = ("all", "generate_sequences", "train_trunk", "train", "evaluate_validation", "aggregate")
# From one checkpoint of a training to the next. It changes no result, and is no setting of a run.
CHECKPOINT_SECONDS = 300
DEFAULT_FOLDERS = {"cache_dir": "cache", "results_dir": "results"}
# A run's name is a folder's name and the beginning of its files' names, which file systems limit to
# 255 bytes; the difference is room for the longest ending and for a temporary file's.
MAX_RUN_NAME = 190
MAX_SEEDS = 1000
# More runs than any study needs; the plan itself would take minutes.
MAX_RUNS = 2000

# What a figure can need of an experiment: whether its settings and what they differ in have it, and what to do.
NEEDS: dict[str, tuple[Callable[[list[RunSettings], list[str]], bool], str]] = {
    "a switch": (
        lambda settings, keys: any(one.num_switches for one in settings),
        "set num_switches to 1 or more",
    ),
    "tests of earlier sets": (
        lambda settings, keys: all(one.test_earlier_sets for one in settings if one.num_switches),
        "set test_earlier_sets to true",
    ),
    "the model dam": (
        lambda settings, keys: any(one.model == "dam" for one in settings),
        "set model to dam, or add a condition with it",
    ),
    "a transformer": (
        lambda settings, keys: any(one.model != "dam" for one in settings),
        "set model to one_layer_attention or gpt, or add a condition with it",
    ),
    "a sweep of K": (lambda settings, keys: "K" in keys, "give K several values in sweep"),
    "one swept number": (
        lambda settings, keys: len(keys) == 1 and all(_is_number(getattr(one, keys[0], None)) for one in settings),
        "sweep one setting that is a number",
    ),
}


class ConfigurationError(ValueError):
    """What is wrong with a configuration: one line a mistake.

    Each names the path, the value and what would be right.
    """

    def __init__(self, mistakes: list[str]):
        self.mistakes = list(dict.fromkeys(mistakes))
        super().__init__("\n".join(self.mistakes))


@dataclass(frozen=True)
class Run:
    """One training with one setting of everything, seed included."""

    group: str
    name: str
    settings: dict[str, Any]
    condition: dict[str, Any]
    """What the runs of a group differ in, but for the seed; None for a setting that the model lacks."""


@dataclass(frozen=True)
class Configuration:
    """A configuration file, checked and expanded to its runs."""

    cache_dir: str
    results_dir: str
    checkpoint_seconds: float
    runs: tuple[Run, ...]
    figures: dict[str, tuple[str, ...]]
    """The names of the figures of each group."""


def read_configuration(config: dict[str, Any], known_figures: Mapping[str, tuple[str, ...]]) -> Configuration:
    """Check the content of a configuration file and expand its experiments to runs.

    ``known_figures`` are the figures that can be drawn, with what each needs of an experiment (a key of
    `NEEDS`). Raises `ConfigurationError` with every mistake.
    """
    mistakes = [
        f"plot_{figure}.py: NEEDS has {shown(need)}, which is not {one_of(NEEDS)}"
        for figure, needs in known_figures.items()
        for need in needs
        if need not in NEEDS
    ]
    if mistakes:
        raise ConfigurationError(mistakes)
    mistakes = _unknown_keys(config, (*DEFAULT_FOLDERS, "checkpoint_seconds", "defaults", "experiments"), "")
    folders = {}
    for key, default in DEFAULT_FOLDERS.items():
        folders[key] = config.get(key, default)
        if not _is_folder(folders[key]):
            mistakes.append(
                f"{key}: {shown(folders[key])} is not the path of a folder, without * ? {{ }} ~ $ :, "
                "space, a part that is a single dot or a final slash"
            )
    seconds = config.get("checkpoint_seconds", CHECKPOINT_SECONDS)
    if not _is_number(seconds) or not 0 < seconds <= LARGEST:
        mistakes.append(f"checkpoint_seconds: {shown(seconds)} is not a positive number of seconds")
    defaults = config.get("defaults", {})
    mistakes += _mistakes_of_defaults(defaults)
    experiments = config.get("experiments")
    if not isinstance(experiments, dict) or not experiments:
        value = shown(experiments) if "experiments" in config else "missing"
        mistakes.append(f"experiments: {value} is not a mapping from names to experiments")
        experiments = {}
    runs, figures = [], {}
    for group, experiment in experiments.items():
        if mistake := _mistake_of_name(group):
            mistakes.append(mistake)
        elif not isinstance(experiment, dict):
            mistakes.append(f"experiments.{group}: {shown(experiment)} is not a mapping of settings")
        else:
            new_mistakes, new_runs = _expand(
                group, experiment, defaults if isinstance(defaults, dict) else {}, known_figures
            )
            mistakes += new_mistakes
            runs += new_runs
            figures[group] = tuple(experiment.get("figures") or ())
    if mistakes:
        raise ConfigurationError(mistakes)
    return Configuration(**folders, checkpoint_seconds=seconds, runs=tuple(runs), figures=figures)


def _expand(
    group: str, experiment: dict, defaults: dict, known_figures: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], list[Run]]:
    """Return the mistakes of one experiment, and its runs where there are none."""
    path = f"experiments.{group}"
    mistakes = _mistakes_of_experiment_keys(path, experiment, known_figures)
    if too_many := _too_many_runs(path, experiment):
        return [*mistakes, too_many], []
    # The settings are checked even so, with what of the sweeps can be: every wrong value in one go, and where
    # there is none, what cannot go together.
    found = []
    for given, source, swept in _combinations(path, experiment):
        model = given.get("model")
        if not isinstance(model, str) or model not in SETTINGS_OF_MODEL:
            value = f"{shown(model)} is not" if "model" in given else "missing; needs"
            mistakes.append(f"{source.get('model', f'{path}.model')}: {value} {one_of(SETTINGS_OF_MODEL)}")
            continue
        inherited = defaults.get(model)
        if isinstance(inherited, dict):
            given = inherited | given
            source = {key: f"defaults.{model}.{shown_key(key)}" for key in inherited} | source
        new_mistakes, settings = _validate(path, given, source)
        mistakes += new_mistakes
        if settings:
            found.append((settings, swept))
    if mistakes:
        return mistakes, []
    keys = _condition_keys(found, experiment)
    swept_anywhere = {key for _, swept in found for key in swept}
    all_settings = [settings for settings, _ in found]
    mistakes += [
        f"{path}.figures: {figure} needs {need}: {NEEDS[need][1]}, or leave it out"
        for figure in experiment.get("figures", [])
        for need in known_figures[figure]
        if not NEEDS[need][0](all_settings, keys)
    ]
    runs, names = [], Counter()
    for settings, _ in found:
        resolved = settings.resolved()
        # As resolved: what null stands for, and 0 for the exponent of a uniform sampling.
        condition = {key: resolved.get(key) for key in keys}
        # What no sweep names, and is as it is by default, goes without saying.
        fields = type(settings).model_fields
        named = {
            key: value
            for key, value in condition.items()
            if key in swept_anywhere or key not in fields or getattr(settings, key) != fields[key].default
        }
        names[run_name(settings.model, named, 0)] += 1
        for seed in range(experiment["seeds"]):
            run = run_name(settings.model, named, seed)
            runs.append(Run(group, run, resolved | {"seed": seed}, condition))
    mistakes += [
        f"{path}: {name} is there twice; give each condition once" for name, number in names.items() if number > 1
    ]
    mistakes += [
        f"{path}.sweep: a run's name of {len(name)} characters, {name[:40]}…, is longer than "
        f"{MAX_RUN_NAME}; sweep fewer settings"
        for name in names
        if len(name) > MAX_RUN_NAME
    ]
    return mistakes, runs


def _combinations(path: str, experiment: dict) -> Iterator[tuple[dict, dict[str, str], tuple[str, ...]]]:
    """Yield the settings that each run is given, where each stands in the file, and which are swept."""
    base = {key: value for key, value in experiment.items() if key not in EXPERIMENT_KEYS}
    sweep = _sound_part_of_sweep(experiment)
    for where, entry in _conditions(path, experiment):
        fixed = {key: value for key, value in entry.items() if key not in EXPERIMENT_KEYS}
        entry_sweep = _sound_part_of_sweep(entry)
        source = {key: f"{path}.{shown_key(key)}" for key in base}
        source |= {key: f"{path}.sweep.{shown_key(key)}" for key in sweep}
        source |= {key: f"{where}.{shown_key(key)}" for key in fixed}
        source |= {key: f"{where}.sweep.{shown_key(key)}" for key in entry_sweep}
        swept = sweep | entry_sweep
        for values in itertools.product(*swept.values()):
            yield base | fixed | dict(zip(swept, values, strict=True)), source, tuple(swept)


def _too_many_runs(path: str, experiment: dict) -> str | None:
    """Say how many runs an experiment has, where they are too many, without making them."""
    seeds = experiment.get("seeds")
    number_of_seeds = seeds if type(seeds) is int and 1 <= seeds <= MAX_SEEDS else 1
    swept = [len(values) for values in _sound_part_of_sweep(experiment).values()]
    conditions = sum(
        math.prod([*swept, *(len(values) for values in _sound_part_of_sweep(entry).values())])
        for _, entry in _conditions(path, experiment)
    )
    if conditions * number_of_seeds <= MAX_RUNS:
        return None
    return (
        f"{path}: {conditions} conditions with {number_of_seeds} seeds are {conditions * number_of_seeds} runs, "
        f"more than {MAX_RUNS}; sweep fewer values"
    )


def _conditions(path: str, experiment: dict) -> list[tuple[str, dict]]:
    """Return the entries of `conditions`, each with its path: the experiment is their union."""
    entries = experiment.get("conditions")
    if not isinstance(entries, list):
        return [(path, {})]
    return [(f"{path}.conditions.{i}", entry) for i, entry in enumerate(entries) if isinstance(entry, dict)]


def _condition_keys(found: list[tuple[RunSettings, tuple[str, ...]]], experiment: dict) -> list[str]:
    """Return what the runs of an experiment differ in: swept, or not the same in all its conditions."""
    mentioned = [key for _, entry in _conditions("", experiment) for key in entry if key != "sweep"]
    keys = {key: True for _, swept in found for key in swept}
    for key in mentioned:
        values_of_model: dict[str, set] = {}
        for settings, _ in found:
            if hasattr(settings, key):
                group = "" if key == "model" else settings.model
                values_of_model.setdefault(group, set()).add(getattr(settings, key))
        if any(len(values) > 1 for values in values_of_model.values()):
            keys.setdefault(key, True)
    return sorted(keys, key=lambda key: key != "model")


def _validate(path: str, given: dict, source: dict[str, str]) -> tuple[list[str], RunSettings | None]:
    """Check the settings of one run, whose paths in the file are in ``source``."""
    settings_type = SETTINGS_OF_MODEL[given["model"]]
    properties = settings_type.model_json_schema()["properties"]
    mistakes, meant = [], set()
    for key in given:
        if key in EXPERIMENT_KEYS:
            mistakes.append(f"{source[key]}: belongs in an experiment, not here")
        elif key == "seed":
            mistakes.append(f"{source[key]}: a seed is not set by hand; set {path}.seeds, how many there are")
        elif key not in properties:
            known = (*(k for k in properties if k != "seed"), *EXPERIMENT_KEYS)
            others = [model for model, other in SETTINGS_OF_MODEL.items() if key in other.model_fields]
            if others:
                wrong = f"a setting of {' and '.join(others)}, which {given['model']} has not; leave it out"
            else:
                wrong = f"unknown setting{did_you_mean(key, known)}"
                meant.add(nearest(key, known))
            mistakes.append(f"{source[key]}: {wrong}")
    known_only = {key: value for key, value in given.items() if key in properties}
    try:
        settings = settings_type(**known_only | {"seed": 0})
    except ValidationError as error:
        for detail in error.errors():
            key = detail["loc"][0]
            right = allowed_values(properties[key])
            if detail["type"] == "less_than_equal" and detail["ctx"]["le"] == LARGEST:
                right += f" up to {LARGEST}"
            if detail["type"] == "missing":
                if key not in meant:
                    mistakes.append(f"{path}.{key}: missing; needs {right}")
            else:
                mistakes.append(f"{source[key]}: {shown(known_only[key])} is not {right}")
        return mistakes, None
    for key, wrong in settings.impossible():
        mistakes.append(f"{source.get(key, f'{path}.{key}')}: {wrong}")
    return mistakes, settings


def run_name(model: str, condition: dict[str, Any], seed: int) -> str:
    """Return the name of a run: its model, the swept settings with their values, and its seed."""
    swept = [
        f"{key}_{_in_name(value)}" for key, value in condition.items() if key != "model" and value is not None
    ]
    return "_".join([model, *swept, f"seed_{seed}"])


def _in_name(value: Any) -> str:
    return shown(value).strip('"')


def _mistakes_of_experiment_keys(
    path: str, experiment: dict, known_figures: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Check what an experiment has beside settings: `seeds`, `sweep`, `conditions` and `figures`."""
    mistakes = []
    seeds = experiment.get("seeds", "missing")
    if type(seeds) is not int or not 1 <= seeds <= MAX_SEEDS:
        value = "missing; needs" if seeds == "missing" else f"{shown(seeds)} is not"
        mistakes.append(f"{path}.seeds: {value} an integer from 1 to {MAX_SEEDS}")
    mistakes += _mistakes_of_sweep(path, experiment)
    entries = experiment.get("conditions", [{}])
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        mistakes.append(f"{path}.conditions: {shown(entries)} is not a list of mappings of settings")
    for where, entry in _conditions(path, experiment):
        mistakes += [
            f"{where}.{key}: belongs to the experiment, not to one of its conditions"
            for key in EXPERIMENT_KEYS
            if key in entry and key != "sweep"
        ]
        mistakes += _mistakes_of_sweep(where, entry)
        twice = set(_sound_part_of_sweep(experiment)) & {*entry, *_sound_part_of_sweep(entry)}
        if where != path:
            mistakes += [f"{path}.sweep.{key}: also in {where}; give it in one place" for key in sorted(twice)]
    figures = experiment.get("figures", [])
    if not isinstance(figures, list):
        mistakes.append(f"{path}.figures: {shown(figures)} is not a list of figures")
    else:
        mistakes += [
            f"{path}.figures: {shown(figure)} is not {one_of(known_figures)}{did_you_mean(figure, known_figures)}"
            for figure in figures
            if figure not in tuple(known_figures)
        ]
    return mistakes


def _mistakes_of_sweep(path: str, entry: dict) -> list[str]:
    """Check the `sweep` of an experiment or of one of its conditions."""
    sweep = entry.get("sweep", {})
    if not isinstance(sweep, dict):
        return [f"{path}.sweep: {shown(sweep)} is not a mapping from settings to lists"]
    mistakes = []
    for key, values in sweep.items():
        swept = f"{path}.sweep.{shown_key(key)}"
        if key in EXPERIMENT_KEYS:
            mistakes.append(f"{swept}: not a setting, so it cannot be swept")
        elif key in entry:
            mistakes.append(f"{path}.{shown_key(key)}: also in the sweep; give it in one place")
        if not isinstance(values, list) or not values:
            mistakes.append(f"{swept}: {shown(values)} is not a list of one value or more")
        else:
            mistakes += [
                f"{swept}: {shown(value)} is there twice; give each value once"
                for i, value in enumerate(values)
                if value in values[:i]
            ]
    return mistakes


def _sound_part_of_sweep(entry: dict) -> dict[str, list]:
    sweep = entry.get("sweep")
    if not isinstance(sweep, dict):
        return {}
    return {
        key: values
        for key, values in sweep.items()
        if key not in EXPERIMENT_KEYS and isinstance(values, list) and values
    }


def _mistakes_of_defaults(defaults: Any) -> list[str]:
    if not isinstance(defaults, dict):
        return [f"defaults: {shown(defaults)} is not a mapping from models to settings"]
    mistakes = _unknown_keys(defaults, tuple(SETTINGS_OF_MODEL), "defaults.")
    mistakes += [
        f"defaults.{model}: {shown(settings)} is not a mapping of settings"
        for model, settings in defaults.items()
        if not isinstance(settings, dict)
    ]
    for model, settings in defaults.items():
        if model in SETTINGS_OF_MODEL and isinstance(settings, dict):
            path = f"defaults.{model}"
            source = {key: f"{path}.{shown_key(key)}" for key in settings}
            if settings.get("model", model) != model:
                mistakes.append(f"{path}.model: {shown(settings['model'])} is not {model}")
            found, _ = _validate(path, settings | {"model": model}, source)
            # What is missing here, an experiment may give.
            mistakes += [mistake for mistake in found if ": missing; needs" not in mistake]
    return mistakes


def _mistake_of_name(group: Any) -> str | None:
    # Snakemake takes many repeats of one part of a path for a rule that feeds itself.
    periodic = isinstance(group, str) and re.search(r"(.+?)\1{5}", group)
    if group in RULES or (isinstance(group, str) and group.startswith("plot_")):
        return f"experiments: {shown(group)} is the name of a rule of the workflow; give the experiment another"
    if isinstance(group, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", group) and not periodic:
        return None
    return (
        f"experiments: {shown(group)} is not a name of an experiment: small letters, digits and "
        "underscores, a letter first, at most 64, nothing six times over"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unknown_keys(mapping: dict, known: tuple[str, ...], path: str) -> list[str]:
    return [
        f"{path}{shown_key(key)}: unknown key{did_you_mean(key, known)}" for key in mapping if key not in known
    ]


def _is_folder(value: Any) -> bool:
    return (
        isinstance(value, str)
        and re.fullmatch(r"[^\s*?{}~$:\x00-\x1f\x7f]*[^\s*?{}~$:\x00-\x1f\x7f/]", value) is not None
        and all(len(part.encode()) <= 255 and part != "." for part in value.split("/"))
        and not any(path.is_file() for path in (Path(value), *Path(value).parents))
    )
