"""The versions of the libraries that a rule depends on.

Each rule has those that its results can depend on as a parameter. With other versions Snakemake runs it again.
With another environment of the same versions, of conda or not, it does not.
"""

from functools import cache

import yaml

from .commit import REPOSITORY


def pins_of(environment: str, *libraries: str) -> str:
    """Return the pins of ``libraries`` in a file of ``envs/``, in one line.

    Raises `KeyError` if the file lacks one of them.
    """
    pins = _pins(environment)
    return " ".join(f"{library}=={pins[library]}" for library in sorted(libraries))


@cache
def _pins(environment: str) -> dict[str, str]:
    content = yaml.safe_load((REPOSITORY / "envs" / f"{environment}.yaml").read_text(encoding="utf-8"))
    (by_pip,) = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    return dict(pin.split("==") for pin in by_pip)
