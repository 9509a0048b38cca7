"""The shape of a configuration file: its keys, and what each of them may hold.

These models are the one definition of it: the checks, the JSON schema and the tables of keys in
`config/README.md` are made from them. They accept any setting, because the settings and their types depend on the
model of a run; `settings.py` has those.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from .settings import LARGEST, SETTINGS_OF_MODEL, Count, Number, allowed_values
from .wording import did_you_mean, one_of, shown, shown_key

MAX_SEEDS = 1000
# `snakemake <experiment>` asks for an experiment as it does for a rule.
RULES = (
    "all", "generate_sequences", "train_trunk", "train", "evaluate_validation", "aggregate", "claims_of_group",
    "claims",
)  # fmt: skip
NAME_PATTERN = "^[a-z][a-z0-9_]{0,63}$"
FOLDER_PATTERN = r"^[^\s*?{}<>~$:\x00-\x1f\x7f]*[^\s*?{}<>~$:\x00-\x1f\x7f/]$"


def mistake(text: str, levels_up: int = 0) -> PydanticCustomError:
    """Return an error with its own line, at the path so many levels above the value."""
    return PydanticCustomError("mistake", "{text}", {"text": text, "levels_up": levels_up})


def _name_of_experiment(name: Any) -> str:
    if name in RULES or (isinstance(name, str) and name.startswith("plot_")):
        wrong = "is the name of a rule of the workflow; give the experiment another"
    # Snakemake takes many repeats of one part of a path for a rule that feeds itself.
    elif isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) and not re.search(r"(.+?)\1{5}", name):
        return name
    else:
        wrong = (
            "is not a name of an experiment: small letters, digits and underscores, a letter first, at most 64, "
            "nothing six times over"
        )
    raise mistake(f"{shown(name)} {wrong}", levels_up=2)


def _possible_folder(path: str) -> str:
    sound = all(len(part.encode()) <= 255 and part != "." for part in path.split("/"))
    if not sound or any(folder.is_file() for folder in (Path(path), *Path(path).parents)):
        raise ValueError
    return path


def _known_figure(figure: Any, info: ValidationInfo) -> Any:
    known = tuple(info.context)
    if figure not in known:
        raise mistake(f"{shown(figure)} is not {one_of(known)}{did_you_mean(figure, known)}", levels_up=1)
    return figure


def _each_once(values: list[Any]) -> list[Any]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise mistake(f"{shown(value)} is there twice; give each value once")
    return values


# "allowed" says in words what a value must be, see `allowed_values`.
Folder = Annotated[
    str,
    Field(
        pattern=FOLDER_PATTERN,
        json_schema_extra={
            "allowed": "the path of a folder, without * ? { } < > ~ $ :, space, a part that is a single dot "
            "or a final slash"
        },
    ),
    AfterValidator(_possible_folder),
]
ExperimentName = Annotated[str, Field(pattern=NAME_PATTERN), BeforeValidator(_name_of_experiment)]
Figure = Annotated[str, BeforeValidator(_known_figure)]
SweptValues = Annotated[
    list[Any],
    Field(min_length=1, json_schema_extra={"allowed": "a list of one value or more", "uniqueItems": True}),
    AfterValidator(_each_once),
]


class Shape(BaseModel):
    """A mapping whose keys are all known."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Sweep(RootModel[dict[Any, SweptValues]]):
    """The settings that are swept, each with its values."""

    model_config = ConfigDict(strict=True, json_schema_extra={"allowed": "a mapping from settings to lists"})


class Reference(RootModel[dict[Any, Any]]):
    """The settings of the condition that the others of its model are compared with."""

    model_config = ConfigDict(strict=True, json_schema_extra={"allowed": "a mapping of settings"})


class Condition(Shape):
    """The settings that some runs of an experiment share, and those that are swept."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"allowed": "a mapping of settings"})

    sweep: Sweep = Field(
        default_factory=lambda: Sweep({}),
        description="settings with several values each: there is a run for every combination, and every seed",
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that stand here, not yet checked: their types depend on the model."""
        return self.model_extra or {}


class Experiment(Condition):
    """The settings that the runs of an experiment share, and the keys of the whole."""

    seeds: int = Field(
        ge=1,
        le=MAX_SEEDS,
        description="how many seeds each condition is run with: `first_seed`, the next and so on",
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        min_length=1,
        description="if one sweep is not enough: conditions, each with settings and a sweep of its own; the "
        "experiment is all of their runs",
        json_schema_extra={"allowed": "a list of mappings of settings"},
    )
    reference: Reference = Field(
        default_factory=lambda: Reference({}),
        description="settings that one condition of a model has: the one that the others of its model are "
        "compared with in the table `contrasts`; a model without them has its first condition",
    )
    figures: list[Figure] = Field(
        default_factory=list,
        description="the figures to draw: `by_epoch` is drawn by `workflow/scripts/plot_by_epoch.py`",
        json_schema_extra={"allowed": "a list of figures"},
    )


