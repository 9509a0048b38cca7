"""Evaluate all sequences of a run under each kind of weights, and tabulate the tests of its epochs."""

from memorization.cache import read_pickle, write_table
from memorization.evaluation import epoch_table, evaluate_run
from memorization.progress import start_log

start_log(snakemake.log[0])
results = read_pickle(snakemake.input.results)
sequence_sets = read_pickle(snakemake.input.sequences)["sequences"]
write_table(evaluate_run(results, sequence_sets), snakemake.output.evaluation)
write_table(epoch_table(results["logs"]), snakemake.output.epochs)
