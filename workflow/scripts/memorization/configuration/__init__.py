"""What a configuration file may say: each setting as a type, the runs a file asks for, and its mistakes.

Everything that is said about settings elsewhere (the JSON schema, the settings' page, error messages) is
derived here. Nothing here trains, reads a cache, or needs more than pydantic and PyYAML: the workflow's plan
is made with it, in whatever environment Snakemake runs.
"""
