"""Steps after the cut and its repair: which there are, which order makes sense, how links and studies write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from asc_core.compress.cut import Cut
from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.recipes import STEPS
from asc_core.recipes.order import check_order
from asc_core.recipes.registry import parse_step, step_json
from dashboard.state.step_parameters import can_be_shown

MOST_STEPS = 8
LONGEST_LINK = 4000  # characters of JSON: an address comes from anyone


def offered() -> dict[str, type[Step]]:
    """By kind. Not the steps that cut: that is what the other controls are for."""
    return {kind: step for kind, step in STEPS.items() if step.structure != Cut.structure and can_be_shown(step)}


def kinds(steps: Sequence[Step]) -> set[str]:
    return {step.kind for step in steps}


def brief(step: Step) -> str:
    """Its kind, and what is not as usual: "factor 0.9"."""
    said = [f"{value:g}" if isinstance(value, float) else f"{value}" for value in _unusual(step).values()]
    return " ".join([step.kind, *said])


def _unusual(step: Step) -> dict[str, Any]:
    return {name: value for name, value in step_json(step, short=True).items() if name != "step"}


def checked(then: Sequence[Step]) -> tuple[Step, ...]:
    """The same. Raises: UserError where such steps cannot follow a cut in this order, or there are too many."""
    if len(then) > MOST_STEPS:
        raise UserError(f"At most {MOST_STEPS} further steps fit here; a recipe file takes any number of them.")
    check_order((Cut.model_construct(), *then))
    return tuple(then)


def added(then: Sequence[Step], step: Step) -> tuple[Step, ...]:
    """The steps with one more: at the end, or as far behind as it makes sense. Raises: UserError as `checked` does."""
    for place in range(len(then), -1, -1):
        try:
            return checked([*then[:place], step, *then[place:]])
        except UserError:
            continue
    return checked([*then, step])


def moved(then: Sequence[Step], number: int, to: int) -> tuple[Step, ...]:
    """The steps with one of them at another place. Raises: UserError as `checked` does."""
    others = [*then[:number], *then[number + 1 :]]
    return checked([*others[:to], then[number], *others[to:]])


def to_json(then: Sequence[Step]) -> list[dict[str, Any]]:
    return [step_json(step, short=True) for step in then]


def from_json(data: Any, origin: str) -> tuple[Step, ...]:
    """Raises: UserError where it holds anything but steps that are offered, in an order that makes sense."""
    if not isinstance(data, list):
        raise UserError(f"{origin} must be a list of steps.")
    steps = [parse_step(one, f"{origin}, number {number}") for number, one in enumerate(data[: MOST_STEPS + 1], 1)]
    cutting = next((step.kind for step in steps if step.kind not in offered()), None)
    if cutting is not None:
        raise UserError(f"{origin}: a step of the kind {cutting} has no place after a cut here; use a recipe file.")
    return checked(steps)


def to_link(then: Sequence[Step]) -> str:
    """ "" where there is none."""
    return json.dumps(to_json(then), separators=(",", ":")) if then else ""


def from_link(text: str) -> tuple[Step, ...]:
    """Raises: UserError as `from_json` does."""
    if not text:
        return ()
    try:
        data = json.loads(text) if len(text) <= LONGEST_LINK else None
    except (ValueError, RecursionError):
        data = None
    return from_json(data, "The further steps of this link")
