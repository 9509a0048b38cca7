"""Aggregate the runs of a group over seeds: one tidy table."""

from memorization.aggregation import aggregate
from memorization.cache import read_table, write_table
from memorization.progress import start_log

start_log(snakemake.log[0])
table = aggregate(
    snakemake.wildcards.table,
    map(read_table, snakemake.input.runs),
    snakemake.params.conditions,
    snakemake.params.settings,
)
for path in snakemake.output:
    write_table(table, path)
