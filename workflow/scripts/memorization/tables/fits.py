"""Laws of forgetting, fitted by least squares, and the half-life of a curve.

The laws are compared by how well they predict a seed that they were not fitted to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import numpy as np

from .registry import FORMS_OF_FORGETTING

LARGEST_EXPONENT = 20.0


def exponential(t: np.ndarray, amplitude: float, tau: float) -> np.ndarray:
    """Return the recall after t iterations by the law amplitude · exp(−t / tau)."""
    return amplitude * np.exp(-t / tau)


def power_law(t: np.ndarray, amplitude: float, tau: float, beta: float) -> np.ndarray:
    """Return the recall after t iterations by the law amplitude · (1 + t / tau)^−beta."""
    return amplitude * (1 + t / tau) ** -beta


def stretched_exponential(t: np.ndarray, amplitude: float, tau: float, beta: float) -> np.ndarray:
    """Return the recall after t iterations by the stretched exponential.

    It is amplitude · exp(−(t / tau)^beta).
    """
    return amplitude * np.exp(-((t / tau) ** beta))


def exponential_with_floor(t: np.ndarray, amplitude: float, tau: float, floor: float) -> np.ndarray:
    """Return the recall after t iterations, floor + amplitude · exp(−t / tau)."""
    return floor + exponential(t, amplitude, tau)


def stretched_exponential_with_floor(
    t: np.ndarray, amplitude: float, tau: float, beta: float, floor: float
) -> np.ndarray:
    """Return the recall after t iterations by a stretched exponential and a floor.

    It is floor + amplitude · exp(−(t / tau)^beta).
    """
    return floor + stretched_exponential(t, amplitude, tau, beta)


FORMS: dict[str, Callable[..., np.ndarray]] = {name: globals()[name] for name in FORMS_OF_FORGETTING}


@dataclass(frozen=True)
class Fit:
    """One form fitted to one curve."""

    parameters: dict[str, float]
    fitted: np.ndarray
    """The recall of the fitted form at the times of the curve."""


def fit_forgetting(t: np.ndarray, recall: np.ndarray) -> dict[str, Fit]:
    """Fit each of `FORMS` to ``recall`` (n,) at the times ``t`` (n,).

    The times are ≥ 0, in iterations. The result is empty if there are too few points to fit every form.
    """
    parameters_of = {name: tuple(signature(form).parameters)[1:] for name, form in FORMS.items()}
    if len(t) < 2 + max(map(len, parameters_of.values())):
        return {}
    # A time scale of more than ten times the curve cannot be told from a longer one.
    bounds = {
        "amplitude": (0.0, 2.0),
        "tau": (1e-6, 10 * float(t[-1])),
        "beta": (1e-3, LARGEST_EXPONENT),
        "floor": (0.0, 1.0),
    }
    fits = {}
    for name, form in FORMS.items():
        start = _start(t, recall, with_floor="floor" in parameters_of[name])
        fits[name] = _fit(form, {key: (start[key], bounds[key]) for key in parameters_of[name]}, t, recall)
    return fits


def left_out_errors(t: np.ndarray, recalls: np.ndarray) -> dict[str, np.ndarray]:
    """Return how far each form is from a seed that it was not fitted to, (seeds,).

    ``recalls`` (seeds, n) are the curves of the seeds at the times ``t`` (n,). For each seed the form is fitted to
    the mean curve of the others, and the error is the root mean square of the difference in recall. NaN if there
    is one seed, or if `fit_forgetting` has too few points.
    """
    errors = {name: np.full(len(recalls), np.nan) for name in FORMS}
    for seed in range(len(recalls)) if len(recalls) > 1 else ():
        of_others = np.delete(recalls, seed, axis=0).mean(axis=0)
        for name, fit in fit_forgetting(t, of_others).items():
            errors[name][seed] = np.sqrt(((recalls[seed] - fit.fitted) ** 2).mean())
    return errors


def errors_of_other_seeds(recalls: np.ndarray) -> np.ndarray:
    """Return how far the mean curve of the other seeds is from each seed, (seeds,).

    ``recalls`` (seeds, n) are the curves of the seeds. The error is that of `left_out_errors`, for a law that fits
    the other seeds perfectly. NaN if there is one seed.
    """
    if len(recalls) < 2:
        return np.full(len(recalls), np.nan)
    of_others = (recalls.sum(axis=0) - recalls) / (len(recalls) - 1)
    return np.sqrt(((recalls - of_others) ** 2).mean(axis=1))


def half_life_of_curve(t: np.ndarray, recall: np.ndarray) -> float:
    """Return when ``recall`` (n,) first falls below half of what it begins with.

    The time is interpolated linearly between the times ``t`` (n,). NaN if the curve never falls so far, or does
    not begin above 0.
    """
    half = recall[0] / 2
    below = np.flatnonzero(recall < half)
    if half <= 0 or not len(below):
        return np.nan
    before, after = below[0] - 1, below[0]
    fallen = (recall[before] - half) / (recall[before] - recall[after])
    return float(t[before] + fallen * (t[after] - t[before]))


def _start(t: np.ndarray, recall: np.ndarray, with_floor: bool) -> dict[str, float]:
    """Return where the fit of a law to ``recall`` (n,) at the times ``t`` (n,) starts."""
    floor = float(np.clip(recall[-1], 0.01, 0.99)) if with_floor else 0.0
    amplitude = float(np.clip(recall[0] - floor, 0.01, 1.9))
    # The time scale is about where half of the amplitude is gone.
    below = t[recall < floor + (recall[0] - floor) / 2]
    tau = max(float(below[0]) if len(below) else float(t[-1]), 1e-3)
    return {"amplitude": amplitude, "tau": tau, "beta": 1.0, "floor": floor}


def _fit(
    form: Callable[..., np.ndarray],
    parameters: dict[str, tuple[float, tuple[float, float]]],
    t: np.ndarray,
    recall: np.ndarray,
) -> Fit:
    """Fit one form to the data.

    The fit uses the starting value and the bounds of each of the form's parameters.
    """
    # Other tables do without it.
    from scipy.optimize import least_squares

    start = [value for value, _ in parameters.values()]
    # A curve of noise may leave nothing to converge to: then the best that was met counts.
    values = least_squares(
        lambda values: form(t, *values) - recall,
        x0=start,
        bounds=tuple(zip(*(bounds for _, bounds in parameters.values()), strict=True)),
        x_scale=[max(value, 1e-3) for value in start],
        max_nfev=500,
    ).x
    return Fit(dict(zip(parameters, map(float, values), strict=True)), form(t, *values))
