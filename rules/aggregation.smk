rule aggregate:
    input:
        runs=tables_of_runs,
    output:
        f"{RESULTS}/{{group}}/{{table}}.parquet",
        f"{RESULTS}/{{group}}/{{table}}.csv",
    log:
        f"{RESULTS}/{{group}}/logs/{{table}}_table.log",
    benchmark:
        f"{RESULTS}/{{group}}/logs/{{table}}_table.benchmark.tsv"
    wildcard_constraints:
        table="|".join(TABLES),
    priority: 4
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        conditions=lambda wildcards: [run.condition for run in runs_of(wildcards)],
        identities=lambda wildcards: [run.identity for run in runs_of(wildcards)],
        references=lambda wildcards: references_of(wildcards),
        settings=lambda wildcards, output: [run.settings for run in runs_of(wildcards)],
        code=code_version("aggregate.py"),
        pins=pins_of("tables", *OF_TABLES, "scipy"),
    script:
        "../workflow/scripts/aggregate.py"
