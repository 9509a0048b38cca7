"""Aggregate the runs of a group over seeds: one tidy table."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.storage.cache import read_table, write_table
from memorization.storage.provenance import write_provenance
from memorization.tables.aggregation import aggregate
from memorization.tables.registry import TABLES

name = snakemake.wildcards.table
table = aggregate(
    name,
    (read_table(path, columns=TABLES[name].columns) for path in snakemake.input.runs),
    snakemake.params.conditions,
    snakemake.params.settings,
    snakemake.params.references,
)
for path in snakemake.output:
    write_table(table, path)
write_provenance(snakemake)
