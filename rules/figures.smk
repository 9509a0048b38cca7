for figure in TABLES_OF_FIGURE:

    rule:
        name:
            f"plot_{figure}"
        input:
            **{table: f"{RESULTS}/{{group}}/{table}.parquet" for table in TABLES_OF_FIGURE[figure]},
            claims=claims_in_title_of(figure),
        output:
            report(
                f"{RESULTS}/{{group}}/{figure}.png",
                caption=caption_of(figure),
                category="{group}",
                labels={"figure": figure.replace("_", " ")},
            ),
            f"{RESULTS}/{{group}}/{figure}.pdf",
        log:
            f"{RESULTS}/{{group}}/logs/{figure}_figure.log",
        benchmark:
            f"{RESULTS}/{{group}}/logs/{figure}_figure.benchmark.tsv"
        priority: 5
        conda:
            "../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(20),
        params:
            # The script's name is formed when a job runs, after the loop has ended.
            figure=figure,
            title=title_of(figure),
            code=code_version(f"plot_{figure}.py"),
            pins=pins_of("tables", *OF_TABLES, *OF_FIGURES),
        script:
            "../workflow/scripts/plot_{params.figure}.py"
