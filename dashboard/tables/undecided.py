"""Which parts are too close to the cut to be sure: their interval crosses it.

The cut is Tune's where it has one for these scores, otherwise the score below which a share of each kind lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from asc_core.parts import BLOCKS, BLOCKS_OF
from asc_core.plan import Part, threshold_of
from asc_core.plan import undecided as undecided_parts
from asc_core.plan.parts import Masks, flat_scores, kinds_of, rows_of
from asc_core.values import PartValues, Plan, Scores, Shape
from dashboard.state.session import Session


@dataclass(frozen=True)
class PartStates:
    """What becomes of each part. plan: Tune's, None where there is none.

    removed: kind -> (parts,) bool, for kinds that have a cut. undecided: kind -> (parts,) bool, for kinds that have
    intervals, too.
    """

    plan: Plan | None
    removed: Mapping[str, np.ndarray]
    undecided: Mapping[str, np.ndarray]

    def cells(self, shape: Shape) -> set[Part]:
        """The undecided parts that the map has a cell for."""
        found = {Part(kind, int(row)) for kind in ("ffn",) for row in np.flatnonzero(self.undecided.get(kind, ()))}
        for layer in np.flatnonzero(self.undecided.get("layers", ())):
            found.add(Part("layers", shape.rows[layer]))
        if "heads" in self.undecided:
            rows = rows_of(shape, "heads")
            for place in np.flatnonzero(self.undecided["heads"]):
                row = int(rows[place])
                found.add(Part("heads", row, int(place - np.searchsorted(rows, row))))
        return found


def cut_in_view(session: Session, application: str, scores: Scores, share: float) -> PartStates:
    """share: of the parts of each kind that would go, where Tune has no cut of these scores."""
    settings = session.settings
    if (
        settings is not None
        and (settings.application, settings.method) == (application, scores.method)
        and session.plan_key
    ):
        plan = session.study.plan(session.plan_key)
        if plan is not None and plan.shape == scores.shape:
            return at_plan(scores, plan, each_layer=settings.rule == "share" and not settings.everywhere)
    return at_share(scores, share)


def at_share(scores: Scores, share: float) -> PartStates:
    """As if the lowest `share` of each kind were to go."""
    limits, removed = {}, {}
    for kind in kinds_of(scores):
        flat = flat_scores(scores, kind)
        lowest = min(math.floor(share * len(flat) + 1e-9), len(flat) - 1)
        if lowest > 0 and np.isfinite(flat).all():
            limits[kind] = float(np.sort(flat)[lowest])
            removed[kind] = flat < limits[kind]
    return PartStates(None, removed, _flat(undecided_parts(scores, limits)))


def at_plan(scores: Scores, plan: Plan, each_layer: bool = False) -> PartStates:
    """each_layer: whether the plan's rule compares heads with those of their own layer only."""
    removed = {kind: lowest for kind in kinds_of(scores) if (lowest := _removed(plan, kind)).any()}
    limits = {kind: cut for kind in removed if (cut := threshold_of(scores, plan, kind)) is not None}
    found = _flat(undecided_parts(scores, plan if each_layer else limits))
    running = {plan.shape.rows[layer] for layer in plan.layers}
    for kind in BLOCKS:
        if kind in found:
            found[kind] = found[kind] & np.isin(rows_of(plan.shape, kind), list(running))
    return PartStates(plan, removed, {kind: flags for kind, flags in found.items() if kind in removed})


def _removed(plan: Plan, kind: str) -> np.ndarray:
    """(parts,) bool: which are not there in the cut model, those of layers that go among them."""
    masks, shape = Masks.kept_by(plan), plan.shape
    if kind == "layers":
        return ~masks.layers
    running = np.isin(np.arange(len(shape.heads)), [shape.rows[layer] for layer in plan.layers])
    if kind in BLOCKS:
        return ~(getattr(masks, kind) & running[rows_of(shape, kind)])
    filled = np.array([len(row) > 0 for row in getattr(plan, BLOCKS_OF[kind])])
    return ~(filled & running)


def _flat(found: PartValues) -> dict[str, np.ndarray]:
    made = {}
    for kind in ("heads", "neurons", "attention", "ffn", "layers"):
        flags = getattr(found, kind)
        if flags is not None:
            made[kind] = np.concatenate(flags) if kind in BLOCKS else np.asarray(flags)
    return {kind: flags.astype(bool) for kind, flags in made.items()}
