import atexit
import os
import sys
from functools import cache
from pathlib import Path

from memorization.configuration.claims import columns_of, numbers_of_claim, read_claims, title_of_claims
from memorization.configuration.experiments import ConfigurationError, read_configuration
from memorization.configuration.identity import identity
from memorization.configuration.plan import told_plan
from memorization.configuration.settings import Stage, settings_from, settings_until
from memorization.configuration.trunks import shared_training, trunks_of
from memorization.configuration.wording import did_you_mean
from memorization.environment import set_environment_of_jobs, tell_of_packages_of_user, uses_conda
from memorization.slurm_plugin import mend_slurm_plugin, prepare_call_on_slurm
from memorization.storage.checkpoint_files import remove_checkpoints
from memorization.storage.code_version import code_version
from memorization.storage.commit import tell_jobs_the_code
from memorization.storage.finished_jobs import leave_notes_to_main_process
from memorization.storage.folder_lock import keep_calls_apart
from memorization.storage.making_again import tell_jobs_the_options
from memorization.storage.pins import pins_of
from memorization.tables.registry import (
    TABLES,
    FigureScriptError,
    name_of_figure,
    needs_of_figure,
    numbers_of_table,
    tables_of_figure,
)

# Jobs inherit it, and on a cluster this file is read again on each node.
set_environment_of_jobs(os.environ, Path(".snakemake"), conda=uses_conda(workflow))
tell_of_packages_of_user(workflow)

# As a module, the prefix of its files; it is known while the module is read.
PREFIX = workflow.modifier.path_modifier


def remove_checkpoints_of_this_call():
    """Remove the checkpoints of the trainings that a call which ended well has asked for.

    Others may have ended after their call was killed: until a call has noted that, it is their checkpoint that spares
    them a second training.
    """
    results = [RUN.format(group=run.group, run=run.name) for run in configuration.runs]
    results += [TRUNK.format(trunk=trunk) for trunk in trunks()]
    paths = {PREFIX.replace_prefix(f"{result}.pkl", None) for result in results}
    noted = (job for job in workflow.dag.jobs if workflow.dag.finished(job) or not workflow.dag.needrun(job))
    remove_checkpoints(paths & {str(file) for job in noted for file in job.output})


# In place of Snakemake's own lock, which a killed process leaves behind (profiles/default has `nolock`).
keep_calls_apart(workflow, before=prepare_call_on_slurm, after=remove_checkpoints_of_this_call)
leave_notes_to_main_process(workflow)
mend_slurm_plugin()

try:
    PLOTS = {name_of_figure(path): path for path in sorted(SCRIPTS.glob("plot_*.py"))}
    TABLES_OF_FIGURE = {figure: tables_of_figure(script) for figure, script in PLOTS.items()}
    NEEDS_OF_FIGURE = {figure: needs_of_figure(script) for figure, script in PLOTS.items()}
    configuration = read_configuration(config, NEEDS_OF_FIGURE)
    NUMBERS = {table: numbers_of_table(table) for table in TABLES}
    CLAIMS = read_claims(configuration, {name: table.keys for name, table in TABLES.items()}, NUMBERS)
    # Reads every module that a job imports: a mistake in one is told here, before any job runs.
    # Names that begin with a dot are those of editors and file systems: `.#train.py`, `._train.py`.
    for path in sorted(SCRIPTS.glob("[!.]*.py")):
        code_version(path.name)
    for model in sorted({run.settings["model"] for run in configuration.runs}):
        code_version("train.py", model)
except (ConfigurationError, FigureScriptError) as error:
    raise SystemExit(str(error))
except SyntaxError as error:
    raise SystemExit(f"{error.filename}: {f'line {error.lineno}: ' if error.lineno else ''}{error.msg}")

# Jobs read it from the configuration, not from a parameter: another value computes nothing again.
config["checkpoint_seconds"] = configuration.checkpoint_seconds

GROUPS_WITH_CLAIMS = [group for group in configuration.figures if group in {c.experiment for c in CLAIMS.values()}]
RESULTS = configuration.results_dir
# The libraries that tables are written with, and that figures are drawn with. Some of a figure's bytes are of those
# that matplotlib needs.
OF_TABLES = ("numpy", "pandas", "pyarrow")
OF_FIGURES = ("matplotlib", "contourpy", "fonttools", "kiwisolver", "pillow", "pyparsing")
# The beginning of every file of a run: the run's folder, then the run's name again.
RUN = f"{configuration.cache_dir}/{{group}}/{{run}}/{{run}}"
# The same of a trunk. No experiment's name begins with an underscore.
TRUNK = f"{configuration.cache_dir}/_trunks/{{trunk}}/{{trunk}}"

if workflow.is_main_process:
    tell_jobs_the_code()
    tell_jobs_the_options(workflow)


onstart:
    # While Snakemake limits the jobs that begin in a second, each round of scheduling starts another one a second
    # later: after 600 jobs there are 600 rounds a second. No option switches off its own limit of 100 jobs. A lower
    # limit, such as that of a cluster's profile, stays.
    limit = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limit and limit.max_jobs >= 100 * limit.timespan:
        workflow.scheduler.job_rate_limiter = None


wildcard_constraints:
    group="|".join(configuration.figures),
    # Snakemake searches the text of the constraints for each file of each job. With the names of all runs in it, the
    # plan would grow with the square of their number; `run_of` refuses a name that no run has.
    run="[^/]+",
    trunk="[^/]+",


@cache
def trunks():
    """Return the trunks by name, each with the resolved settings of one of its runs."""
    return trunks_of(configuration.runs)


