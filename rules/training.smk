rule train:
    input:
        sequences=f"{RUN}_sequences.pkl",
    output:
        results=f"{RUN}.pkl",
    log:
        f"{RUN}.log",
    benchmark:
        f"{RUN}.benchmark.tsv"
    conda:
        "../envs/training.yaml"
    threads: lambda wildcards: settings_of(wildcards)["num_threads"]
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=settings_of,
        code=lambda wildcards: code_version("train.py", settings_of(wildcards)["model"]),
    script:
        "../workflow/scripts/train.py"
