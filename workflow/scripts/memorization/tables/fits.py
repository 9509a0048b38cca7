"""Laws of forgetting, fitted by least squares and compared by Akaike's information criterion."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Form:
    """A law: recall after t iterations from its amplitude, its time scale and its exponent."""

    recall: Callable[..., np.ndarray]
    parameters: tuple[str, ...]


FORMS = {
    "exponential": Form(lambda t, a, tau: a * np.exp(-t / tau), ("amplitude", "tau")),
    "power_law": Form(lambda t, a, tau, beta: a * (1 + t / tau) ** -beta, ("amplitude", "tau", "beta")),
    "stretched_exponential": Form(
        lambda t, a, tau, beta: a * np.exp(-((t / tau) ** beta)), ("amplitude", "tau", "beta")
    ),
}
LARGEST_EXPONENT = 20.0


@dataclass(frozen=True)
class Fit:
    """One form fitted to one curve."""

    parameters: dict[str, float]
    fitted: np.ndarray
    """The recall of the fitted form at the times of the curve."""
    aic: float


def fit_forgetting(t: np.ndarray, recall: np.ndarray) -> dict[str, Fit]:
    """Fit each of `FORMS` to ``recall`` (n,) at the times ``t`` (n,) ≥ 0, in iterations.

    AIC = n log(RSS / n) + 2 (k + 1), for k parameters and the variance of the residuals. Empty where
    there are too few points to fit every form.
    """
    # The other tables of a group do without it.
    from scipy.optimize import least_squares

    if len(t) < 2 + max(len(form.parameters) for form in FORMS.values()):
        return {}
    # Below half of what it begins with is where a time scale is to be looked for.
    below = t[recall < recall[0] / 2]
    tau = max(float(below[0]) if len(below) else float(t[-1]), 1e-3)
    start = {"amplitude": float(np.clip(recall[0], 0.01, 1.9)), "tau": tau, "beta": 1.0}
    # A longer time than ten times the curve cannot be told from it.
    bounds = {"amplitude": (0.0, 2.0), "tau": (1e-6, 10 * float(t[-1])), "beta": (1e-3, LARGEST_EXPONENT)}
    fits = {}
    for name, form in FORMS.items():
        low, high = zip(*(bounds[parameter] for parameter in form.parameters), strict=True)
        # The best that was found, also where a curve of noise leaves nothing to converge to.
        values = least_squares(
            lambda values, form=form: form.recall(t, *values) - recall,
            x0=[start[parameter] for parameter in form.parameters],
            bounds=(low, high),
            x_scale=[max(start[parameter], 1e-3) for parameter in form.parameters],
            max_nfev=500,
        ).x
        fitted = form.recall(t, *values)
        residual = max(float(((recall - fitted) ** 2).sum()), np.finfo(float).tiny)
        aic = len(t) * np.log(residual / len(t)) + 2 * (len(values) + 1)
        fits[name] = Fit(dict(zip(form.parameters, map(float, values), strict=True)), fitted, float(aic))
    return fits
