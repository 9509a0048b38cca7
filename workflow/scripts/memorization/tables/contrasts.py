"""Conditions against a reference: the differences between the runs of one seed.

Runs of one seed have the same sequences, batches and initial weights, so they are compared in pairs.
"""

import json
import math

import numpy as np
import pandas as pd

from .student import CONFIDENCE, two_sided_quantile

# Smaller differences of an accuracy, or of a fraction of the ideal one, count as none.
EQUIVALENCE_MARGIN = 0.02
# The loss has no such margin: how much of it matters depends on how well a set is known.
WITHOUT_MARGIN = ("loss", "weighted_loss")
POWER = 0.8
# Beyond this number of seeds an effect counts as one that no number of seeds would show.
MOST_SEEDS = 10_000


def paired_differences(
    tidy: pd.DataFrame, keys: list[str], conditions: list[dict], references: dict[str, dict]
) -> pd.DataFrame:
    """Return each condition's mean difference from its reference, with its tests.

    ``tidy`` has a ``value`` for each ``seed`` at each of the ``keys``, of which the first is the number of the
    condition among ``conditions``. ``references`` has the condition that those of a model are compared with.
    A seed counts if both conditions have it and neither value is NaN. The result has a row for each of the keys of
    every other condition; ``reference`` is the condition that it is compared with, as JSON.
    """
    reference_of = [conditions.index(references[condition["model"]]) for condition in conditions]
    pairs = tidy.assign(reference=tidy["condition"].map(dict(enumerate(reference_of))))
    pairs = pairs[pairs["condition"] != pairs["reference"]]
    of_reference = tidy.rename(columns={"condition": "reference", "value": "of_reference"})
    pairs = pairs.merge(of_reference, on=["reference", "seed", *keys[1:]])
    differences = pairs["value"] - pairs["of_reference"]
    rows = [
        dict(zip(keys, key, strict=True)) | difference_over_seeds(of_key.dropna().to_numpy(), _margin(key[-1]))
        for key, of_key in differences.groupby([pairs[key] for key in keys], observed=True)
    ]
    columns = [*keys, *difference_over_seeds(np.empty(0), math.nan)]
    table = pd.DataFrame(rows, columns=columns).astype({key: str for key in keys[1:] if key != "sequence_set"})
    family = table.groupby(["sequence_set", "metric"])["p_value"]
    table.insert(columns.index("p_value") + 1, "p_holm", family.transform(holm))
    texts = [json.dumps(conditions[number]) for number in reference_of]
    return table.assign(reference=[texts[number] for number in table["condition"]])


def difference_over_seeds(differences: np.ndarray, margin: float) -> dict[str, float]:
    """Return the mean of paired differences (seeds,), its interval and its tests.

    ``p_value`` is that of Student's two-sided test of no difference. ``p_equivalent`` is that of two one-sided
    tests: it is small if the difference lies within ± ``margin``. All but the mean is NaN for one seed. If all
    seeds have the same difference, its interval is a point.
    """
    n = len(differences)
    mean = float(differences.mean()) if n else math.nan
    deviation = float(differences.std(ddof=1)) if n > 1 else math.nan
    error = deviation / math.sqrt(n) if n else math.nan
    half_width = two_sided_quantile(CONFIDENCE, max(n - 1, 1)) * error
    above, below = _probability_above(mean + margin, error, n), _probability_above(margin - mean, error, n)
    return {
        "num_seeds": n,
        "difference_mean": mean,
        "difference_low": mean - half_width,
        "difference_high": mean + half_width,
        "p_value": 2 * _probability_above(abs(mean), error, n),
        "p_equivalent": math.nan if math.isnan(above) else max(above, below),
        "seeds_for_80_percent": seeds_for_power(mean, deviation),
    }


def _margin(metric: str) -> float:
    return math.nan if metric in WITHOUT_MARGIN else EQUIVALENCE_MARGIN


def _probability_above(mean: float, error: float, n: int) -> float:
    """Return the probability that T > mean / error.

    T has Student's t distribution with n − 1 degrees of freedom. NaN if either is. For an ``error`` of 0 it is 0
    if the mean is above 0, 1 if it is below, and 1/2 if it is 0.
    """
    # Other tables do without it.
    from scipy.special import stdtr

    if math.isnan(mean + error):
        return math.nan
    if error == 0:
        return 0.5 if mean == 0 else float(mean < 0)
    return float(stdtr(n - 1, -mean / error))


def holm(p_values: pd.Series) -> pd.Series:
    """Return the p values of a family of tests, corrected by Holm's procedure.

    A NaN is no test of the family and stays.
    """
    ascending = p_values.dropna().sort_values()
    steps = ascending * np.arange(len(ascending), 0, -1)
    return steps.cummax().clip(upper=1.0).reindex(p_values.index)


def seeds_for_power(mean: float, deviation: float) -> float:
    """Return the number of seeds with which the effect would be found with 80 % power.

    The effect is a ``mean`` difference with this standard ``deviation`` over seeds, the test Student's two-sided
    one of paired differences at 5 %. Infinite if there is no effect, or if it takes more than `MOST_SEEDS`.
    """
    from scipy.special import ndtri

    if math.isnan(deviation):
        return math.nan
    if deviation == 0:
        return 2.0 if mean else math.inf
    effect = abs(mean) / deviation
    # The normal distribution's number is a lower bound, by a few seeds.
    least = (ndtri((1 + CONFIDENCE) / 2) + ndtri(POWER)) / max(effect, 1e-9)
    if least**2 > MOST_SEEDS:
        return math.inf
    n = max(2, int(least**2))
    while _power(n, effect) < POWER:
        n += 1
    return float(n)


def _power(n: int, effect: float) -> float:
    """Return the power of Student's two-sided test at 5 % with n pairs.

    The ``effect`` > 0 is the mean difference over the standard deviation.
    """
    from scipy.special import nctdtr

    shift = effect * math.sqrt(n)
    # More than 98 % even of two pairs lie above the quantile, and SciPy has no value for a much larger shift.
    if shift > 30:
        return 1.0
    # The other tail, below the negative quantile, is less than 0.1 % whenever the power is near 80 %.
    return float(1 - nctdtr(n - 1, shift, two_sided_quantile(CONFIDENCE, n - 1)))
