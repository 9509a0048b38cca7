"""How long it takes until something happens, if it does not happen in every run."""

import math
import warnings

import numpy as np
import pandas as pd

from .registry import TABLES
from .student import CONFIDENCE


def median_times(tidy: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the Kaplan–Meier median over seeds of the ``iterations`` that it takes.

    ``tidy`` has a row for each seed at each of the ``keys``. A seed whose ``iterations`` are NaN has not got there
    in its ``trained_iterations``: it is censored there. ``reached`` is the share of the seeds that got there.
    """
    rows = []
    for key, seeds in tidy.groupby(keys, observed=True):
        reached = seeds["iterations"].notna().to_numpy()
        times = seeds["iterations"].fillna(seeds["trained_iterations"]).to_numpy(dtype=float)
        median, low, high = median_with_interval(times, reached)
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "num_seeds": len(seeds),
                "median_iterations": median,
                "median_low": low,
                "median_high": high,
                "reached": reached.mean(),
                "trained_iterations": seeds["trained_iterations"].max(),
                "ideal_accuracy": seeds["ideal_accuracy"].mean(),
            }
        )
    return pd.DataFrame(rows, columns=[*keys, "num_seeds", *TABLES["iterations_to_accuracy"].statistics])


def median_with_interval(times: np.ndarray, reached: np.ndarray) -> tuple[float, float, float]:
    """Return the Kaplan–Meier median of ``times`` (seeds,) and its 95 % interval.

    A time counts as censored if it is not ``reached``. The bounds are the times at which those of the 95 % band of
    the share that has not got there (Greenwood's variance of log(−log)) come down to a half. NaN stands for a time
    that is not reached: the median if fewer than half get there, the upper bound of an interval without an end.
    """
    # Other tables do without it.
    from scipy.stats import CensoredData, ecdf

    remaining = ecdf(CensoredData.right_censored(times, ~reached)).sf
    with warnings.catch_warnings():
        # The band is undefined, NaN, where none or all remain.
        warnings.simplefilter("ignore", RuntimeWarning)
        band = remaining.confidence_interval(CONFIDENCE, method="log-log")
    shares = remaining.probabilities, band.low.probabilities, band.high.probabilities
    return tuple(_first_at_half(remaining.quantiles, share) for share in shares)


def _first_at_half(times: np.ndarray, share: np.ndarray) -> float:
    """Return the first of the ``times`` at which a share is down to a half, or NaN."""
    down = np.flatnonzero(share <= 0.5 + 1e-9)
    return float(times[down[0]]) if len(down) else math.nan
