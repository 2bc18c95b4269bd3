"""A recipe that was measured: what its model keeps of the original's cost, and what became of the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asc_core.compress.cut import Cut
from asc_core.plan import BUDGETS, COUNTED, Cost
from asc_core.recipes import STEPS
from asc_core.values import Estimate

Way = Literal["cut", "repaired", "further"]
WAYS: dict[Way, str] = {"cut": "as cut", "repaired": "repaired", "further": "with further steps"}


@dataclass(frozen=True)
class MeasuredCut:
    """One model. kept: its cost as a share of the original's, by budget; latency only where it was predicted.

    way: what was done to it. series: names the curve that it is a point of; None where the way it was made is not
    known, or unique.
    """

    key: str
    name: str
    kept: dict[str, float]
    estimate: Estimate
    way: Way = "cut"
    series: str | None = None


def costs_json(cost: Cost) -> dict[str, Any]:
    return {name: value for name in BUDGETS if (value := getattr(cost, name)) is not None}


def shares(cost: Cost, dense: Cost) -> dict[str, float]:
    """What is kept of the original's cost, by budget; of latency where layer times are known."""
    whole = costs_json(dense)
    return {name: value / whole[name] for name, value in costs_json(cost).items() if name in whole}


def way_of(steps: Sequence[Mapping[str, Any]] | None) -> Way:
    """What a recipe did, by its summary: only cut, cut and repair, or more than that.

    None: the summary is not known, which is so of ready-made recipes of early studies and of no plan's cut.
    """
    if steps is None:
        return "further"
    cutting = {kind for kind, step in STEPS.items() if step.structure == Cut.structure}
    if any(step["step"] not in cutting for step in steps):
        return "further"
    return "repaired" if any(step.get("repair") is not None for step in steps) else "cut"


def kept_of(cost: dict[str, Any], dense: Cost) -> dict[str, float] | None:
    """None where it is another tool's row."""
    try:
        kept = {name: float(cost[name]) / whole for name, whole in costs_json(dense).items() if name in cost}
    except (TypeError, ValueError):
        return None
    return kept if set(COUNTED) <= set(kept) else None
