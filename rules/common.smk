import re
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from memorization.code_version import code_version
from memorization.configuration import ConfigurationError, read_configuration
from memorization.tables import OF_EVERY_GROUP, SOURCES, tables_of_figure

TABLES_OF_FIGURE = {
    path.stem.removeprefix("plot_"): tables_of_figure(path) for path in sorted(SCRIPTS.glob("plot_*.py"))
}

try:
    configuration = read_configuration(config, tuple(TABLES_OF_FIGURE))
except ConfigurationError as error:
    # Exits without the traceback and the banner of an exception.
    raise SystemExit(str(error))

RUNS = {(run.group, run.name): run for run in configuration.runs}
RESULTS = configuration.results_dir
# The beginning of every file of a run: the run's folder, then the run's name again.
RUN = f"{configuration.cache_dir}/{{group}}/{{run}}/{{run}}"


wildcard_constraints:
    group="|".join(configuration.figures),
    run="|".join(sorted({re.escape(run.name) for run in configuration.runs})),


def settings_of(wildcards):
    return RUNS[wildcards.group, wildcards.run].settings


def runs_of(group):
    return [run for run in configuration.runs if run.group == group]


def switch_start_iter(wildcards):
    settings = settings_of(wildcards)
    return list(range(0, settings["num_iters"], settings["num_iters_per_set"]))


def runs_tables(wildcards):
    return [
        f"{RUN}_{SOURCES[wildcards.table]}.parquet".format(group=run.group, run=run.name)
        for run in runs_of(wildcards.group)
    ]


def targets():
    """The tables of each group, as .parquet and .csv, and its figures, as .pdf and .png."""
    found = []
    for group, figures in configuration.figures.items():
        tables = {*OF_EVERY_GROUP}.union(*(TABLES_OF_FIGURE[figure] for figure in figures))
        found += [
            f"{RESULTS}/{group}/{table}.{suffix}" for table in sorted(tables) for suffix in ("parquet", "csv")
        ]
        found += [f"{RESULTS}/{group}/{figure}.{suffix}" for figure in figures for suffix in ("pdf", "png")]
    return found