_OF_A_MODEL = Field(default_factory=dict, json_schema_extra={"allowed": "a mapping of settings"})
Defaults = create_model(
    "Defaults", __base__=Shape, **{model: (dict[Any, Any], _OF_A_MODEL) for model in SETTINGS_OF_MODEL}
)


class ConfigurationFile(Shape):
    """A configuration file."""

    model_config = ConfigDict(title="Configuration of the memorisation experiments")

    cache_dir: Folder = Field(
        "cache", description="where the pickles and tables of each run are; may be an absolute path (scratch)"
    )
    results_dir: Folder = Field("results", description="where the tables and figures of each experiment are")
    claims: str | None = Field(
        None,
        description="the file with the claims that are checked on the tables, such as `report/claims.yaml`; null: "
        "none",
        json_schema_extra={"allowed": "the path of a file, or null"},
    )
    first_seed: Count = Field(
        0,
        ge=0,
        description="the seed that every experiment begins with; another one repeats the study on other data",
    )
    checkpoint_seconds: Number = Field(
        300,
        gt=0,
        le=LARGEST,
        description="time from one checkpoint of a training to the next; changes no result",
        json_schema_extra={"allowed": "a positive number of seconds"},
    )
    defaults: Defaults = Field(
        default_factory=Defaults,
        description="for each model, the settings that its runs have unless an experiment gives others",
        json_schema_extra={"allowed": "a mapping from models to settings"},
    )
    experiments: dict[ExperimentName, Experiment] = Field(
        min_length=1,
        description="the experiments by name (small letters, digits, underscores); the folders of an experiment "
        "in `cache_dir` and `results_dir` have its name",
        json_schema_extra={"allowed": "a mapping from names to experiments", "additionalProperties": False},
    )


EXPERIMENT_KEYS = tuple(Experiment.model_fields)


def check_shape(config: dict[str, Any], known_figures: Collection[str]) -> tuple[ConfigurationFile, list[str]]:
    """Return a configuration file as an object, and a line for each wrong place.

    If there are such lines, the object has only the experiments whose settings can be checked nevertheless,
    with one seed and without figures.
    """
    try:
        return ConfigurationFile.model_validate(config, context=known_figures), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    defaults, experiments = Defaults(), {}
    # No experiment with a wrong sweep, condition or default: a setting that stands there would be called missing.
    if isinstance(config.get("experiments"), dict) and all(detail["loc"][0] != "defaults" for detail in details):
        defaults = Defaults.model_validate(config.get("defaults", {}))
        for name, content in config["experiments"].items():
            with suppress(ValidationError):
                checkable = content | {"seeds": 1, "figures": []} if isinstance(content, dict) else content
                experiments[name] = Experiment.model_validate(checkable)
    sound = ConfigurationFile.model_construct(defaults=defaults, experiments=experiments)
    return sound, [line_of_mistake(detail) for detail in details]


def line_of_mistake(detail: ErrorDetails, shape: type[BaseModel] = ConfigurationFile) -> str:
    """Return what is wrong at one place: its path, its value and what would be right.

    The place is one of a file of that ``shape``.
    """
    location = detail["loc"]
    if detail["type"] == "mistake":
        return f"{_path(location[: len(location) - detail['ctx']['levels_up']])}: {detail['msg']}"
    if detail["type"] in ("extra_forbidden", "invalid_key"):
        known = schema_at(location[:-1], shape)["properties"]
        return f"{_path(location)}: unknown key{did_you_mean(location[-1], known)}"
    right = what_is_right(detail, schema_at(location, shape))
    if detail["type"] == "missing":
        return f"{_path(location)}: missing; needs {right}"
    return f"{_path(location)}: {shown(detail['input'])} is not {right}"


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(map(shown_key, location))


def what_is_right(detail: ErrorDetails, schema: dict[str, Any]) -> str:
    """Say in words what a value must be, of which pydantic says that it is wrong."""
    up_to = detail["type"] == "less_than_equal" and detail["ctx"]["le"] == LARGEST
    return allowed_values(schema) + (f" up to {LARGEST}" if up_to else "")


@cache
def shape_schema(shape: type[BaseModel] = ConfigurationFile) -> dict[str, Any]:
    """Return the JSON schema of a file.

    That of a configuration file allows any setting.
    """
    return shape.model_json_schema()


@cache
def setting_schemas(model: str) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting of a model that a file may give."""
    properties = SETTINGS_OF_MODEL[model].model_json_schema()["properties"]
    # Without the titles, which repeat the names.
    return {
        name: {key: value for key, value in schema.items() if key != "title"}
        for name, schema in properties.items()
        if name != "seed"
    }


def schema_at(location: tuple[int | str, ...], shape: type[BaseModel] = ConfigurationFile) -> dict[str, Any]:
    """Return the part of `shape_schema` for one place of a file."""
    schema = shape_schema(shape)
    for step in location:
        of_every_key = schema.get("patternProperties", {}).values()
        parts = schema.get("properties", {}).get(step), schema.get("additionalProperties"), schema.get("items")
        schema = next(part for part in (*parts, *of_every_key) if part)
        if "$ref" in schema:
            schema = shape_schema(shape)["$defs"][schema["$ref"].rpartition("/")[2]] | schema
    return schema
