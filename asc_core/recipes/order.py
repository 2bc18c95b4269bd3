"""Which step may follow which: an order that makes no sense is refused once, wherever a recipe enters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.modeling import STRUCTURES, can_follow

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


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


def check_fits(steps: Sequence[Step], encoder: Encoder) -> None:
    """Raises: UserError where a step changes what a Transformer's layers are, and the encoder has none."""
    for step in steps:
        if step.structure in STRUCTURES and STRUCTURES[step.structure].of_transformers:
            encoder.require_parts()
