"""From a recipe to its model, with the calibration that all cuts of an application share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asc_core.compress.calibrations import Asked
from asc_core.compress.cut import Cut
from asc_core.compress.repairs import REPAIRS, default_repair
from asc_core.compress.step import Step
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.recipe import Made
from asc_core.values import Plan
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels


def quick_calibration(recipe: Recipe, encoder: Encoder) -> Asked | None:
    """The calibration of an encoder that the quick form of a recipe's first step works on, while it grows; None where
    it has none."""
    step = recipe.steps[0]
    return step.calibrating(encoder) if isinstance(step, Cut) and step.has_quick_form else None


def usual_calibration(encoder: Encoder) -> Asked:
    """What cuts of an encoder are repaired on where a page's settings ask for the usual repair."""
    name = default_repair(encoder.shape)
    settles = REPAIRS[name].quick is not None
    return Cut(plan=Plan.full(encoder.shape), repair=name, until_settled=settles).calibrating(encoder)


def build(
    models: LoadedModels,
    application: Application,
    recipe: Recipe,
    progress: Progress,
    folder: Path | None = None,
    provisional: bool = False,
) -> Made:
    """folder: where steps that train keep their state. provisional: see `Recipe.made`. Raises: UserError, Cancelled."""
    encoder, task = models.encoder(application), models.task(application)
    return recipe.made(encoder, task, progress, folder, models.calibrations, provisional)


def cut_decides(steps: Sequence[Step]) -> bool:
    """Whether the model costs what the cut among the steps leaves: training changes no shape, other steps may."""
    return all(isinstance(step, Cut) or (step.trains and step.structure is None) for step in steps)
