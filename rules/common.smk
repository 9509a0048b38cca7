import hashlib
import json
import os
import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from memorization.storage.code_version import code_version
from memorization.configuration.experiments import ConfigurationError, read_configuration
from memorization.storage.folder_lock import FolderInUseError, hold_folder
from memorization.configuration.settings import Stage, settings_until
from memorization.tables.registry import (
    TABLES,
    FigureScriptError,
    needs_of_figure,
    tables_of_figure,
)

try:
    TABLES_OF_FIGURE = {
        path.stem.removeprefix("plot_"): tables_of_figure(path) for path in sorted(SCRIPTS.glob("plot_*.py"))
    }
    NEEDS_OF_FIGURE = {figure: needs_of_figure(SCRIPTS / f"plot_{figure}.py") for figure in TABLES_OF_FIGURE}
    configuration = read_configuration(config, NEEDS_OF_FIGURE)
except (ConfigurationError, FigureScriptError) as error:
    # Exits without the traceback and the banner of an exception.
    raise SystemExit(str(error))

# Not a parameter of the rules: another value computes nothing again.
config["checkpoint_seconds"] = configuration.checkpoint_seconds

RUNS = {(run.group, run.name): run for run in configuration.runs}
RESULTS = configuration.results_dir
# The beginning of every file of a run: the run's folder, then the run's name again.
RUN = f"{configuration.cache_dir}/{{group}}/{{run}}/{{run}}"
# The same of a trunk. No experiment's name begins with an underscore.
TRUNK = f"{configuration.cache_dir}/_trunks/{{trunk}}/{{trunk}}"


def trunk_name(settings):
    """The name of the training before the first switch: the same for runs that differ only after it."""
    shared = json.dumps(settings_until(Stage.SWITCH, settings), sort_keys=True)
    return f"{settings['model']}_{hashlib.sha256(shared.encode()).hexdigest()[:12]}_seed_{settings['seed']}"


# The settings of each trunk.
TRUNKS = {
    trunk_name(run.settings): settings_until(Stage.SWITCH, run.settings)
    for run in configuration.runs
    if run.settings["num_switches"]
}


def say_what_is_shared():
    """Print with the plan how much training the trunks save."""
    branched = [run.settings for run in configuration.runs if run.settings["num_switches"]]
    alone = sum(run.settings["num_iters"] for run in configuration.runs)
    saved = sum(settings["num_iters_per_set"] for settings in branched) - sum(
        settings["num_iters_per_set"] for settings in TRUNKS.values()
    )
    if saved:
        print(
            f"{len(branched)} runs share {len(TRUNKS)} trunks: {alone - saved} iterations of training "
            f"in place of {alone}, {saved / alone:.0%} saved",
            file=sys.stderr,
        )


if workflow.is_main_process:
    say_what_is_shared()


# In place of Snakemake's own lock, which a killed process leaves behind (profiles/default has `nolock`).
onstart:
    if workflow.is_main_process:
        try:
            hold_folder(".snakemake/running")
        except FolderInUseError as error:
            print(error, file=sys.stderr)
            os._exit(1)


wildcard_constraints:
    group="|".join(configuration.figures),
    run="|".join(sorted({re.escape(run.name) for run in configuration.runs})),
    trunk="|".join(sorted(TRUNKS)) or "none",


def settings_of(wildcards):
    return RUNS[wildcards.group, wildcards.run].settings


def trunk_of(wildcards):
    """The trunk that a run goes on from; a run without a switch has none."""
    settings = settings_of(wildcards)
    return TRUNK.format(trunk=trunk_name(settings)) + ".pkl" if settings["num_switches"] else []


def number_of_gpus(settings):
    return 1 if settings["device"] == "cuda" else 0


def runs_of(group):
    return [run for run in configuration.runs if run.group == group]


def switch_start_iter(wildcards):
    settings = settings_of(wildcards)
    return list(range(0, settings["num_iters"], settings["num_iters_per_set"]))


def caption_of(figure):
    """The caption of a figure, or the one that any figure has that is without."""
    captions = Path(workflow.basedir) / "report"
    name = figure if (captions / f"{figure}.rst").exists() else "any_figure"
    return str(captions / f"{name}.rst")


def runs_tables(wildcards):
    return [
        f"{RUN}_{TABLES[wildcards.table].source}.parquet".format(group=run.group, run=run.name)
        for run in runs_of(wildcards.group)
    ]


def targets_of(group):
    """The tables of a group, as .parquet and .csv, and its figures, as .pdf and .png."""
    figures = configuration.figures[group]
    tables = {name for name, table in TABLES.items() if table.of_every_group}.union(*(TABLES_OF_FIGURE[figure] for figure in figures))
    names = [f"{table}.{suffix}" for table in sorted(tables) for suffix in ("parquet", "csv")]
    names += [f"{figure}.{suffix}" for figure in figures for suffix in ("pdf", "png")]
    return [f"{RESULTS}/{group}/{name}" for name in names]
