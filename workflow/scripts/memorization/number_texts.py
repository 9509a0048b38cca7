"""Numbers as texts that tell them apart."""

from collections.abc import Iterable
from itertools import pairwise

# The significant digits that every float can be told by from every other.
MOST_DIGITS = 17


def exact_text(number: float) -> str:
    """Return the shortest text that is read back as the same float.

    A whole number that is not too long has no decimal point.
    """
    return repr(float(number)).removesuffix(".0")


def distinct_texts(numbers: Iterable[float], least_digits: int = 6) -> dict[float, str]:
    """Return a text for each of several finite numbers, in their order.

    All have the same number of significant digits: the least with which the texts, read as numbers, are in this
    order too. A whole number has all its digits.
    """
    values = sorted(set(map(float, numbers)))
    for digits in range(least_digits, MOST_DIGITS + 1):
        texts = [_text(value, digits) for value in values]
        read = list(map(float, texts))
        if all(before < after for before, after in pairwise(read)):
            break
    return dict(zip(values, texts, strict=True))


def _text(value: float, digits: int) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.{digits}g}"
