rule claims_of_group:
    input:
        tables_of_claims,
    output:
        f"{RESULTS}/{{group}}/claims.parquet",
        f"{RESULTS}/{{group}}/claims.csv",
    log:
        f"{RESULTS}/{{group}}/logs/claims.log",
    benchmark:
        f"{RESULTS}/{{group}}/logs/claims.benchmark.tsv"
    priority: 5
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        claims=claims_to_check,
        code=code_version("check_claims.py"),
        pins=pins_of("tables", *OF_TABLES, "scipy"),
    script:
        "../workflow/scripts/check_claims.py"


rule claims:
    input:
        [f"{RESULTS}/{group}/claims.parquet" for group in GROUPS_WITH_CLAIMS],
    output:
        f"{RESULTS}/claims.csv",
        f"{RESULTS}/claims.md",
        report(
            f"{RESULTS}/claims.html",
            caption="../report/claims.rst",
            category="✓ claims",
            labels={"figure": "all claims"},
        ),
    log:
        f"{RESULTS}/logs/claims.log",
    benchmark:
        f"{RESULTS}/logs/claims.benchmark.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(20),
    params:
        sentences={
            name: {"experiment": claim.experiment, "sentence": claim.sentence} for name, claim in CLAIMS.items()
        },
        code=code_version("tell_claims.py"),
        pins=pins_of("tables", *OF_TABLES),
    script:
        "../workflow/scripts/tell_claims.py"
