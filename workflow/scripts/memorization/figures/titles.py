"""The sentence above a figure: a claim that holds, or what the figure shows."""

from typing import Any

from ..storage.cache import read_table


def title_of_figure(job: Any, otherwise: str) -> str:
    """Return the title of the figure that the ``snakemake`` object of a script draws.

    It is the title that claims give to the figure, if all of them hold in this run. If not, or if there are none,
    it is ``otherwise``, which says what the figure shows and claims nothing.
    """
    given = getattr(job.params, "title", None)
    if not given:
        return otherwise
    checked = read_table(job.input.claims, columns=["id", "holds"])
    return given["title"] if checked.loc[checked["id"].isin(given["claims"]), "holds"].all() else otherwise
