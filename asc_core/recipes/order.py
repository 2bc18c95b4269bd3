"""Which step may follow which: an order that makes no sense is refused once, wherever a recipe enters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asc_core import modeling
from asc_core.compress.step import Step
from asc_core.errors import UserError

# Kind of structure -> the kinds that may already be in a model when it is added. A kind that is not named, here or by
# `modeling.STRUCTURES`, may follow anything.
AFTER: dict[str, frozenset[str]] = {"cut": frozenset({"cut"})}


def check_order(steps: Sequence[Step]) -> None:
    """Raises: UserError where a step adds a structure that cannot be built on what the steps before it have made."""
    before: dict[str, str] = {}  # structure -> the step that added it
    for number, step in enumerate(steps):
        if step.structure is None:
            continue
        after = _after(step.structure)
        wrong = None if after is None else next((kind for kind in before if kind not in after), None)
        if wrong is not None:
            raise UserError(
                f"Step {number + 1} of the recipe ({step.kind}) cannot follow a step of the kind {before[wrong]}: put "
                f"it before that one."
            )
        before.setdefault(step.structure, step.kind)


def _after(kind: str) -> frozenset[str] | None:
    structures: Mapping[str, object] = getattr(modeling, "STRUCTURES", {})
    known = getattr(structures.get(kind), "after", None)
    return known if known is not None else AFTER.get(kind)
