rule generate_sequences:
    output:
        sequences=f"{RUN}_sequences.pkl",
    log:
        f"{RUN}_sequences.log",
    benchmark:
        f"{RUN}_sequences.benchmark.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        seed=lambda wildcards: settings_of(wildcards)["seed"],
        K=lambda wildcards: settings_of(wildcards)["K"],
        len_context=lambda wildcards: settings_of(wildcards)["len_context"],
        switch_start_iter=switch_start_iter,
        code=code_version("generate_sequences.py"),
    script:
        "../workflow/scripts/generate_sequences.py"
