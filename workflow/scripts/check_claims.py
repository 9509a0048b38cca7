"""Check the claims about one experiment on its tables."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from pathlib import Path

from memorization.storage.cache import write_table
from memorization.storage.provenance import write_provenance
from memorization.tables.claims import check_claims
from memorization.tables.registry import read_table_of_group

tables = {Path(path).stem: read_table_of_group(path) for path in snakemake.input}
checked = check_claims(snakemake.params.claims, tables)
for path in snakemake.output:
    write_table(checked, path)
write_provenance(snakemake)
