"""Trunks: the training before the first switch.

Runs that differ only after the first switch share a trunk.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .identity import identity
from .settings import Stage, settings_until

if TYPE_CHECKING:
    from .experiments import Run


def trunk_name(settings: dict[str, Any]) -> str:
    """Return the name of the trunk of a run with these resolved settings.

    It is the same for all runs whose training is the same up to the first switch.
    """
    shared = json.dumps(settings_until(Stage.SWITCH, identity(settings)), sort_keys=True)
    return f"{settings['model']}_{hashlib.sha256(shared.encode()).hexdigest()[:12]}_seed_{settings['seed']}"


def trunks_of(runs: Iterable["Run"]) -> dict[str, dict[str, Any]]:
    """Return the trunks of ``runs`` by name.

    Each comes with the resolved settings of one of its runs. A run without a switch has no trunk.
    """
    return {run.trunk: run.settings for run in runs if run.trunk}


def shared_training(runs: Iterable["Run"]) -> str:
    """Return in one line how much training the trunks of ``runs`` save.

    The text is empty if they save none.
    """
    runs = list(runs)
    branches = [run.settings for run in runs if run.settings["num_switches"]]
    trunks = trunks_of(runs).values()
    alone = sum(run.settings["num_iters"] for run in runs)
    saved = sum(settings["num_iters_per_set"] for settings in branches)
    saved -= sum(settings["num_iters_per_set"] for settings in trunks)
    if not saved:
        return ""
    return (
        f"{len(branches)} runs share {len(trunks)} trunks: {alone - saved} iterations of training in place of "
        f"{alone}, {saved / alone:.0%} saved"
    )
