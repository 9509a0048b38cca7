for figure in FIGURES:

    rule:
        name:
            f"plot_{figure}"
        input:
            **{table: f"{RESULTS}/{{group}}/{table}.parquet" for table in SOURCES},
        output:
            report(
                f"{RESULTS}/{{group}}/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="{group}",
                labels={"figure": figure.replace("_", " ")},
            ),
            f"{RESULTS}/{{group}}/{figure}.pdf",
        params:
            code=code_version(f"plot_{figure}.py"),
        log:
            f"{RESULTS}/{{group}}/logs/{figure}_figure.log",
        benchmark:
            f"{RESULTS}/{{group}}/logs/{figure}_figure.benchmark.tsv"
        conda:
            "../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=10,
        script:
            f"../workflow/scripts/plot_{figure}.py"
