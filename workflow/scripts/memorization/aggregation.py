"""Tidy tables of a group: means over the sequences of each run, then mean and interval over seeds."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from .fits import FORMS, Fit, fit_forgetting
from .sequences import HELD_OUT
from .theory import queue_occupancy

METRICS = ["loss", "accuracy"]
NUM_SEQUENCES = "num_sequences"
CONFIDENCE = 0.95
THRESHOLDS = (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# Each takes a table of a run and the run's resolved settings, and returns the run's rows of the group's
# table: keys in the index, numbers to average over seeds in the columns.


def by_epoch(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over the tested sequences of each set, at each epoch."""
    return _mean_over_sequences(epochs, ["epoch", "iter", "current_set", "sequence_set"])


def by_weights(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Mean over the sequences of each set, under each kind of weights, beside the number of parameters."""
    table = evaluation.assign(num_parameters=args["num_parameters"])
    return _mean_over_sequences(table, ["weights", "sequence_set", "num_parameters"])


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
    """Return the first layer's mean over heads (``head`` −1), and single heads for the first seed alone.

    The heads of two seeds have nothing in common but their number.
    """
    attention = attention[attention["layer"] == 0]
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
    since = _with_rank_bands(_since_left(epochs, args), args)
    moments = since[["iter", "sequence_set"]].drop_duplicates()
    held = {
        (moment.iter, moment.sequence_set): queue_occupancy(args, moment.iter, moment.sequence_set)
        for moment in moments.itertuples()
    }
    by_moment = since.groupby(["iter", "sequence_set"], sort=False)["sequence_rank"]
    since["occupancy"] = by_moment.transform(lambda ranks: held[ranks.name][ranks])
    keys = ["sequence_set", "iters_since_switch", *_RANK_BAND]
    return _mean_over_sequences(since, keys, [*METRICS, "occupancy"])


def iterations_to_accuracy(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return how many iterations on a set it took until the mean over its tested sequences was at a threshold.

    For each of `THRESHOLDS` that was reached: the first epoch whose accuracy is not below it.
    """
    current = epochs[epochs["sequence_set"] == epochs["current_set"]]
    accuracy = current.groupby(["sequence_set", "iter"])["accuracy"].mean().reset_index()
    accuracy["iterations"] = accuracy["iter"] - accuracy["sequence_set"] * args["num_iters_per_set"]
    found = [
        accuracy[accuracy["accuracy"] >= threshold].groupby("sequence_set")["iterations"].min().to_frame()
        for threshold in THRESHOLDS
    ]
    return pd.concat(dict(zip(THRESHOLDS, found, strict=True)), names=["threshold"]).swaplevel()


def forgetting_curves(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the recall of the earlier sets against the iterations since each was left, with the fits to it.

    Recall is 2 · accuracy − 1, its mean over the tested sequences of all sets that were left; for all ranks
    (``rank_low`` 0, ``rank_high`` K − 1) and for bands of them. Beside it stands each fitted form.
    """
    columns = [*_RANK_BAND, "iters_since_switch", "recall", *FORMS]
    curves = [pd.DataFrame(columns=columns, dtype=float)]
    for band, t, recall, fits in _fits_by_band(epochs, args):
        values = {name: fit.fitted for name, fit in fits.items()}
        missing = dict.fromkeys(FORMS.keys() - values.keys(), math.nan)
        curves.append(pd.DataFrame({**band, "iters_since_switch": t, "recall": recall, **values, **missing}))
    # What a run without a switch has of them is nothing.
    table = pd.concat(curves[1:] or curves)[columns]
    return table.set_index(columns[:3])


def forgetting_fits(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the parameters of each form fitted to `forgetting_curves`, its AIC and by how much another is less.

    ``tau`` is in iterations; ``beta`` is NaN for the exponential, which has none.
    """
    rows = []
    for band, _, _, fits in _fits_by_band(epochs, args):
        best = min((fit.aic for fit in fits.values()), default=math.nan)
        rows += [
            {**band, "form": name, "beta": math.nan, **fit.parameters, "aic": fit.aic, "delta_aic": fit.aic - best}
            for name, fit in fits.items()
        ]
    columns = [*_RANK_BAND, "form", "amplitude", "tau", "beta", "aic", "delta_aic"]
    return pd.DataFrame(rows, columns=columns).set_index([*_RANK_BAND, "form"])


def _fits_by_band(
    epochs: pd.DataFrame, args: dict
) -> Iterator[tuple[dict[str, int], np.ndarray, np.ndarray, dict[str, Fit]]]:
    """Yield the bounds of each band of rank, all ranks first, with its curve of recall and the fits to it."""
    earlier = _with_rank_bands(_since_left(epochs, args), args)
    # One pass over the tests: their number and the sum of their accuracy in each band at each time.
    keys = ["iters_since_switch", *_RANK_BAND]
    found = earlier["accuracy"].astype(float).groupby([earlier[key] for key in keys]).agg(["sum", "size"])
    found = found.reset_index()
    all_ranks = found.assign(rank_low=0, rank_high=args["K"] - 1)
    for table in (all_ranks, found):
        for (low, high), rows in table.groupby(_RANK_BAND):
            sums = rows.groupby("iters_since_switch")[["sum", "size"]].sum()
            t, recall = sums.index.to_numpy(), (2 * sums["sum"] / sums["size"] - 1).to_numpy()
            yield {"rank_low": low, "rank_high": high}, t, recall, fit_forgetting(t.astype(float), recall)


def capacity(evaluation: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the bits memorised of each set: Σ over sequences and predictions of (log 2 − loss) / log 2.

    What is gained on held-out sequences, where anything is, is no memory and is subtracted. A loss above log 2
    is no gain, and no debt: who stores with the model falls back to a coin.
    """
    loss = evaluation.groupby(["weights", "sequence_set"], sort=False)["loss"].mean().astype(float)
    gained = (1 - loss / math.log(2)).clip(lower=0).unstack("sequence_set")
    memorised = gained.drop(columns=HELD_OUT).sub(gained[HELD_OUT], axis=0)
    bits = memorised.stack().rename("bits").to_frame() * args["K"] * args["num_predictions"]
    bits["bits_per_parameter"] = bits["bits"] / args["num_parameters"]
    keys = {"num_parameters": args["num_parameters"], "sequence_length": args["len_context"]}
    # 0 for the DAM, which embeds nothing.
    keys["embedding_dimension"] = args.get("num_heads", 0) * args.get("num_hidden_features", 0)
    return bits.assign(**keys).set_index(list(keys), append=True)


def attention_similarity(attention: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return how alike the attention before the first switch and at the end is, for each layer.

    The cosine of what two maps differ from uniform attention by (attention − 1 / n over the n positions
    before bit n). ``heads`` is ``same``, the mean over heads of each with itself, or ``other``, the mean over
    pairs of different heads, which is what nothing in common but position gives.
    """
    cells = ["predicted_position", "key_position", "query_bit", "key_bit"]
    maps = attention[attention["weights"].isin(["pre_switch_1", "final"])]
    maps = maps.assign(deviation=maps["attention"].astype(float) - 1 / maps["predicted_position"])
    rows = []
    for layer, of_layer in maps.groupby("layer"):
        # Of the cells that both have: a pair of bits can be nowhere among the sequences.
        values = of_layer.pivot(index=["weights", "head"], columns=cells, values="deviation").dropna(axis=1)
        norms = np.linalg.norm(values, axis=1)
        # Uniform attention differs from itself by rounding alone, which is like nothing.
        unit = values.div(np.where(norms > 1e-6 * values.shape[1], norms, np.nan), axis=0)
        if values.index.get_level_values("weights").nunique() == 2:
            cosine = unit.loc["pre_switch_1"].to_numpy() @ unit.loc["final"].to_numpy().T
            same = np.eye(len(cosine), dtype=bool)
            rows.append({"layer": layer, "heads": "same", "similarity": cosine[same].mean()})
            if len(cosine) > 1:
                rows.append({"layer": layer, "heads": "other", "similarity": cosine[~same].mean()})
    return pd.DataFrame(rows, columns=["layer", "heads", "similarity"]).set_index(["layer", "heads"])


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
    "iterations_to_accuracy": iterations_to_accuracy,
    "forgetting_curves": forgetting_curves,
    "forgetting_fits": forgetting_fits,
    "capacity": capacity,
    "attention_similarity": attention_similarity,
}

# What a table is made from, where that is not all of a run's table: at the reference scale it has a million rows.
COLUMNS = {
    "by_weights": ["weights", "sequence_set", *METRICS],
    "capacity": ["weights", "sequence_set", "loss"],
    "by_rank": ["weights", "sequence_set", "sequence_rank", *METRICS],
    "occupancy": ["weights", "sequence_set", "sequence_rank", *METRICS],
    "by_appearances": ["weights", "sequence_set", "num_appearances", *METRICS],
    "by_epoch": ["epoch", "iter", "current_set", "sequence_set", *METRICS],
    "forgetting": ["iter", "sequence_set", "sequence_rank", *METRICS],
    "forgetting_curves": ["iter", "sequence_set", "sequence_rank", "accuracy"],
    "forgetting_fits": ["iter", "sequence_set", "sequence_rank", "accuracy"],
    "iterations_to_accuracy": ["iter", "current_set", "sequence_set", "accuracy"],
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


def _since_left(epochs: pd.DataFrame, args: dict) -> pd.DataFrame:
    """Return the tests of sets that were left for the next, with the iterations since then.

    A set's last test before the switch, at 0, is the start of its forgetting.
    """
    left = (epochs["sequence_set"] + 1) * args["num_iters_per_set"]
    since = epochs.assign(iters_since_switch=epochs["iter"] - left)
    return since[(since["iters_since_switch"] >= 0) & (left < args["num_iters"])]


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
