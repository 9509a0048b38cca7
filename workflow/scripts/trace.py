"""Print where a result comes from.

An example is ``python workflow/scripts/trace.py results/freeze/by_epoch.png``. A file is printed below the file
that was made from it, with its rule and its code, and whether it has changed since.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

# With PYTHONSAFEPATH, Python leaves out the folder of a script.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from memorization.installed import require_packages_of_script

require_packages_of_script("workflow/scripts/trace.py FILE", ("numpy",), "tables")

from memorization.storage.commit import REPOSITORY
from memorization.storage.provenance import DamagedProvenanceError, name_of_machine, read_provenance, sha256


def trace(path: Path, used: str | None, depth: int, seen: set[Path]) -> None:
    """Print a file and the files that it was made from.

    ``used`` is the hash that the file had when it was used. The files below one in ``seen`` are not repeated.
    """
    indent = "  " * depth
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        now = sha256(path)
        state = "" if used in (None, now) else "; CHANGED since it was used"
        # By this name, because the message says how to make the file again.
        record = read_provenance(shown)
    except FileNotFoundError:
        what = f"has no provenance{state}" if path.exists() else "no longer exists"
        print(f"{indent}{shown}: {what}")
        return
    except DamagedProvenanceError as error:
        print(f"{indent}{shown}: {error}{state}")
        return
    # The second one for a name that no file can have.
    except (OSError, ValueError) as error:
        print(f"{indent}{shown}: cannot be read: {getattr(error, 'strerror', error)}")
        return
    if record["sha256"] != now:
        state += "; CHANGED since it was made"
    again = " (see above)" if path in seen else ""
    print(f"{indent}{shown}: {record['rule']}, {told_code(record['code'])}{state}{again}")
    if path in seen:
        return
    seen.add(path)
    print_settings(record, indent)
    for source, source_hash in record["inputs"].items():
        trace(place_of(source, path), source_hash, depth + 1, seen)


def told_code(code: dict[str, Any]) -> str:
    """Return the commit of the code in words, and what was different from it."""
    different = {"dirty": " and changes", "edited": ", edited while the workflow ran"}
    return f"code {str(code.get('commit'))[:12]}{''.join(v for k, v in different.items() if code.get(k))}"


def print_settings(record: dict[str, Any], indent: str) -> None:
    """Print the settings of a training, and the machine that it ran on."""
    settings = record["params"].get("settings")
    if record["rule"] in ("train", "train_trunk") and isinstance(settings, dict):
        print(f"{indent}  settings: {', '.join(f'{key}={value}' for key, value in settings.items())}")
        instructions, threads = record.get("instructions_of_torch"), record.get("threads_of_torch")
        told = f" with {instructions}, {threads} threads" if instructions else ""
        print(f"{indent}  machine: {name_of_machine(record)}{told}, Python {record.get('python', 'unknown')}")


def place_of(source: str, made: Path) -> Path:
    """Return where an input of the file ``made`` lies.

    Its path is relative to the folder that the workflow ran in. That is as a rule one of those that ``made`` lies
    in, or else this one or that of the repository.
    """
    folders = [*made.parents, Path.cwd(), REPOSITORY]
    places = (folder / source for folder in folders)
    # Unlike the method of a path, it answers for a name that no file can have.
    return next(filter(os.path.exists, places), Path(source).absolute())


def main() -> None:
    """Trace the one file that is given."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("give one file: python workflow/scripts/trace.py results/freeze/by_epoch.png")
    path = Path(os.path.abspath(sys.argv[1]))
    if os.path.isdir(path):
        sys.exit(f"{sys.argv[1]} is a folder; give one file in it, such as {sys.argv[1]}/by_epoch.png")
    if not os.path.isfile(path):
        sys.exit(f"there is no file {sys.argv[1]} in {Path.cwd()}")
    # For example `| head` ends before everything is printed.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Names may have characters that the terminal lacks.
    sys.stdout.reconfigure(errors="backslashreplace")
    trace(path, None, 0, set())


if __name__ == "__main__":
    main()
