"""Train one run through all its switches, from its trunk where it has one: ``<run>.pkl``."""

from memorization.cache import read_pickle, write_pickle
from memorization.progress import progress_to, start_log
from memorization.training import Training

log = start_log(snakemake.log[0])
data = read_pickle(snakemake.input.sequences)
settings = snakemake.params.settings
training = Training(settings, data["sequences"], data["switch_start_iter"])
if settings["num_switches"]:
    training.restore(read_pickle(snakemake.input.trunk))
training.run(settings["num_iters"], progress=progress_to(log, snakemake.wildcards.run))
write_pickle(training.results(), snakemake.output.results)
