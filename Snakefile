from snakemake.utils import min_version

min_version("9.0")


# A file given by --configfile takes the place of config/config.yaml; Snakemake would merge the two.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/sequences.smk"
include: "rules/training.smk"
include: "rules/evaluation.smk"
include: "rules/aggregation.smk"
include: "rules/figures.smk"


rule all:
    input:
        [targets_of(group) for group in configuration.figures],


# `snakemake <experiment>` makes the tables and figures of that experiment alone.
for group in configuration.figures:

    rule:
        name:
            group
        input:
            targets_of(group),
