"""Run config/smoke.yaml anew and compare every file with the record.

It runs in a scratch folder. The record is tests/verified.json. ``python workflow/scripts/verify.py`` compares;
with ``--update`` it writes the record. ``--folder`` takes the files of an earlier run in place of a new one,
``--record`` another record. The status is 1 if a file is different.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

# With PYTHONSAFEPATH, Python leaves out the folder of a script.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from memorization.installed import require_packages_of_script

require_packages_of_script(
    "workflow/scripts/verify.py --folder FOLDER", ("torch", "numpy", "pandas", "pyarrow"), "training"
)

from memorization.storage.cache import atomic_write
from memorization.storage.provenance import library_versions, machine, machines_of, name_of_machine
from memorization.storage.verification import (
    DIFFERENT,
    IDENTICAL,
    PICTURES,
    TOLERANCE,
    WITHIN_TOLERANCE,
    compare,
    compared_files,
    record,
)

REPOSITORY = Path(__file__).resolve().parents[2]
# The parts of the repository that a run of the workflow reads.
PARTS = ("Snakefile", "rules", "workflow", "config", "profiles", "report", "envs")


def run_workflow(folder: Path, configuration: str | Path) -> None:
    """Run a copy of the workflow in ``folder``.

    The file ``configuration`` is one of the copy, ``config/smoke.yaml`` for example, or anywhere else.
    """
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    snakemake = Path(sys.executable).parent / "snakemake"
    call = [snakemake, "--cores", "all", "--configfile", configuration]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"{done.stderr}\nthe workflow failed in {folder}")


def update(folder: Path, path: Path) -> None:
    """Write the record of the files in ``folder``."""
    files = record(folder)
    made_by = machine() | {"libraries": library_versions()}
    with atomic_write(path) as file:
        file.write(_record_text(made_by, files).encode())
    print(f"{len(files)} files recorded in {path}")


def _record_text(made_by: dict, files: dict[str, list]) -> str:
    """Return the record as JSON with one line per file.

    A diff of it therefore shows which files changed.
    """
    folders: dict[str, list[str]] = {}
    for name, entry in files.items():
        folder, _, file = name.rpartition("/")
        line = f"{json.dumps(file)}:{json.dumps(entry, separators=(',', ':'))}"
        folders.setdefault(json.dumps(folder), []).append(line)
    blocks = [f"{folder}: {{\n" + ",\n".join(lines) + "\n}" for folder, lines in folders.items()]
    return f'{{\n"made_by": {json.dumps(made_by)},\n"files": {{\n' + ",\n".join(blocks) + "\n}}\n"


def differ(folder: Path, path: Path) -> bool:
    """Print which files in ``folder`` are not as recorded.

    Returns whether any is different.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    recorded = {
        f"{parent}/{file}": entry for parent, files in content["files"].items() for file, entry in files.items()
    }
    counts, pictures = Counter(), Counter()
    for name, answer, reason in compare(recorded, folder, content["made_by"]):
        counts[answer] += 1
        pictures[answer] += name.endswith(PICTURES)
        if answer != IDENTICAL:
            print(f"{name}: {answer}{f': {reason}' if reason else ''}")
    print(", ".join(f"{counts[answer]} {answer}" for answer in (IDENTICAL, WITHIN_TOLERANCE, DIFFERENT)))
    if pictures[WITHIN_TOLERANCE]:
        print(
            f"of {pictures.total()} pictures {pictures[IDENTICAL]} have the recorded bytes, "
            f"{pictures[WITHIN_TOLERANCE]} are equal because the tables are that they are drawn from"
        )
    if counts.total() > counts[IDENTICAL]:
        machines = machines_of(map(str, compared_files(folder).values())) or [name_of_machine(machine())]
        print(
            f"recorded on {name_of_machine(content['made_by'])}, compared on {' and '.join(machines)}; "
            "an array of floats is shown as [kind and shape, root mean square, weighted sum], another as kind, "
            f"shape and hash; a float may differ by {TOLERANCE} of itself, these numbers by {TOLERANCE} of the "
            "root mean square"
        )
    return counts[DIFFERENT] > 0


def main() -> None:
    """Run the workflow, unless its files are given; compare them, or write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--record", type=Path, default=REPOSITORY / "tests" / "verified.json")
    options = parser.parse_args()
    if options.folder and not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    with tempfile.TemporaryDirectory(prefix="verify_") as scratch:
        folder = options.folder or Path(scratch)
        if not options.folder:
            run_workflow(folder, "config/smoke.yaml")
        if options.update:
            update(folder, options.record)
        elif differ(folder, options.record):
            sys.exit(1)


if __name__ == "__main__":
    main()
