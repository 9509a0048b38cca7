"""How much CPU time a run takes, from measured iterations and tests.

The numbers are those of one core of an AMD EPYC (docs/scaling.md). Each model has a time for the call of an
iteration, and one for a unit of work on a sequence. Another processor has others, and a GPU does without both.
"""

from functools import cache
from typing import Any, NamedTuple

Settings = dict[str, Any]


class Speed(NamedTuple):
    """What was measured of a model, in seconds."""

    iteration: float
    """The part of an iteration, or of a test, that does not depend on the number of sequences."""
    unit: float
    """A unit of work on one sequence, see `work_of_sequence`, with its gradients."""


SPEEDS = {
    "one_layer_attention": Speed(1.6e-3, 8.7e-11),
    "gpt": Speed(2.1e-3, 1.08e-9),
    "dam": Speed(5.3e-4, 4.76e-11),
}
# Without gradients, a sequence takes so much of the time.
TEST = 0.4
# The jobs of a run, and that of a trunk: mostly imports.
SECONDS_OF_RUN, SECONDS_OF_TRUNK = 3.0, 1.2
SECONDS_OF_ROW = 1e-6
# Each sequence of a batch is drawn and compared with the others, even if equal ones are then computed once. The
# times above include it for batches of the sizes that were measured.
SECONDS_OF_DRAWN_SEQUENCE, LARGEST_MEASURED_BATCH = 1.1e-6, 1000


def work_of_sequence(settings: Settings) -> float:
    """Return the units of work of one sequence; 0 for a model that is not known here."""
    if settings["model"] == "dam":
        N, H = settings["N"], settings["H"]
        stored = distinct_sequences(settings["K"], settings["zipf_exponent"], settings["M"])
        return N * stored * (55 + H)
    if settings["model"] not in SPEEDS:
        return 0
    L, C = settings["len_context"], settings["num_heads"] * settings["num_hidden_features"]
    if settings["model"] == "gpt":
        return settings["num_layers"] * L * (C * C + L * C + 2200)
    C_mlp = settings["num_hidden_features_mlp"]
    return L * (8000 + C * (L + C_mlp) + (settings["num_mlp_layers"] - 1) * C_mlp * C_mlp)


@cache
def distinct_sequences(K: int, zipf_exponent: float, number: int) -> float:
    """Return how many distinct sequences are expected among ``number`` that are drawn.

    Ranks are taken together in blocks, each twice as long as the one before: within 10 % of the sum over all.
    """
    starts = [2**i for i in range(K.bit_length())]
    blocks = [(min(start, K + 1 - start), (1.5 * start) ** -zipf_exponent) for start in starts]
    total = sum(ranks * weight for ranks, weight in blocks)
    return sum(ranks * (1 - (1 - min(weight / total, 1)) ** number) for ranks, weight in blocks)


def seconds_of_iteration(settings: Settings, batch_size: int) -> float:
    """Return the seconds of an iteration.

    Equal sequences of a batch are computed once, but each is drawn.
    """
    speed = SPEEDS.get(settings["model"], Speed(0, 0))
    distinct = distinct_sequences(settings["K"], settings["zipf_exponent"], batch_size)
    computed = speed.unit * work_of_sequence(settings) * distinct
    drawn = SECONDS_OF_DRAWN_SEQUENCE * max(0, batch_size - LARGEST_MEASURED_BATCH)
    return speed.iteration + computed + drawn


def seconds_of_tests(settings: Settings, times: int, sequences: int) -> float:
    """Return the seconds of tests at so many ``times``, of ``sequences`` in all."""
    speed = SPEEDS.get(settings["model"], Speed(0, 0))
    return speed.iteration * times + TEST * speed.unit * work_of_sequence(settings) * sequences
