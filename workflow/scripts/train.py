"""Train one run through all its switches: ``<run>.pkl``."""

from memorization.cache import read_pickle, write_pickle
from memorization.progress import progress_to, start_log
from memorization.training import train

log = start_log(snakemake.log[0])
data = read_pickle(snakemake.input.sequences)
results = train(
    snakemake.params.settings,
    data["sequences"],
    data["switch_start_iter"],
    progress=progress_to(log, snakemake.wildcards.run),
)
write_pickle(results, snakemake.output.results)
