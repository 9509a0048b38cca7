"""The runs of a configuration file, and one plain line for each mistake in it."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from ..limits import MAX_CONDITIONS_OF_FIGURE, too_many_conditions
from .identity import identity, settings_without_neutral_value
from .settings import (
    OTHERWISE,
    SETTINGS_OF_MODEL,
    DamSettings,
    RunSettings,
    TransformerSettings,
    is_list,
)
from .shape import (
    EXPERIMENT_KEYS,
    Condition,
    ConfigurationFile,
    Defaults,
    Experiment,
    check_shape,
    setting_schemas,
    what_is_right,
)
from .trunks import trunk_name
from .wording import did_you_mean, nearest, one_of, shown, shown_key

# A run's name is a folder's name and the beginning of its files' names, which file systems limit to
# 255 bytes; the difference is room for the longest ending and for a temporary file's.
MAX_RUN_NAME = 190
# So many take Snakemake a minute and a gigabyte to plan (docs/scaling.md).
MAX_RUNS = 10_000


def _advice_to_use(settings_type: type[RunSettings]) -> str:
    models = [model for model, settings in SETTINGS_OF_MODEL.items() if issubclass(settings, settings_type)]
    return f"set model to {' or '.join(models)}, or add a condition with it"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# The properties that a figure can need of an experiment: a test of the settings and the condition keys, and what
# to do if it fails.
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
        lambda settings, keys: any(isinstance(one, DamSettings) for one in settings),
        _advice_to_use(DamSettings),
    ),
    "a transformer": (
        lambda settings, keys: any(isinstance(one, TransformerSettings) for one in settings),
        _advice_to_use(TransformerSettings),
    ),
    "sequences of different frequency": (
        lambda settings, keys: any(one.resolved()["zipf_exponent"] for one in settings),
        "set sequence_sampling_distribution to zipf",
    ),
    "two conditions of one model": (
        lambda settings, keys: len(settings) > len({one.model for one in settings}),
        "give a setting several values in sweep, or add a condition",
    ),
    "saved weights": (
        lambda settings, keys: any(one.saved_iters for one in settings),
        "set saved_iters to a list of iterations",
    ),
    "a sweep of K": (lambda settings, keys: "K" in keys, "give K several values in sweep"),
    "a sweep of M": (lambda settings, keys: "M" in keys, "give M several values in sweep"),
    "a sweep of H": (lambda settings, keys: "H" in keys, "give H several values in sweep"),
    "sweeps of lr_after_switch and batch_size_after_switch": (
        lambda settings, keys: {"lr_after_switch", "batch_size_after_switch"} <= {*keys},
        "give both several values in sweep",
    ),
    "one swept number": (
        lambda settings, keys: (
            len(keys) == 2
            and len({one.model for one in settings}) == 1
            and all(_is_number(getattr(one, keys[1])) for one in settings)
        ),
        "sweep one setting that is a number, with one model",
    ),
}


class ConfigurationError(ValueError):
    """One line for each mistake in a configuration.

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
    """The model, and the settings in which the runs of a group differ, without the seed.

    None stands for a setting that the model does not have.
    """

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The settings that decide if the run is computed again, found once."""
        return identity(self.settings)

    @cached_property
    def trunk(self) -> str | None:
        """The name of the trunk that the run goes on from, if it has a switch."""
        return trunk_name(self.settings) if self.settings["num_switches"] else None


@dataclass(frozen=True)
class Configuration:
    """A configuration file, checked and expanded to its runs."""

    cache_dir: str
    results_dir: str
    claims: str | None
    checkpoint_seconds: float
    runs: tuple[Run, ...]
    figures: dict[str, tuple[str, ...]]
    """The names of the figures of each group."""
    references: dict[str, dict[str, dict[str, Any]]]
    """For each group and each of its models the condition that the others of the model are compared with."""

    @cached_property
    def runs_by_name(self) -> dict[str, dict[str, Run]]:
        """The runs of each group, by name."""
        groups: dict[str, dict[str, Run]] = {group: {} for group in self.figures}
        for run in self.runs:
            groups[run.group][run.name] = run
        return groups


def read_configuration(config: dict[str, Any], known_figures: Mapping[str, tuple[str, ...]]) -> Configuration:
    """Check the content of a configuration file and expand its experiments to runs.

    ``known_figures`` are the figures that can be drawn, with what each needs of an experiment (a key of
    `NEEDS`). Raises `ConfigurationError` with every mistake.
    """
    mistakes_of_code = [
        f"plot_{figure}.py: NEEDS has {shown(need)}, which is not {one_of(NEEDS)}"
        for figure, needs in known_figures.items()
        for need in needs
        if need not in NEEDS
    ]
    mistakes_of_code += settings_without_neutral_value()
    if mistakes_of_code:
        raise ConfigurationError(mistakes_of_code)
    file, mistakes = check_shape(config, known_figures)
    mistakes += _mistakes_of_defaults(file.defaults)
    runs, references = [], {}
    for group, experiment in file.experiments.items():
        new_mistakes, new_runs, references[group] = _expand(group, experiment, file, known_figures)
        mistakes += new_mistakes
        runs += new_runs
    if mistakes:
        raise ConfigurationError(mistakes)
    return Configuration(
        cache_dir=file.cache_dir,
        results_dir=file.results_dir,
        claims=file.claims,
        checkpoint_seconds=file.checkpoint_seconds,
        runs=tuple(runs),
        figures={group: tuple(experiment.figures) for group, experiment in file.experiments.items()},
        references=references,
    )


def _expand(
    group: str, experiment: Experiment, file: ConfigurationFile, known_figures: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], list[Run], dict[str, dict[str, Any]]]:
    """Return the mistakes of one experiment, its runs and its references.

    If there are mistakes, there are no runs.
    """
    path = f"experiments.{shown_key(group)}"
    mistakes = _given_twice(path, experiment)
    unsweepable = [*_swept_lists(path, experiment), *_too_many_runs(path, experiment)]
    if unsweepable:
        return [*mistakes, *unsweepable], [], {}
    found = [_validate(path, given, paths, file.defaults) for given, paths in _combinations(path, experiment)]
    mistakes += [mistake for new_mistakes, _ in found for mistake in new_mistakes]
    if mistakes:
        return mistakes, [], {}
    conditions = [settings for _, settings in found]
    keys = _condition_keys(conditions, experiment)
    mistakes, references = _references(f"{path}.reference", experiment, conditions)
    mistakes += [
        f"{path}.figures: {figure} needs {need}: {NEEDS[need][1]}, or leave it out"
        for figure in experiment.figures
        for need in known_figures[figure]
        if not NEEDS[need][0](conditions, keys)
    ]
    if len(conditions) > MAX_CONDITIONS_OF_FIGURE:
        mistakes += [
            f"{path}.figures: {figure}: {too_many_conditions(len(conditions))}" for figure in experiment.figures
        ]
    seeds = range(file.first_seed, file.first_seed + experiment.seeds)
    runs = [run for settings in conditions for run in _runs(group, settings, keys, experiment, seeds)]
    mistakes += _mistakes_of_names(path, runs, experiment)
    return mistakes, runs, {model: _condition(settings, keys) for model, settings in references.items()}


def _conditions(path: str, experiment: Experiment) -> list[tuple[str, Condition]]:
    """Return the conditions of an experiment, each with its path.

    An experiment without conditions has one that adds nothing.
    """
    if not experiment.conditions:
        return [(path, Condition())]
    return [(f"{path}.conditions.{i}", condition) for i, condition in enumerate(experiment.conditions)]


def _given_twice(path: str, experiment: Experiment) -> list[str]:
    """Return a line for each setting that is swept and given, or swept twice."""
    mistakes = []
    for where, entry in [(path, experiment), *_conditions(path, experiment)]:
        mistakes += [
            f"{where}.{shown_key(key)}: also in the sweep; give it in one place"
            for key in entry.settings
            if key in entry.sweep.root
        ]
        if entry is not experiment:
            mistakes += [
                f"{path}.sweep.{shown_key(key)}: also in {where}; give it in one place"
                for key in experiment.sweep.root
                if key in entry.settings or key in entry.sweep.root
            ]
    return mistakes


def _is_list_setting(key: Any) -> bool:
    """Tell whether a setting of any model is a list."""
    return any(is_list(setting_schemas(model).get(key, {})) for model in SETTINGS_OF_MODEL)


def _swept_lists(path: str, experiment: Experiment) -> list[str]:
    """Return a line for each sweep of a setting that is a list."""
    return [
        f"{where}.sweep.{shown_key(key)}: a setting that is a list cannot be swept; give it one list, beside sweep"
        for where, entry in [(path, experiment), *_conditions(path, experiment)]
        for key in entry.sweep.root
        if _is_list_setting(key)
    ]


def _too_many_runs(path: str, experiment: Experiment) -> list[str]:
    """Return a line with the number of runs if they are too many."""
    conditions = sum(
        math.prod(map(len, (experiment.sweep.root | condition.sweep.root).values()))
        for _, condition in _conditions(path, experiment)
    )
    runs = conditions * experiment.seeds
    if runs <= MAX_RUNS:
        return []
    return [
        f"{path}: {conditions} conditions with {experiment.seeds} seeds are {runs} runs, "
        f"more than {MAX_RUNS}; sweep fewer values"
    ]


def _combinations(path: str, experiment: Experiment) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yield the settings that the file gives to each condition, and their paths."""
    for where, condition in _conditions(path, experiment):
        paths = {
            key: f"{place}.{shown_key(key)}"
            for place, settings in (
                (path, experiment.settings),
                (f"{path}.sweep", experiment.sweep.root),
                (where, condition.settings),
                (f"{where}.sweep", condition.sweep.root),
            )
            for key in settings
        }
        swept = experiment.sweep.root | condition.sweep.root
        for values in itertools.product(*swept.values()):
            combination = dict(zip(swept, values, strict=True))
            yield experiment.settings | condition.settings | combination, paths


