"""The JSON schema and the reference page of the configuration, made from the types of the settings."""

import json
from typing import Any

from .experiments import CHECKPOINT_SECONDS, DEFAULT_FOLDERS, MAX_SEEDS
from .settings import SETTINGS_OF_MODEL, RunSettings, allowed_values

_HEADING = """\
# The settings

This page is made from `memorization/configuration/settings.py` by `make docs`, as is `schema.json`,
with which an editor completes and checks a configuration file as you type.

| file | what for |
| --- | --- |
| `config.yaml` | the laptop: every figure in minutes; what `make figures` and a bare `snakemake` use |
| `smoke.yaml` | tests: every feature in seconds; what `make smoke` uses |
| `paper.yaml` | the reference scale of the study: `--configfile config/paper.yaml` |

## The file

```yaml
cache_dir: cache         # the runs: pickles and tables of each; may be an absolute path (scratch)
results_dir: results     # the tables and figures of each experiment
checkpoint_seconds: 300  # from one checkpoint of a training to the next; it changes no result
defaults:                # settings that the experiments with a model share
  one_layer_attention:
    K: 200
experiments:
  freeze:                # the name of the experiment: its group of runs, and its folder
    model: one_layer_attention
    sweep:               # one run for each combination of these values, and each seed
      freeze: [none, attention]
    seeds: 5             # how many: 0, 1, 2, ...
    figures: [by_epoch]  # scripts workflow/scripts/plot_<figure>.py
  both_models:
    conditions:          # where one sweep does not do: the runs of all these together
      - model: one_layer_attention
      - model: dam       # each with settings, and a sweep, of its own
        sweep:
          freeze: [none, A]
    seeds: 5
    figures: [by_epoch]
```

A setting stands in an experiment, in its `sweep`, in one of its `conditions`, or in the `defaults` of its
model; what stands in a condition wins over the experiment, and the experiment over `defaults`. A setting
without a default must be given. The same seed gives the same sequences, batches and initial weights in
every condition of an experiment. A mistake ends the call before anything is run, with one line that names
it.

To see what a change asks for before it runs: `snakemake -n`. Only what depends on it is computed again; the
column *from* says from where on a setting matters. Runs that differ only in settings that matter from the
first switch on share what is before it: their trunk, in `<cache_dir>/_trunks/`, is trained once.
"""


def settings_page() -> str:
    """Return the text of `config/README.md`."""
    sections = [_HEADING]
    for model, settings in SETTINGS_OF_MODEL.items():
        sections.append(f"## Settings of `{model}`\n")
        sections.append(
            "| setting | value | unit | default | from | meaning |\n| --- | --- | --- | --- | --- | --- |"
        )
        sections += [
            f"| `{name}` | {allowed_values(schema)} | {schema['unit']} | {_default(schema)} | {schema['stage']} | "
            f"{schema['description']} |"
            for name, schema in _properties(settings).items()
        ]
        sections.append("")
    return "\n".join(sections)


def configuration_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file."""
    settings = {model: _properties(types) for model, types in SETTINGS_OF_MODEL.items()}
    of_any_model = {
        name: {"anyOf": [properties[name] for properties in settings.values() if name in properties]}
        for name in dict.fromkeys(name for properties in settings.values() for name in properties)
    }
    sweep = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {"type": "array", "minItems": 1, "items": schema} for name, schema in of_any_model.items()
        },
    }
    experiment = {
        "seeds": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_SEEDS,
            "description": "how many seeds each condition is run with",
        },
        "figures": {
            "type": "array",
            "items": {"type": "string"},
            "description": "the figures to draw: scripts workflow/scripts/plot_<figure>.py",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of the memorisation experiments",
        "type": "object",
        "additionalProperties": False,
        "required": ["experiments"],
        "properties": {
            **{key: {"type": "string", "default": value} for key, value in DEFAULT_FOLDERS.items()},
            "checkpoint_seconds": {"type": "number", "exclusiveMinimum": 0, "default": CHECKPOINT_SECONDS},
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    model: {"type": "object", "additionalProperties": False, "properties": properties}
                    for model, properties in settings.items()
                },
            },
            "experiments": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["seeds"],
                    "properties": {
                        **of_any_model,
                        **experiment,
                        "sweep": sweep,
                        "conditions": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {**of_any_model, "sweep": sweep},
                            },
                            "description": "settings, each with a sweep or without; the union is the experiment",
                        },
                    },
                },
            },
        },
    }


def _properties(settings: type[RunSettings]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting that a configuration file may have."""
    properties = settings.model_json_schema()["properties"]
    return {name: schema for name, schema in properties.items() if name != "seed"}


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"
