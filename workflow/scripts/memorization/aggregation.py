"""Tidy tables of a group: means over the sequences of each run, then mean and interval over seeds."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
from scipy import stats

METRICS = ["loss", "accuracy"]
CONFIDENCE = 0.95


def by_epoch(epochs: pd.DataFrame) -> pd.DataFrame:
    """Mean over the tested sequences of each set, at each epoch."""
    return _mean_over_sequences(epochs, ["epoch", "iter", "current_set", "sequence_set"])


def by_weights(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Mean over the sequences of each set, under each kind of weights."""
    return _mean_over_sequences(evaluation, ["weights", "sequence_set"])


def by_rank(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Mean over bands of rank: 0, 1 – 2, 3 – 6, … (powers of two, less 1) up to K − 1; none held out."""
    trained = evaluation[evaluation["sequence_set"] >= 0]
    table = _mean_over_bands(trained, trained["sequence_rank"] + 1, "rank", offset=1)
    return table.assign(rank_high=table["rank_high"].clip(upper=trained["sequence_rank"].max()))


def by_appearances(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Mean over bands of the number of appearances: 0, 1, 2 – 3, 4 – 7, … (powers of two)."""
    return _mean_over_bands(evaluation, evaluation["num_appearances"], "appearances", offset=0)


_TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "by_epoch": by_epoch,
    "by_rank": by_rank,
    "by_appearances": by_appearances,
    "by_weights": by_weights,
}


def aggregate(table: str, runs: Iterable[pd.DataFrame], conditions: list[dict]) -> pd.DataFrame:
    """Make one table of a group.

    Args:
        table: a key of `tables.SOURCES`.
        runs: the source table of each run; one at a time is held in memory.
        conditions: the swept settings of each run; runs of one condition differ in their seed alone.

    Returns the swept settings, the keys of the table, ``num_seeds``, ``num_sequences`` (over all seeds)
    and of each metric the mean over seeds with the bounds of its 95 % confidence interval. It is
    Student's t interval over the means of the seeds; one seed has none (NaN).
    """
    distinct: list[dict] = []
    reduced = []
    for run, condition in zip(runs, conditions, strict=True):
        if condition not in distinct:
            distinct.append(condition)
        reduced.append(_TABLES[table](run).assign(condition=distinct.index(condition)))
    keys = [key for key in reduced[0].columns if key not in (*METRICS, "num_sequences", "condition")]
    tidy = _in_order_of_appearance(pd.concat(reduced, ignore_index=True), keys)
    result = _over_seeds(tidy, ["condition", *keys])
    settings = pd.DataFrame(distinct, index=range(len(distinct))).loc[result.pop("condition")]
    return pd.concat([settings.reset_index(drop=True), result], axis=1)


def _mean_over_sequences(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    groups = table.astype(dict.fromkeys(METRICS, float)).groupby(keys, sort=False)
    return groups.agg(
        num_sequences=("loss", "size"), **{metric: (metric, "mean") for metric in METRICS}
    ).reset_index()


def _mean_over_bands(table: pd.DataFrame, position: pd.Series, name: str, offset: int) -> pd.DataFrame:
    """Mean over the bands [2^i, 2^(i+1) − 1] of ``position``, whose bounds are given less ``offset``."""
    exponent = np.frexp(position)[1]  # position in [2^(exponent − 1), 2^exponent)
    low = np.where(exponent > 0, 2 ** np.maximum(exponent - 1, 0), 0) - offset
    high = 2**exponent - 1 - offset
    banded = table.assign(**{f"{name}_low": low, f"{name}_high": high})
    return _mean_over_sequences(banded, ["weights", "sequence_set", f"{name}_low", f"{name}_high"])


def _in_order_of_appearance(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Let text keys sort as they first appear (pre_switch_1, final, …), not by the alphabet."""
    texts = [key for key in keys if not pd.api.types.is_numeric_dtype(table[key])]
    return table.assign(
        **{key: pd.Categorical(table[key], categories=table[key].unique(), ordered=True) for key in texts}
    )


def _over_seeds(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the mean over the rows of each key, one row a seed, and its interval."""
    groups = tidy.groupby(keys, sort=True, observed=True)
    result = groups.agg(num_seeds=("loss", "size"), num_sequences=("num_sequences", "sum"))
    t = stats.t.ppf((1 + CONFIDENCE) / 2, df=np.maximum(result["num_seeds"] - 1, 1))
    for metric in METRICS:
        mean = groups[metric].mean()
        half_width = t * groups[metric].sem()
        result[f"{metric}_mean"] = mean
        result[f"{metric}_low"] = mean - half_width
        result[f"{metric}_high"] = mean + half_width
    result = result.reset_index()
    return result.astype({key: str for key in keys if result[key].dtype == "category"})
