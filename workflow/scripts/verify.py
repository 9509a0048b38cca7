"""Run config/smoke.yaml anew in a scratch folder and compare every file with config/verified.json.

``python workflow/scripts/verify.py`` compares; with ``--update`` it writes the record. ``--folder`` takes the
files of a run that is there in place of a new one, ``--record`` another record. Ends with status 1 where a file
is different.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from memorization.storage.cache import atomic_write
from memorization.storage.provenance import library_versions, processor
from memorization.storage.verification import DIFFERENT, IDENTICAL, TOLERANCE, WITHIN_TOLERANCE, compare, record

REPOSITORY = Path(__file__).resolve().parents[2]
# What a run of the workflow reads.
PARTS = ("Snakefile", "rules", "workflow", "config", "profiles", "report", "envs")


def run_smoke(folder: Path) -> None:
    """Run the smallest configuration in ``folder``."""
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    snakemake = Path(sys.executable).parent / "snakemake"
    call = [snakemake, "--cores", "all", "--configfile", "config/smoke.yaml"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{done.stderr}\nthe workflow failed in {folder}")


def update(folder: Path, path: Path) -> None:
    """Write the record of the files in ``folder``."""
    files = record(folder)
    made_by = {"processor": processor(), "libraries": library_versions()}
    text = json.dumps({"made_by": made_by, "files": files}, indent=0, sort_keys=True)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")
    print(f"{len(files)} files recorded in {path}")


def differ(folder: Path, path: Path) -> bool:
    """Print what is not as recorded of the files in ``folder``; return whether any is different."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    counts = Counter()
    for name, kind, what in compare(recorded["files"], folder):
        counts[kind] += 1
        if kind != IDENTICAL:
            print(f"{name}: {kind}{f': {what}' if what else ''}")
    print(", ".join(f"{counts[kind]} {kind}" for kind in (IDENTICAL, WITHIN_TOLERANCE, DIFFERENT)))
    if counts.total() > counts[IDENTICAL]:
        print(
            f"recorded on {recorded['made_by']['processor']}, compared on {processor()}; a float may differ by "
            f"{TOLERANCE} of itself and of the root mean square of its array, all else must be equal"
        )
    return counts[DIFFERENT] > 0


def main() -> None:
    """Run the workflow, unless its files are there; compare, or write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--record", type=Path, default=REPOSITORY / "config" / "verified.json")
    options = parser.parse_args()
    if options.folder and not options.folder.is_dir():
        parser.error(f"{options.folder} is no folder")
    with tempfile.TemporaryDirectory(prefix="verify_") as scratch:
        folder = options.folder or Path(scratch)
        if not options.folder:
            run_smoke(folder)
        if options.update:
            update(folder, options.record)
        elif differ(folder, options.record):
            sys.exit(1)


if __name__ == "__main__":
    main()
