"""How keys, values and choices of a configuration are worded in messages."""

import difflib
import json
import math
import re
from collections.abc import Iterable
from typing import Any

MAX_LENGTH = 60


def shown(value: Any) -> str:
    """Return ``value`` as the configuration file has it, on one line and not too long."""
    if isinstance(value, float) and not math.isfinite(value):
        text = str(value)
    else:
        text = json.dumps(value, default=str, ensure_ascii=True)
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 3] + "…"


def shown_key(key: Any) -> str:
    """Return a key as it is if it is a plain word, and quoted like a value if not."""
    plain = isinstance(key, str) and re.fullmatch(r"[\w.-]+", key, re.ASCII) and len(key) <= MAX_LENGTH
    return key if plain else shown(key)


def nearest(key: Any, known: Iterable[str]) -> str:
    """Return the one of ``known`` that is most like ``key`` in small letters."""
    by_small_letters = {name.lower(): name for name in known}
    (found,) = difflib.get_close_matches(str(key).lower(), by_small_letters, n=1, cutoff=0)
    return by_small_letters[found]


def did_you_mean(key: Any, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown key."""
    return f"; did you mean {nearest(key, known)}?"


def one_of(values: Iterable[str]) -> str:
    """Return the choices in words."""
    return "one of " + ", ".join(values)