def _swept(experiment: Experiment) -> list[str]:
    """Return the settings that are swept in an experiment or in one of its conditions."""
    return list(dict.fromkeys(key for entry in (experiment, *experiment.conditions) for key in entry.sweep.root))


def _validate(
    path: str, given: dict, paths: dict[str, str], defaults: Defaults
) -> tuple[list[str], RunSettings | None]:
    """Check the settings that the file gives to one condition, and the defaults.

    The defaults are those of the condition's model. ``paths`` has the place of each given setting in the file.
    Returns the mistakes, and the settings unless a value is wrong or missing.
    """
    model = given.get("model")
    if not isinstance(model, str) or model not in SETTINGS_OF_MODEL:
        value = f"{shown(model)} is not" if "model" in given else "missing; needs"
        return [f"{paths.get('model', f'{path}.model')}: {value} {one_of(SETTINGS_OF_MODEL)}"], None
    inherited = getattr(defaults, model)
    paths = {key: f"defaults.{model}.{shown_key(key)}" for key in inherited} | paths
    return _check_settings(path, inherited | given, paths)


def _check_settings(path: str, given: dict, paths: dict[str, str]) -> tuple[list[str], RunSettings | None]:
    """Check the settings of one condition by the class of its model.

    Returns the same as `_validate`.
    """
    model = given["model"]
    schemas = setting_schemas(model)
    known = {key: value for key, value in given.items() if key in schemas}
    mistakes, meant = _mistakes_of_keys(path, model, [key for key in given if key not in known], paths)
    try:
        settings = SETTINGS_OF_MODEL[model](**known, seed=0)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = detail["loc"][0]
            right = what_is_right(detail, schemas[key])
            if detail["type"] != "missing":
                mistakes.append(f"{paths[key]}: {shown(known[key])} is not {right}")
            elif key not in meant:
                mistakes.append(f"{path}.{key}: missing; needs {right}")
        return mistakes, None
    mistakes += [f"{paths.get(key, f'{path}.{key}')}: {wrong}" for key, wrong in settings.impossible()]
    return mistakes, settings


