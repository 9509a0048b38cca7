"""Evaluate all sequences of a run under each kind of weights.

It also tabulates what was logged each epoch, and the tests after switches. Beside both stands what the ideal
observer has.
"""

from memorization.storage.log import cpu_time_logged, start_log

start_log(snakemake.log[0])

from memorization.storage.cache import read_pickle, read_sequences, write_table
from memorization.storage.provenance import write_provenance
from memorization.training.evaluation import evaluate_run

settings = snakemake.params.settings
results = read_pickle(snakemake.input.results)
# A pickle that is older than a setting lacks it.
results["args"] = settings | results["args"]
sequence_sets, _ = read_sequences(snakemake.input.sequences)
with cpu_time_logged("evaluation"):
    tables = evaluate_run(results, sequence_sets, settings["num_held_out"])
for name, table in tables.items():
    write_table(table, snakemake.output[name])
write_provenance(snakemake)
