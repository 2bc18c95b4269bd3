"""What the engine is doing, from the sentence that it reports: the one place that reads those sentences."""

from __future__ import annotations

from typing import Literal

Phase = Literal["calibrating", "repairing", "removing heads", "removing layers", "other"]
_SIGNS: dict[str, Phase] = {
    "calibrating": "calibrating",
    "refitting": "repairing",
    "removing heads": "removing heads",
    "removing layers": "removing layers",
}


def phase_of(what: str) -> Phase:
    """what: as `Progress` reports it, with or without what else is said there, such as the task."""
    return next((phase for sign, phase in _SIGNS.items() if sign in what), "other")


def shown(what: str) -> str:
    """For a progress bar whose title says already what is scored."""
    return what.removeprefix("scoring ")


def without_task(what: str) -> str:
    """ "removing heads on nli" -> "removing heads"; ablation names the task alone."""
    return what.partition(" on ")[0] if " on " in what else "switching parts off"
