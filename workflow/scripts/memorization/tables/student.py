"""Student's t distribution, for the intervals over a few seeds.

SciPy has it too, but takes a quarter of the time of a small table to import.
"""

import math
from functools import cache

# The share of intervals that hold the true mean.
CONFIDENCE = 0.95


@cache
def two_sided_quantile(confidence: float, degrees: int) -> float:
    """Return t with P(−t ≤ T ≤ t) = ``confidence``.

    T has Student's t distribution with ``degrees`` ≥ 1 degrees of freedom. With T = √degrees · tan θ, the
    probability is a finite sum that grows with θ; θ is found by bisection.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        if _probability_within(middle, degrees) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(degrees) * math.tan(low)


def _probability_within(angle: float, degrees: int) -> float:
    """Return P(|T| ≤ √degrees · tan ``angle``).

    These are the equations 26.7.3 and 26.7.4 of Abramowitz and Stegun.
    """
    cosine = math.cos(angle)
    term = cosine if degrees % 2 else 1.0
    total = 0.0
    for power in range(degrees % 2, degrees - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if degrees % 2 else total
