"""From a recipe to the cut and repaired model, with the calibration that all cuts of an application share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asc_core.compress.refit import Mode, Refit, refit
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.tasks import Task
from dashboard.background.jobs import Job
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels


def mode_of(recipe: Recipe) -> Mode | None:
    """How the recipe repairs its cut; None where it does not."""
    step = recipe.steps[0]
    return step.mode if isinstance(step, Refit) else None


def repair_cache_key(recipe: Recipe, task: Task) -> list[Any]:
    """What decides about a layer's repair beside the plan up to it; empty where there is none."""
    step = recipe.steps[0]
    if not isinstance(step, Refit):
        return []
    texts = task.digest("train", step.samples, step.seed)
    return [step.mode, step.norms, step.samples, step.tokens, step.seed, texts]


def needs_calibration(models: LoadedModels, application: Application, recipe: Recipe) -> bool:
    """Whether making the recipe's model would have to begin with the pass over the calibration texts."""
    mode = mode_of(recipe)
    return mode is not None and models.cached_calibration(application, mode == "one-shot") is None


def calibrate_job(models: LoadedModels, application: Application, mode: Mode) -> Callable[[Job], None]:
    """The pass over the texts alone, so that newer settings do not throw away what was done of it."""

    def work(job: Job) -> None:
        job.progress.step(0, 1, "calibrating")
        models.calibration(application, mode == "one-shot", job.progress)

    return work


def build(models: LoadedModels, application: Application, recipe: Recipe, progress: Progress) -> Encoder:
    """The model of a recipe whose only step is a cut, with or without repair. Raises: UserError, Cancelled."""
    encoder, mode, plan = models.encoder(application), mode_of(recipe), recipe.plan
    if mode is None or plan is None:
        return recipe.apply(encoder, models.task(application), progress)
    calibration = models.calibration(application, mode == "one-shot", progress)
    step = recipe.steps[0]
    assert isinstance(step, Refit)
    return refit(encoder, plan, calibration, mode, step.transfer, progress, step.norms)[0]