def _mistakes_of_keys(path: str, model: str, keys: list[str], paths: dict[str, str]) -> tuple[list[str], set[str]]:
    """Return a line for each key that is no setting, and the settings probably meant."""
    mistakes, meant = [], set()
    known = (*setting_schemas(model), *EXPERIMENT_KEYS)
    for key in keys:
        others = [other for other in SETTINGS_OF_MODEL if key in setting_schemas(other)]
        if key in EXPERIMENT_KEYS:
            wrong = "not a setting; it belongs to an experiment as a whole"
        elif key == "seed":
            wrong = f"a seed is not set by hand; set {path}.seeds, how many there are, and first_seed"
        elif others:
            wrong = f"a setting of {' and '.join(others)}, which {model} has not; leave it out"
        else:
            wrong = f"unknown setting{did_you_mean(key, known)}"
            meant.add(nearest(key, known))
        mistakes.append(f"{paths[key]}: {wrong}")
    return mistakes, meant


def _mistakes_of_defaults(defaults: Defaults) -> list[str]:
    mistakes = []
    for model, settings in defaults:
        path = f"defaults.{model}"
        paths = {key: f"{path}.{shown_key(key)}" for key in settings}
        if settings.get("model", model) != model:
            mistakes.append(f"{path}.model: {shown(settings['model'])} is not {model}")
        found, _ = _check_settings(path, settings | {"model": model}, paths)
        # An experiment may give what is missing here.
        mistakes += [mistake for mistake in found if ": missing; needs" not in mistake]
    return mistakes


