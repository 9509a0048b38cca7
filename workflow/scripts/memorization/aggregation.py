"""Tidy tables of a group: means over the sequences of each run, then mean and interval over seeds."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from .theory import queue_occupancy

METRICS = ["loss", "accuracy"]
NUM_SEQUENCES = "num_sequences"
CONFIDENCE = 0.95

# Each takes a table of a run and the run's resolved settings, and returns the run's rows of the group's
# table: keys in the index, numbers to average over seeds in the columns.


def by_epoch(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over the tested sequences of each set, at each epoch."""
    return _mean_over_sequences(epochs, ["epoch", "iter", "current_set", "sequence_set"])


def by_weights(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over the sequences of each set, under each kind of weights."""
    return _mean_over_sequences(evaluation, ["weights", "sequence_set"])


def by_rank(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over bands of rank: 0, 1 – 2, 3 – 6, … (powers of two, less 1) up to K − 1; none held out."""
    trained = evaluation[evaluation["sequence_set"] >= 0]
    return _mean_over_sequences(_with_rank_bands(trained, args), ["weights", "sequence_set", *_RANK_BAND])


def by_appearances(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over bands of the number of appearances: 0, 1, 2 – 3, 4 – 7, … (powers of two)."""
    band = _bands(evaluation["num_appearances"])
    table = evaluation.assign(appearances_low=band[0], appearances_high=band[1])
    return _mean_over_sequences(table, ["weights", "sequence_set", "appearances_low", "appearances_high"])


def by_position(positions: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over the sequences of each set for each predicted bit, under each kind of weights."""
    return positions.set_index(["weights", "sequence_set", "position"])


def diagnostics(table: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return what is logged of the model itself at each epoch, and the loss of its batches."""
    return table.set_index(["epoch", "iter", "current_set"]).drop(columns="lr")


def attention_maps(attention: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the mean over heads (``head`` −1), and single heads for the first seed alone.

    The heads of two seeds have nothing in common but their number.
    """
    keys = ["weights", "layer", "head", "predicted_position", "key_position", "query_bit", "key_bit"]
    over_heads = attention.groupby([key for key in keys if key != "head"], sort=False)["attention"].mean()
    found = [over_heads.reset_index().assign(head=-1)]
    if args["seed"] == 0:
        found.append(attention)
    return pd.concat(found).set_index(keys)


def occupancy(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Each sequence of each set, beside the probability that the queue of the DAM holds it.

    For the states just before a switch and at the end; NaN for a model without a queue.
    """
    found = []
    for weights, iteration in _iteration_of_weights(args).items():
        for sequence_set in range(args["num_switches"] + 1):
            rows = evaluation[(evaluation["weights"] == weights) & (evaluation["sequence_set"] == sequence_set)]
            held = queue_occupancy(args, iteration, sequence_set)[rows["sequence_rank"]]
            found.append(rows.assign(occupancy=held))
    return _mean_over_sequences(pd.concat(found), ["weights", "sequence_set", "sequence_rank", "occupancy"])


def forgetting(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Each set after it was left, by iterations since then and by bands of rank.

    The mean occupancy of the tested sequences stands beside (NaN for a model without a queue).
    """
    left = (epochs["sequence_set"] + 1) * args["num_iters_per_set"]
    since = epochs.assign(iters_since_switch=epochs["iter"] - left)
    # A set's last test before the switch is the start of its forgetting.
    since = _with_rank_bands(since[since["iters_since_switch"] >= 0], args)
    moments = since[["iter", "sequence_set"]].drop_duplicates()
    held = {
        (moment.iter, moment.sequence_set): queue_occupancy(args, moment.iter, moment.sequence_set)
        for moment in moments.itertuples()
    }
    by_moment = since.groupby(["iter", "sequence_set"], sort=False)["sequence_rank"]
    since["occupancy"] = by_moment.transform(lambda ranks: held[ranks.name][ranks])
    keys = ["sequence_set", "iters_since_switch", *_RANK_BAND]
    return _mean_over_sequences(since, keys, [*METRICS, "occupancy"])


_REDUCTIONS: dict[str, Callable[[pd.DataFrame, dict], pd.DataFrame]] = {
    "by_epoch": by_epoch,
    "by_rank": by_rank,
    "by_appearances": by_appearances,
    "by_weights": by_weights,
    "by_position": by_position,
    "diagnostics": diagnostics,
    "attention_maps": attention_maps,
    "occupancy": occupancy,
    "forgetting": forgetting,
}


def aggregate(
    table: str, runs: Iterable[pd.DataFrame], conditions: list[dict], settings: list[dict]
) -> pd.DataFrame:
    """Make one table of a group.

    Args:
        table: a key of `tables.SOURCES`.
        runs: the source table of each run; one at a time is held in memory.
        conditions: what the runs differ in; runs of one condition differ in their seed alone.
        settings: the resolved settings of each run.

    Returns the condition, the keys of the table, ``num_seeds``, ``num_sequences`` (over all seeds) and of
    each metric the mean over seeds with the bounds of its 95 % confidence interval. It is Student's t
    interval over the means of the seeds; one seed has none (NaN).
    """
    distinct: list[dict] = []
    reduced = []
    for run, condition, args in zip(runs, conditions, settings, strict=True):
        if condition not in distinct:
            distinct.append(condition)
        rows = _REDUCTIONS[table](run, args)
        keys = rows.index.names
        reduced.append(rows.reset_index().assign(condition=distinct.index(condition)))
    tidy = _in_order_of_appearance(pd.concat(reduced, ignore_index=True), keys)
    result = _over_seeds(tidy, ["condition", *keys])
    swept = pd.DataFrame(distinct, index=range(len(distinct))).loc[result.pop("condition")]
    return pd.concat([swept.reset_index(drop=True), result], axis=1)


def _iteration_of_weights(args: dict) -> dict[str, int]:
    """Return the iteration after which each kind of weights was saved: just before a switch, at the end."""
    per_set, num_switches = args["num_iters_per_set"], args["num_switches"]
    before = {f"pre_switch_{switch}": switch * per_set for switch in range(1, num_switches + 1)}
    return {**before, "final": args["num_iters"]}


def _mean_over_sequences(table: pd.DataFrame, keys: list[str], metrics: list[str] = METRICS) -> pd.DataFrame:
    groups = table.astype(dict.fromkeys(metrics, float)).groupby(keys, sort=False, observed=True, dropna=False)
    return groups.agg(**{NUM_SEQUENCES: ("loss", "size")}, **{metric: (metric, "mean") for metric in metrics})


_RANK_BAND = ["rank_low", "rank_high"]


def _with_rank_bands(table: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Add the bounds of each row's band of rank; the last band ends with the set."""
    low, high = _bands(table["sequence_rank"] + 1)
    return table.assign(rank_low=low - 1, rank_high=np.minimum(high - 1, args["K"] - 1))


def _bands(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of the band [2^i, 2^(i+1) − 1] that each value is in; 0 is a band of its own."""
    exponent = np.frexp(values)[1]  # value in [2^(exponent − 1), 2^exponent)
    low = np.where(exponent > 0, 2 ** np.maximum(exponent - 1, 0), 0)
    return low, 2**exponent - 1


def _in_order_of_appearance(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Let text keys sort as they first appear (pre_switch_1, final, …), not by the alphabet."""
    texts = [key for key in keys if not pd.api.types.is_numeric_dtype(table[key])]
    return table.assign(
        **{key: pd.Categorical(table[key], categories=table[key].unique(), ordered=True) for key in texts}
    )


def _over_seeds(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the mean over the rows of each key, one row a seed, and its interval."""
    metrics = [column for column in tidy.columns if column not in (*keys, NUM_SEQUENCES)]
    groups = tidy.groupby(keys, sort=True, observed=True, dropna=False)
    result = groups.size().to_frame("num_seeds")
    if NUM_SEQUENCES in tidy:
        result[NUM_SEQUENCES] = groups[NUM_SEQUENCES].sum()
    t = stdtrit(np.maximum(result["num_seeds"] - 1, 1), (1 + CONFIDENCE) / 2)
    for metric in metrics:
        mean = groups[metric].mean()
        half_width = t * groups[metric].sem()
        result[f"{metric}_mean"] = mean
        result[f"{metric}_low"] = mean - half_width
        result[f"{metric}_high"] = mean + half_width
    result = result.reset_index()
    return result.astype({key: str for key in keys if result[key].dtype == "category"})
