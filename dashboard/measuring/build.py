"""From a recipe to its model, with the calibration that all cuts of an application share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_core.compress.cut import Cut
from asc_core.compress.repairs import REPAIRS
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.recipe import Made
from dashboard.background.jobs import Job
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels


def moments_of(recipe: Recipe) -> bool | None:
    """Whether the calibration of the recipe's first repaired cut must hold moments; None where it repairs none."""
    repairs = [step.repair for step in recipe.steps if isinstance(step, Cut) and step.repair is not None]
    return REPAIRS[repairs[0]].moments if repairs else None


def needs_calibration(models: LoadedModels, application: Application, recipe: Recipe) -> bool:
    """Whether making the recipe's model would have to begin with the pass over the calibration texts."""
    moments = moments_of(recipe)
    return moments is not None and models.cached_calibration(application, moments) is None


def calibrate_job(models: LoadedModels, application: Application, moments: bool) -> Callable[[Job], None]:
    """The pass over the texts alone, so that newer settings do not throw away what was done of it."""

    def work(job: Job) -> None:
        job.progress.step(0, 1, "calibrating")
        models.calibration(application, moments, job.progress)

    return work


def build(
    models: LoadedModels, application: Application, recipe: Recipe, progress: Progress, folder: Path | None = None
) -> Made:
    """folder: where steps that train keep their state. Raises: UserError, Cancelled."""
    encoder, task = models.encoder(application), models.task(application)
    return recipe.made(encoder, task, progress, folder, models.calibrations)
