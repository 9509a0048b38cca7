"""The JSON schema and the reference page of the configuration.

Both are made from the types in `shape.py`, `claims.py` and `settings.py`.
"""

import json
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from pydantic import BaseModel

from .claims import ClaimsFile
from .settings import SETTINGS_OF_MODEL, allowed_values, is_list
from .shape import ConfigurationFile, schema_at, setting_schemas, shape_schema

_BEFORE_THE_TABLES = """\
# The settings

`make docs` makes this page and `schema.json` from the types in `memorization/configuration/`: `shape.py`,
`claims.py` and `settings.py`. With the schema an editor completes and checks a configuration file while you type.

| file | purpose |
| --- | --- |
| `config.yaml` | the laptop: every figure in 40 minutes; `make figures` and `snakemake` alone use it |
| `smoke.yaml` | tests: every feature in seconds; `make smoke` uses it |
| `paper.yaml` | the reference scale of the study: `--configfile config/paper.yaml` |
| `smoke_claims.yaml` | the claims of `smoke.yaml`; those of `config.yaml` are in `report/claims.yaml` |

## The file

```yaml
defaults:
  one_layer_attention:
    {K: 100, len_context: 20, num_heads: 8, batch_size: 64, num_iters_per_set: 400, num_iters_per_epoch: 10}
  dam:
    {K: 100, N: 32, H: 16, M: 1000, batch_size: 32, num_iters_per_set: 480, num_iters_per_epoch: 4}
experiments:
  # Two conditions with five seeds each: ten runs.
  freeze:
    model: one_layer_attention
    sweep:
      freeze: [none, attention]
    seeds: 5
    figures: [by_epoch]
  # Three conditions, one of them with the first model.
  both_models:
    conditions:
      - model: one_layer_attention
      - model: dam
        sweep:
          freeze: [none, A]
    seeds: 5
    figures: [by_epoch]
```
"""
_AFTER_THE_TABLES = """\
A setting can be given in an experiment, in one of its `conditions`, in a `sweep` of either, or in the `defaults`
of its model. A condition wins over its experiment, and the experiment wins over `defaults`. A setting that has no
default must be given.

The same seed gives the same sequences, batches and initial weights in every condition of an experiment.
`sequences_seed` and `weights_seed` replace it for one of the two, for instance to train from other initial weights
on the same data. If there is a mistake, nothing is run: the call ends, with one line for each mistake.

`snakemake -n` shows what a change would run. Only what depends on the change is computed again: the column *from*
of the tables below says from which point on a setting matters. Runs that differ only in settings that matter from
the first switch on share their training before it. This trunk is trained once, in `<cache_dir>/_trunks/`.
"""

_AFTER_THE_CLAIMS = """\
The file of claims is a mapping from names to claims. [This page](../docs/add-an-experiment.md#5-a-claim) has an
example.
"""


def settings_page() -> str:
    """Return the text of `config/README.md`."""
    parts = [
        _BEFORE_THE_TABLES,
        _table_of_keys("Keys of the file", ()),
        _table_of_keys("Keys of an experiment, beside settings", ("experiments", "any")),
        _AFTER_THE_TABLES,
        _table_of_keys("Keys of a claim", ("any",), ClaimsFile),
        _AFTER_THE_CLAIMS,
        *(f"## Settings of `{model}`\n\n{_table_of_settings(model)}" for model in SETTINGS_OF_MODEL),
    ]
    return "\n".join(parts)


def _table_of_keys(title: str, location: tuple[str, ...], shape: type[BaseModel] = ConfigurationFile) -> str:
    """Return the table of the keys at a place of a file of that shape, under a title."""
    place = schema_at(location, shape)
    rows = []
    for key in place["properties"]:
        schema = schema_at((*location, key), shape)
        default = "must be given" if key in place.get("required", ()) else _default(schema)
        rows.append((f"`{key}`", allowed_values(schema), default, schema["description"]))
    return f"### {title}\n\n{_table(('key', 'value', 'default', 'meaning'), rows)}"


def _table_of_settings(model: str) -> str:
    rows = [
        (
            f"`{name}`",
            allowed_values(schema),
            schema["unit"],
            _default(schema),
            schema["stage"],
            schema["description"],
        )
        for name, schema in setting_schemas(model).items()
    ]
    return _table(("setting", "value", "unit", "default", "from", "meaning"), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    value = schema["default"]
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def configuration_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file: its shape and the settings."""
    schema = deepcopy(shape_schema())
    definitions = schema["$defs"]
    of_settings = _definitions_of_settings()
    anywhere = {name: _reference(name) for name in of_settings if "." not in name}
    values = definitions["Sweep"]["additionalProperties"]
    swept = {name: values | {"items": one} for name, one in anywhere.items() if not is_list(of_settings[name])}
    _allow_only(definitions["Sweep"], swept)
    _allow_only(definitions["Reference"], anywhere)
    _allow_only(definitions["Condition"], anywhere)
    _allow_only(definitions["Experiment"], anywhere)
    for model, defaults in definitions["Defaults"]["properties"].items():
        of_model = {
            name: f"{model}.{name}" if f"{model}.{name}" in of_settings else name
            for name in setting_schemas(model)
        }
        _allow_only(defaults, {name: _reference(definition) for name, definition in of_model.items()})
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return dialect | schema | {"$defs": definitions | of_settings}


def _definitions_of_settings() -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each setting by its name.

    A setting that is not the same in all models that have it has a schema ``model.setting`` for each of them,
    and allows under its own name what any of them does.
    """
    definitions: dict[str, dict[str, Any]] = {}
    names = dict.fromkeys(name for model in SETTINGS_OF_MODEL for name in setting_schemas(model))
    for name in names:
        of_models = {
            f"{model}.{name}": setting_schemas(model)[name]
            for model in SETTINGS_OF_MODEL
            if name in setting_schemas(model)
        }
        first, *others = of_models.values()
        if any(other != first for other in others):
            definitions |= of_models | {name: {"anyOf": [_reference(definition) for definition in of_models]}}
        else:
            definitions[name] = first
    return definitions


def _reference(definition: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{definition}"}


def _allow_only(schema: dict[str, Any], properties: dict[str, dict[str, Any]]) -> None:
    """Add the properties to the schema of a mapping, and allow no others."""
    schema["properties"] = schema.get("properties", {}) | properties
    schema["additionalProperties"] = False
