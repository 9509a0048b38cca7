"""Train the part that several runs have in common, up to the first switch.

It writes a checkpoint that they go on from.
"""

from memorization.storage.log import cpu_time_logged, start_log

log = start_log(snakemake.log[0])

from memorization.sequences import generate_sequence_set
from memorization.storage.cache import write_pickle
from memorization.storage.provenance import write_provenance
from memorization.storage.result_lock import hold_result
from memorization.training.checkpoints import Checkpoint
from memorization.training.progress import progress_to
from memorization.training.training import Training

settings = snakemake.params.settings
first_set = generate_sequence_set(settings["sequences_seed"], 0, settings["K"], settings["len_context"])
checkpoint = Checkpoint(
    snakemake.output.trunk,
    snakemake.params.code,
    snakemake.params.identity,
    snakemake.config["checkpoint_seconds"],
)
with hold_result(snakemake.output.trunk):
    training = checkpoint.resume(lambda: Training(settings, [first_set], [0]))
    with cpu_time_logged("training"):
        checkpoint.run(training, settings["num_iters_per_set"], progress_to(log, snakemake.wildcards.trunk))
    write_pickle(training.checkpoint(), snakemake.output.trunk)
    write_provenance(snakemake)
