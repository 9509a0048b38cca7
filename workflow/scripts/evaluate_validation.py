"""Evaluate all sequences of a run under each kind of weights, and tabulate what was logged each epoch."""

from memorization.cache import read_pickle, write_table
from memorization.evaluation import diagnostics_table, epoch_table, evaluate_run
from memorization.progress import start_log

start_log(snakemake.log[0])
results = read_pickle(snakemake.input.results)
sequence_sets = read_pickle(snakemake.input.sequences)["sequences"]
evaluation, positions = evaluate_run(results, sequence_sets)
write_table(evaluation, snakemake.output.evaluation)
write_table(positions, snakemake.output.positions)
write_table(epoch_table(results["logs"]), snakemake.output.epochs)
write_table(diagnostics_table(results["logs"]), snakemake.output.diagnostics)
