"""The configuration: settings and file as types, the runs of a file, its mistakes.

The JSON schema, the settings' page and the error messages are made from the types here. Nothing here trains, reads
a cache, or needs more than pydantic and PyYAML: Snakemake makes its plan with this code, in its own environment.
"""