def _condition_keys(conditions: list[RunSettings], experiment: Experiment) -> list[str]:
    """Return the keys of a condition: what the runs of an experiment differ in.

    They are the model, the settings that are swept, and those that differ between conditions with one model. A
    setting that is a list is none.
    """
    models = {settings.model for settings in conditions}
    different = [
        key
        for condition in experiment.conditions
        for key in condition.settings
        # Models without this setting count once each.
        if not _is_list_setting(key)
        and len({(settings.model, getattr(settings, key, None)) for settings in conditions}) > len(models)
    ]
    return list(dict.fromkeys(["model", *_swept(experiment), *different]))


def _references(
    path: str, experiment: Experiment, conditions: list[RunSettings]
) -> tuple[list[str], dict[str, RunSettings]]:
    """Return the mistakes of ``reference``, and that condition of each model."""
    of_models: dict[str, list[RunSettings]] = {}
    for settings in conditions:
        of_models.setdefault(settings.model, []).append(settings)
    given = experiment.reference.root
    if not given:
        return [], {model: settings[0] for model, settings in of_models.items()}
    unknown = [key for key in given if not any(key in setting_schemas(model) for model in of_models)]
    paths = {key: f"{path}.{shown_key(key)}" for key in unknown}
    mistakes, _ = _mistakes_of_keys(path, next(iter(of_models)), unknown, paths)
    references = {}
    for model, of_model in of_models.items():
        own = {key: value for key, value in given.items() if key in setting_schemas(model)}
        # A model that has none of these settings keeps its first condition.
        matching = [settings for settings in of_model if _has(settings, own)] if own else of_model[:1]
        if len(matching) == 1:
            references[model] = matching[0]
        elif not unknown:
            told = " and ".join(f"{shown_key(key)} {shown(value)}" for key, value in own.items())
            number = f"{len(matching)} conditions" if matching else "no condition"
            mistakes.append(f"{path}: {number} of {model} with {told}; give settings that exactly one has")
    return mistakes, references


def _has(settings: RunSettings, given: dict[str, Any]) -> bool:
    """Tell whether settings stay as they are with the given ones put in their place."""
    try:
        return type(settings)(**settings.model_dump() | given).resolved() == settings.resolved()
    except ValidationError:
        return False


def _condition(settings: RunSettings, keys: list[str]) -> dict[str, Any]:
    """Return the values of the keys of a condition."""
    # As resolved: what null stands for, and 0 for the exponent of a uniform sampling. A seed that is null is that
    # of each run.
    resolved = settings.resolved()
    return {key: getattr(settings, key) if OTHERWISE.get(key) == "seed" else resolved.get(key) for key in keys}


def _runs(group: str, settings: RunSettings, keys: list[str], experiment: Experiment, seeds: range) -> list[Run]:
    """Return the runs of one condition, one for each seed."""
    condition = _condition(settings, keys)
    # The name leaves out a setting that no sweep names and that has its default.
    swept, fields = _swept(experiment), type(settings).model_fields
    named = {
        key: value
        for key, value in condition.items()
        if key in swept or key not in fields or getattr(settings, key) != fields[key].default
    }
    return [
        Run(
            group,
            run_name(settings.model, named, seed),
            settings.model_copy(update={"seed": seed}).resolved(),
            condition,
        )
        for seed in seeds
    ]


def run_name(model: str, condition: dict[str, Any], seed: int) -> str:
    """Return the name of a run, made of its model, its condition and its seed."""
    shown_values = {key: shown(value).strip('"') for key, value in condition.items() if value is not None}
    swept = [f"{key}_{value}" for key, value in shown_values.items() if key != "model"]
    return "_".join([model, *swept, f"seed_{seed}"])


def _mistakes_of_names(path: str, runs: list[Run], experiment: Experiment) -> list[str]:
    """Return a line for each name that two runs have, or that is too long."""
    names = Counter(run.name for run in runs if run.settings["seed"] == runs[0].settings["seed"])
    lists = {key for condition in experiment.conditions for key in condition.settings if _is_list_setting(key)}
    hint = f" ({', '.join(sorted(lists))} tells no conditions apart)" if lists else ""
    return [
        f"{path}: {name} is there twice; give each condition once{hint}"
        for name, number in names.items()
        if number > 1
    ] + [
        f"{path}.sweep: a run's name of {len(name)} characters, {name[:40]}…, is longer than "
        f"{MAX_RUN_NAME}; sweep fewer settings"
        for name in names
        if len(name) > MAX_RUN_NAME
    ]
