"""Run config/smoke.yaml anew in a scratch folder and compare every file with config/verified.json.

``python workflow/scripts/verify.py`` compares; with ``--update`` it writes the record. Ends with status 1 where a
file is different.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from memorization.cache import atomic_write
from memorization.provenance import LIBRARIES, processor
from memorization.verification import ABSOLUTE_TOLERANCE, DIFFERENT, IDENTICAL, RELATIVE_TOLERANCE, compare, record

REPOSITORY = Path(__file__).resolve().parents[2]
RECORD = REPOSITORY / "config" / "verified.json"
# What a run of the workflow reads.
PARTS = ("Snakefile", "rules", "workflow", "config", "profiles", "report", "envs")


def run_smoke(folder: Path) -> dict:
    """Run the smallest configuration in ``folder`` and return the record of its files."""
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    snakemake = Path(sys.executable).parent / "snakemake"
    call = [snakemake, "--cores", "all", "--configfile", "config/smoke.yaml"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{done.stderr}\nthe workflow failed in {folder}")
    return record(folder, ["cache_smoke", "results_smoke"])


def main(update: bool) -> None:
    """Compare, or write the record."""
    from importlib.metadata import version

    with tempfile.TemporaryDirectory(prefix="verify_") as name:
        files = run_smoke(Path(name))
    if update:
        made_by = {"processor": processor(), "libraries": {library: version(library) for library in LIBRARIES}}
        with atomic_write(RECORD) as file:
            text = json.dumps({"made_by": made_by, "files": files}, indent=0, sort_keys=True)
            file.write(text.encode() + b"\n")
        print(f"{len(files)} files recorded in {RECORD.relative_to(REPOSITORY)}")
        return
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    found = list(compare(recorded["files"], files))
    for path, kind, what in found:
        if kind != IDENTICAL:
            print(f"{path}: {kind}{f': {what}' if what else ''}")
    counts = Counter(kind for _, kind, _ in found)
    print(", ".join(f"{number} {kind}" for kind, number in counts.items()))
    if counts[IDENTICAL] < len(found):
        print(
            f"recorded on {recorded['made_by']['processor']}, compared on {processor()}; the mean and the root "
            f"mean square of each array may differ by {RELATIVE_TOLERANCE} of it or by {ABSOLUTE_TOLERANCE}"
        )
    sys.exit(1 if counts[DIFFERENT] else 0)


if __name__ == "__main__":
    main(update=sys.argv[1:] == ["--update"])
