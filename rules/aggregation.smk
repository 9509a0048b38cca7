rule aggregate:
    input:
        runs=runs_tables,
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
        mem_mb=2000,
        runtime=20,
    params:
        conditions=lambda wildcards: [run.condition for run in runs_of(wildcards.group)],
        settings=lambda wildcards: [run.settings for run in runs_of(wildcards.group)],
        code=code_version("aggregate.py"),
    script:
        "../workflow/scripts/aggregate.py"
