"""int8 as the last step of a recipe, as the format that the model leaves in takes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from asc_core.compress.quantize import Quantize
from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.export import FORMATS
from asc_core.modeling import STRUCTURES
from asc_core.recipes.recipe import Recipe

Activations = Literal["dynamic", "none"]


def activations_for(format: str) -> Activations | None:
    """What `Quantize` does to inputs for a format; None where the format holds no integers."""
    found: Activations | None = getattr(FORMATS.get(format), "int8_activations", "none")
    return found


def int8_step(format: str, *, choose: bool, keep: tuple[str, ...] = ()) -> Quantize:
    """choose, keep: see `Quantize`. Raises: UserError where the format holds no integers."""
    activations = activations_for(format)
    if activations is None:
        others = [name for name in FORMATS if activations_for(name) is not None]
        raise UserError(
            f"The {format} format holds no integers, so int8 would take nothing off it: choose {' or '.join(others)}."
        )
    return Quantize(choose=choose, keep=keep, activations=activations)


def in_int8(recipe: Recipe, format: str) -> Recipe:
    """The recipe with int8 last, but for matrices that its task would miss; before tokens or texts leave, for what
    leaves is chosen by the model as it will be. Raises: UserError as `int8_step` does.
    """
    last = len(recipe.steps)
    place = next((number for number, step in enumerate(recipe.steps) if _lets_leave(step)), last)
    steps = (*recipe.steps[:place], int8_step(format, choose=True), *recipe.steps[place:])
    return replace(recipe, steps=steps)


def _lets_leave(step: Step) -> bool:
    """Whether not every token goes through every layer behind it."""
    return step.structure in STRUCTURES and not STRUCTURES[step.structure].every_token
