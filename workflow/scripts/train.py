"""Train one run through all its switches, from its trunk if it has one.

It writes ``<run>.pkl``.
"""

from memorization.storage.log import cpu_time_logged, start_log

log = start_log(snakemake.log[0])

from memorization.storage.cache import read_pickle, read_sequences, write_pickle
from memorization.storage.provenance import write_provenance
from memorization.storage.result_lock import hold_result
from memorization.training.checkpoints import Checkpoint
from memorization.training.progress import progress_to
from memorization.training.training import Training

sequence_sets, switch_start_iter = read_sequences(snakemake.input.sequences)
settings = snakemake.params.settings


def start() -> Training:
    """Return the training at its start: after the trunk, if the run has one."""
    training = Training(settings, sequence_sets, switch_start_iter)
    if settings["num_switches"]:
        training.restore(read_pickle(snakemake.input.trunk))
    return training


checkpoint = Checkpoint(
    snakemake.output.results,
    snakemake.params.code,
    snakemake.params.identity,
    snakemake.config["checkpoint_seconds"],
)
with hold_result(snakemake.output.results):
    training = checkpoint.resume(start)
    with cpu_time_logged("training"):
        checkpoint.run(training, settings["num_iters"], progress_to(log, snakemake.wildcards.run))
    write_pickle(training.results(), snakemake.output.results)
    write_provenance(snakemake)
