rule evaluate_validation:
    input:
        sequences=f"{RUN}_sequences.pkl",
        results=f"{RUN}.pkl",
    output:
        evaluation=f"{RUN}_evaluation.parquet",
        positions=f"{RUN}_positions.parquet",
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
    threads: lambda wildcards: settings_of(wildcards)["num_threads"]
    resources:
        mem_mb=2000,
        runtime=20,
        gpu=lambda wildcards: number_of_gpus(settings_of(wildcards)),
    params:
        num_held_out=lambda wildcards: settings_of(wildcards)["num_held_out"],
        code=lambda wildcards: code_version("evaluate_validation.py", settings_of(wildcards)["model"]),
    script:
        "../workflow/scripts/evaluate_validation.py"
