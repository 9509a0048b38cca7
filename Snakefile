import sys
from pathlib import Path

from packaging.version import Version
from snakemake.common import __version__ as snakemake_version
from snakemake.utils import update_config

# Older releases lack pydantic (until 9.17), or read `runtime: 1200` in a profile as seconds (until 9.20:
# https://github.com/snakemake/snakemake/issues/4039).
# This exits without the traceback and the banner of an exception.
if Version(snakemake_version) < Version("9.20"):
    raise SystemExit(
        f"Snakemake 9.20 or newer is needed, this is {snakemake_version}: README.md says how to have it"
    )

# The folder of this file. `workflow.basedir` is that of the workflow that Snakemake was called with, which may use
# this one as a module.
REPOSITORY = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
IS_MODULE = workflow.snakefile != workflow.main_snakefile

SCRIPTS = REPOSITORY / "workflow" / "scripts"
# Snakemake would fetch single files of a remote module, and not the library that the scripts share.
if not SCRIPTS.is_dir():
    raise SystemExit(f"{REPOSITORY}: clone this repository, and give the module the path of the Snakefile there")

sys.path.insert(0, str(SCRIPTS))

import memorization

# Python has one library of this name: the rules would be those of one clone, and their code that of another.
if not Path(memorization.__file__).parent.samefile(SCRIPTS / "memorization"):
    raise SystemExit(
        f"{REPOSITORY}: {memorization.__file__} is in use already; give every module the Snakefile of the same clone"
    )

from memorization.configuration.files import DEFAULT_FILE, mistake_of_file, mistake_of_folder, nested_values
from memorization.installed import require_packages_of_jobs

if mistake := mistake_of_folder(REPOSITORY):
    raise SystemExit(mistake)

# Snakemake has read the files of --configfile by now. It ends by itself if one is absent or not YAML, but silently
# accepts a duplicate key or an octal number. A module has the configuration that the other workflow gives it.
if workflow.is_main_process and not (IS_MODULE and config):
    files = [] if IS_MODULE else [*map(str, workflow.configfiles)]
    if mistakes := [mistake for file in files or [DEFAULT_FILE] if (mistake := mistake_of_file(file))]:
        # Exits without the traceback and the banner of an exception.
        raise SystemExit("\n".join(mistakes))

# A file given by --configfile takes the place of config/config.yaml; Snakemake would merge the two.
if IS_MODULE or not workflow.overwrite_configfiles:

    configfile: DEFAULT_FILE


if not IS_MODULE:
    # Snakemake reads `--config "experiments={'freeze': {'seeds': 3}}"` with the text "3".
    update_config(config, nested_values(workflow.config_settings.config))


include: "rules/common.smk"
include: "rules/sequences.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/aggregation.smk"
include: "rules/figures.smk"


if CLAIMS:

    include: "rules/claims.smk"


if not IS_MODULE:

    require_packages_of_jobs(workflow)

    # The first page of Snakemake's report.
    report: "report/workflow.rst"


rule all:
    input:
        [targets_of(group) for group in configuration.figures],
        [f"{RESULTS}/claims.{suffix}" for suffix in ("csv", "md", "html") if CLAIMS],


# `snakemake <experiment>` makes the tables and figures of that experiment alone.
for group in configuration.figures:

    rule:
        name:
            group
        input:
            targets_of(group),
