import sys
from pathlib import Path

from snakemake.common import __version__ as snakemake_version

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from memorization.installed import require_packages_of_jobs, require_snakemake

require_snakemake(snakemake_version)

from memorization.configuration.files import DEFAULT_FILE, mistake_of_file

# Snakemake has read the files of --configfile by now. It ends by itself if one is absent or not YAML, but silently
# accepts a duplicate key or an octal number.
if workflow.is_main_process:
    files = [*map(str, workflow.configfiles)] or [DEFAULT_FILE]
    if mistakes := [mistake for file in files if (mistake := mistake_of_file(file))]:
        # Exits without the traceback and the banner of an exception.
        raise SystemExit("\n".join(mistakes))

# A file given by --configfile takes the place of config/config.yaml; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: DEFAULT_FILE


include: "rules/common.smk"
include: "rules/sequences.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/aggregation.smk"
include: "rules/figures.smk"


if CLAIMS:

    include: "rules/claims.smk"


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