def run_of(wildcards):
    """Return a run by its experiment and its name."""
    runs = configuration.runs_by_name[wildcards.group]
    if wildcards.run not in runs:
        raise SystemExit(
            f"experiments.{wildcards.group}: no run {wildcards.run}{did_you_mean(wildcards.run, runs)}"
        )
    return runs[wildcards.run]


def settings_of(wildcards):
    """Return the resolved settings of a run, or of one of the runs of a trunk."""
    if "trunk" in wildcards.keys():
        if wildcards.trunk not in trunks():
            raise SystemExit(f"{TRUNK.format(trunk=wildcards.trunk)}: no run begins with this training")
        return trunks()[wildcards.trunk]
    return run_of(wildcards).settings


def identity_of(wildcards):
    """Return the settings that Snakemake compares with those of the last time: the parameter `identity`.

    The parameter `settings` has all that a job reads. It is not compared, since its function asks for `output`.
    """
    return identity(settings_of(wildcards)) if "trunk" in wildcards.keys() else run_of(wildcards).identity


def number_of_threads(wildcards):
    """Return the number of threads of a job."""
    return settings_of(wildcards)["num_threads"]


def growing(amount):
    """Return a resource of a rule: each further attempt asks for as much again."""
    return lambda wildcards, attempt: amount * attempt


def number_of_gpus(wildcards):
    """Return 1 if the device of a run is cuda, otherwise 0."""
    return 1 if settings_of(wildcards)["device"] == "cuda" else 0


def code_of(script):
    """Return the parameter of a rule that is the version of its script and of the model that it trains."""
    return lambda wildcards: code_version(script, settings_of(wildcards)["model"])


def trunk_of(wildcards):
    """Return the trunk that a run goes on from; a run without a switch has none."""
    trunk = run_of(wildcards).trunk
    return f"{TRUNK.format(trunk=trunk)}.pkl" if trunk else []


def sequences_of(wildcards):
    """Return what the sequences of a run depend on."""
    settings = settings_of(wildcards)
    starts = list(range(0, settings["num_iters"], settings["num_iters_per_set"]))
    settings_of_sets = {
        "seed": settings["sequences_seed"],
        "K": settings["K"],
        "len_context": settings["len_context"],
    }
    return settings_of_sets | {"switch_start_iter": starts}


def runs_of(wildcards):
    """Return the runs of an experiment."""
    return list(configuration.runs_by_name[wildcards.group].values())


def references_of(wildcards):
    """Return the conditions that the others are compared with, by model, if a table compares conditions."""
    return configuration.references[wildcards.group] if TABLES[wildcards.table].paired else {}


def tables_of_runs(wildcards):
    """Return the tables of the runs that a table of the experiment is made from."""
    source = TABLES[wildcards.table].source
    return [f"{RUN}_{source}.parquet".format(group=run.group, run=run.name) for run in runs_of(wildcards)]


def claims_of(group):
    """Return the claims about a group, by name."""
    return {name: claim for name, claim in CLAIMS.items() if claim.experiment == group}


def tables_of_claims(wildcards):
    """Return the tables that the claims about a group are checked on."""
    tables = sorted({claim.table for claim in claims_of(wildcards.group).values()})
    return [f"{RESULTS}/{wildcards.group}/{table}.parquet" for table in tables]


def claims_to_check(wildcards):
    """Return what the claims about a group say of its tables.

    Their sentences and titles are left out: with another sentence they hold as before, and no figure is redrawn.
    """
    return {
        name: {
            "table": claim.table,
            "rows": claim.rows,
            "holds": claim.holds,
            "columns": columns_of(claim.holds),
            "numbers": numbers_of_claim(claim, NUMBERS[claim.table]),
        }
        for name, claim in claims_of(wildcards.group).items()
    }


def title_of(figure):
    """Return the title that claims give to a figure of a group, with their names, or None."""
    return lambda wildcards: title_of_claims(CLAIMS, wildcards.group, figure)


def claims_in_title_of(figure):
    """Return the checked claims of a group if a figure has a title that they give it."""
    return lambda wildcards: f"{RESULTS}/{wildcards.group}/claims.parquet" if title_of(figure)(wildcards) else []


def caption_of(figure):
    """Return the caption of a figure, or the one of any figure that has none of its own."""
    caption = REPOSITORY / "report" / f"{figure}.rst"
    return str(caption if caption.exists() else caption.with_stem("any_figure"))


def targets_of(group):
    """Return the tables of a group, as .parquet and .csv, and its figures, as .pdf and .png."""
    figures = configuration.figures[group]
    tables = {name for name, table in TABLES.items() if table.of_every_group}
    tables.update(*(TABLES_OF_FIGURE[figure] for figure in figures))
    if claims := claims_of(group):
        tables.update(["claims", *(claim.table for claim in claims.values())])
    names = [f"{table}.{suffix}" for table in sorted(tables) for suffix in ("parquet", "csv")]
    names += [f"{figure}.{suffix}" for figure in figures for suffix in ("pdf", "png")]
    return [f"{RESULTS}/{group}/{name}" for name in names]


# A dry run says what the configuration asks for at its end, a run before its jobs.
if workflow.is_main_process and {kind.name for kind in workflow.output_settings.quiet or ()} <= {"HOST"}:
    # Each table and each figure is two files of one job.
    of_groups = sum(len(targets_of(group)) for group in configuration.figures) // 2
    num_jobs = len(trunks()) + 3 * len(configuration.runs) + of_groups + bool(CLAIMS) + 1
    saved = shared_training(configuration.runs)
    plan = "\n".join([*([saved] if saved else []), *told_plan(configuration.runs, trunks(), num_jobs)])
    if workflow.output_settings.dryrun:
        atexit.register(print, plan, file=sys.stderr)
    else:
        print(plan, file=sys.stderr)
