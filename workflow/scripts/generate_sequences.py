"""Generate every sequence set of a run: ``<run>_sequences.pkl``."""

from memorization.sequences import generate_sequence_set
from memorization.storage.cache import write_pickle
from memorization.storage.log import start_log
from memorization.storage.provenance import write_provenance

start_log(snakemake.log[0])
p = snakemake.params
write_pickle(
    {
        "sequences": [
            generate_sequence_set(p.seed, sequence_set, p.K, p.len_context)
            for sequence_set in range(len(p.switch_start_iter))
        ],
        "switch_start_iter": p.switch_start_iter,
    },
    snakemake.output.sequences,
)
write_provenance(snakemake)
