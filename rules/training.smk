# Each rule has a higher priority than those before it: a run is finished before the next is begun. Snakemake
# looks at the inputs of every job that is ready each time one ends, which with all runs open takes longer than
# the jobs.
rule train_trunk:
    output:
        trunk=f"{TRUNK}.pkl",
    log:
        f"{TRUNK}.log",
    benchmark:
        f"{TRUNK}.benchmark.tsv"
    priority: 1
    conda:
        "../envs/training.yaml"
    threads: lambda wildcards: TRUNKS[wildcards.trunk]["num_threads"]
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=lambda wildcards: number_of_gpus(TRUNKS[wildcards.trunk]),
    params:
        settings=lambda wildcards: TRUNKS[wildcards.trunk],
        code=lambda wildcards: code_version("train_trunk.py", TRUNKS[wildcards.trunk]["model"]),
    script:
        "../workflow/scripts/train_trunk.py"


rule train:
    input:
        sequences=f"{RUN}_sequences.pkl",
        trunk=trunk_of,
    output:
        results=f"{RUN}.pkl",
    log:
        f"{RUN}.log",
    benchmark:
        f"{RUN}.benchmark.tsv"
    priority: 2
    conda:
        "../envs/training.yaml"
    threads: lambda wildcards: settings_of(wildcards)["num_threads"]
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=lambda wildcards: number_of_gpus(settings_of(wildcards)),
    params:
        settings=lambda wildcards: settings_until(Stage.EVALUATION, settings_of(wildcards)),
        code=lambda wildcards: code_version("train.py", settings_of(wildcards)["model"]),
    script:
        "../workflow/scripts/train.py"
