"""Write the sentences of all claims with the numbers of this run."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

import pandas as pd

from memorization.storage.cache import atomic_write, read_table, write_table
from memorization.storage.provenance import library_versions, processors_of, write_provenance
from memorization.tables.sentences import page_of_claims, report_of_claims, told_claims

table, page, part_of_report = snakemake.output
checked = pd.concat([read_table(path) for path in snakemake.input], ignore_index=True)
told = told_claims(snakemake.params.sentences, checked)
write_table(told, table)
versions = [f"{name} {version}" for name, version in library_versions().items() if version]
computed_on = f"{' and '.join(processors_of(snakemake.input))} with {', '.join(versions)}"
for path, text in (
    (page, page_of_claims(told, computed_on)),
    (part_of_report, report_of_claims(told, computed_on)),
):
    with atomic_write(path) as file:
        file.write(text.encode())
write_provenance(snakemake)
