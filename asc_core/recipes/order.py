"""Which step may follow which: an order that makes no sense is refused once, wherever a recipe enters."""

from __future__ import annotations

from collections.abc import Sequence

from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.modeling import STRUCTURES, can_follow


def check_order(steps: Sequence[Step]) -> None:
    """Raises: UserError where a step adds a structure that cannot be built on what the steps before it have made."""
    before: dict[str, str] = {}  # structure -> the step that added it
    for number, step in enumerate(steps):
        if step.adds is None:
            continue
        known = step.adds in STRUCTURES
        wrong = next((kind for kind in before if known and not can_follow(step.adds, kind)), None)
        if wrong is not None:
            raise UserError(
                f"Step {number + 1} of the recipe ({step.kind}) cannot follow a step of the kind {before[wrong]}: put "
                "it before that one."
            )
        before.setdefault(step.adds, step.kind)
