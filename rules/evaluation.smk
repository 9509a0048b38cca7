rule evaluate_validation:
    input:
        sequences=f"{RUN}_sequences.pkl",
        results=f"{RUN}.pkl",
    output:
        evaluation=f"{RUN}_evaluation.parquet",
        positions=f"{RUN}_positions.parquet",
        predictions=f"{RUN}_predictions.parquet",
        attention=f"{RUN}_attention.parquet",
        epochs=f"{RUN}_epochs.parquet",
        diagnostics=f"{RUN}_diagnostics.parquet",
    log:
        f"{RUN}_evaluation.log",
    benchmark:
        f"{RUN}_evaluation.benchmark.tsv"
    priority: 3
    conda:
        "../envs/training.yaml"
    threads: number_of_threads
    resources:
        mem_mb=growing(16000),
        runtime=growing(120),
        gpu=number_of_gpus,
    params:
        identity=lambda wildcards: settings_from(Stage.EVALUATION, identity_of(wildcards)),
        settings=lambda wildcards, output: settings_of(wildcards),
        code=code_of("evaluate_validation.py"),
        pins=pins_of("training", "torch", *OF_TABLES),
    script:
        "../workflow/scripts/evaluate_validation.py"
