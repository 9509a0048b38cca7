"""The sentence above a figure: a claim that the tables of this run bear out, or what the figure shows."""

from typing import Any


def title_of_figure(job: Any, otherwise: str) -> str:
    """Return the title of the figure that the ``snakemake`` object of a script draws.

    It is ``otherwise``, which says what the figure shows and claims nothing.
    """
    return otherwise
