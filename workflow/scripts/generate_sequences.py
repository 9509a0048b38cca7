"""Generate every sequence set of a run: ``<run>_sequences.pkl``."""

from memorization.storage.log import start_log

start_log(snakemake.log[0])

from memorization.sequences import generate_sequence_set
from memorization.storage.cache import write_sequences
from memorization.storage.provenance import write_provenance

settings = snakemake.params.sequences
starts = settings["switch_start_iter"]
sequences = [
    generate_sequence_set(settings["seed"], sequence_set, settings["K"], settings["len_context"])
    for sequence_set in range(len(starts))
]
write_sequences(sequences, starts, snakemake.output.sequences)
write_provenance(snakemake)
