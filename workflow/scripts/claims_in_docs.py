"""Fill the pages with the numbers of a run, and copy its figures there.

The numbers are those of the claims in README.md and docs/.

``make claims-in-docs`` runs it after ``make figures``. Another folder than ``results`` can be given.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from memorization.storage.cache import atomic_write
from memorization.storage.provenance import machines_of
from memorization.tables.pages import ClaimsInPageError, fill_in_claims

REPOSITORY = Path(__file__).resolve().parents[2]
# The figures of a run that pages show.
PICTURES = {"docs/freeze_contrasts.png": "freeze/contrasts.png"}


def main(table: Path) -> None:
    """Rewrite the pages from the table of claims of a run."""
    if not table.exists():
        sys.exit(f"{table}: no such file; make figures makes it")
    told = pd.read_csv(table, keep_default_na=False)
    processor = " and ".join(machines_of([str(table)])) or "an unknown processor"
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    filled = {}
    for page in pages:
        try:
            filled[page] = fill_in_claims(page.read_text(encoding="utf-8"), told, processor)
        except ClaimsInPageError as error:
            sys.exit(f"{page.relative_to(REPOSITORY)}: {error}")
    for page, text in filled.items():
        with atomic_write(page) as file:
            file.write(text.encode())
    for picture, figure in PICTURES.items():
        shutil.copyfile(table.parent / figure, REPOSITORY / picture)


if __name__ == "__main__":
    main(Path(*(sys.argv[1:] or ["results"])) / "claims.csv")
