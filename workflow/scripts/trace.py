"""Print where a result comes from.

An example is ``python workflow/scripts/trace.py results/freeze/by_epoch.png``. A file is printed below the file
that was made from it, with its rule and its code, and whether it has changed since.
"""

import json
import sys
from pathlib import Path

from memorization.installed import require_packages_of_script

require_packages_of_script("workflow/scripts/trace.py FILE", ("numpy",), "tables")

from memorization.storage.provenance import SUFFIX, sha256


def trace(path: Path, used: str | None, depth: int, seen: set[Path]) -> None:
    """Print a file and the files that it was made from.

    ``used`` is the hash that the file had when it was used. The files below one in ``seen`` are not repeated.
    """
    indent = "  " * depth
    if not path.exists():
        print(f"{indent}{path}: no longer exists")
        return
    now = sha256(path)
    state = "" if used in (None, now) else "; CHANGED since it was used"
    sidecar = Path(f"{path}{SUFFIX}")
    if not sidecar.exists():
        print(f"{indent}{path}: has no provenance{state}")
        return
    record = json.loads(sidecar.read_text(encoding="utf-8"))
    if record["sha256"] != now:
        state += "; CHANGED since it was made"
    code = record["code"]
    version = f"{code['commit'][:12]}{' and changes' if code['dirty'] else ''}"
    again = " (see above)" if path in seen else ""
    print(f"{indent}{path}: {record['rule']}, code {version}{state}{again}")
    if path in seen:
        return
    seen.add(path)
    if record["rule"] in ("train", "train_trunk"):
        settings = record["params"]["settings"]
        print(f"{indent}  settings: {', '.join(f'{key}={value}' for key, value in settings.items())}")
    for source, source_hash in record["inputs"].items():
        trace(Path(source), source_hash, depth + 1, seen)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give one file: python workflow/scripts/trace.py results/freeze/by_epoch.png")
    if not Path(sys.argv[1]).exists():
        sys.exit(f"there is no file {sys.argv[1]}; paths are relative to the folder of the repository")
    trace(Path(sys.argv[1]), None, 0, set())
