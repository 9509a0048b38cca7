# Each rule has a higher priority than the rules before it, so that a run is finished before the next one begins.
# Each time a job ends, Snakemake checks the inputs of every job that is ready. With all runs open this would take
# longer than the jobs.
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
    threads: number_of_threads
    resources:
        mem_mb=growing(16000),
        runtime=growing(1200),
        gpu=number_of_gpus,
    params:
        identity=lambda wildcards: settings_until(Stage.SWITCH, identity_of(wildcards)),
        settings=lambda wildcards, output: settings_until(Stage.SWITCH, settings_of(wildcards)),
        code=code_of("train_trunk.py"),
        pins=pins_of("training", "torch", "numpy"),
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
    threads: number_of_threads
    resources:
        mem_mb=growing(16000),
        runtime=growing(1200),
        gpu=number_of_gpus,
    params:
        identity=lambda wildcards: settings_until(Stage.EVALUATION, identity_of(wildcards)),
        settings=lambda wildcards, output: settings_until(Stage.EVALUATION, settings_of(wildcards)),
        code=code_of("train.py"),
        pins=pins_of("training", "torch", "numpy"),
    script:
        "../workflow/scripts/train.py"
