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
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        # One mapping instead of several parameters: Snakemake compares parameters as a set and would not notice
        # if two of them swapped their values.
        sequences=sequences_of,
        code=code_version("generate_sequences.py"),
        pins=pins_of("tables", "numpy"),
    script:
        "../workflow/scripts/generate_sequences.py"
