"""A cut that was measured: what it keeps of the original's cost, and what became of the metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asc_core.plan import BUDGETS, COUNTED, Cost
from asc_core.recipes import STEPS
from asc_core.values import Estimate


@dataclass(frozen=True)
class MeasuredCut:
    """One cut model. kept: its cost as a share of the original's, by budget; latency only where it was predicted.

    repaired: whether the parts that stay were refitted. series: names the curve that it is a point of; None where the
    way it was made is not known, or unique.
    """

    key: str
    name: str
    kept: dict[str, float]
    estimate: Estimate
    repaired: bool = False
    series: str | None = None


def costs_json(cost: Cost) -> dict[str, Any]:
    return {name: value for name in BUDGETS if (value := getattr(cost, name)) is not None}


def shares(cost: Cost, dense: Cost) -> dict[str, float]:
    """What is kept of the original's cost, by budget; of latency where layer times are known."""
    whole = costs_json(dense)
    return {name: value / whole[name] for name, value in costs_json(cost).items() if name in whole}


def changed(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a recipe did more than cut: its model is not what a cut alone leaves."""
    cutting = {kind for kind, step in STEPS.items() if step.structure == "cut"}
    return any(step.get("repair") is not None or step["step"] not in cutting for step in steps)


def kept_of(cost: dict[str, Any], dense: Cost) -> dict[str, float] | None:
    """None where it is another tool's row."""
    try:
        kept = {name: float(cost[name]) / whole for name, whole in costs_json(dense).items() if name in cost}
    except (TypeError, ValueError):
        return None
    return kept if set(COUNTED) <= set(kept) else None
