rule evaluate_validation:
    input:
        sequences=f"{RUN}_sequences.pkl",
        results=f"{RUN}.pkl",
    output:
        evaluation=f"{RUN}_evaluation.parquet",
        epochs=f"{RUN}_epochs.parquet",
    log:
        f"{RUN}_evaluation.log",
    benchmark:
        f"{RUN}_evaluation.benchmark.tsv"
    conda:
        "../envs/training.yaml"
    threads: lambda wildcards: settings_of(wildcards)["num_threads"]
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        code=code_version("evaluate_validation.py"),
    script:
        "../workflow/scripts/evaluate_validation.py"
