"""The best model within one budget: what a job made and measured so far. Functions of a `Job`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from asc_core.evaluate.speeds import Conditions
from asc_core.recipes.allocation import Bound, Footprint
from asc_core.recipes.allocation_search import FAMILIES, Allocator, Fitted
from asc_core.study import Study
from dashboard.background import application_jobs
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import Measurements
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

LANE = "explore"


@dataclass(frozen=True)
class Asked:
    """See `Allocator`. most: allocations that are made."""

    bound: Bound
    families: tuple[str, ...] = FAMILIES
    points: float | None = None
    steps: int = 0
    most: int = 5
    runtime: str = "torch"
    conditions: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True)
class Fits:
    """made: best first. original: what it takes. left_out: families that this model or its texts refuse, and why."""

    made: list[Fitted]
    original: Footprint
    asked: Asked
    split: str
    left_out: Mapping[str, str] = field(default_factory=dict)


def fitting_job(models: LoadedModels, study: Study, application: Application, asked: Asked) -> Callable[[Job], Fits]:
    """Shows what was made so far. Prices are in the study, so a cancelled search, or another budget, goes on."""

    def work(job: Job) -> Fits:
        opened = application_jobs.opened(models, study, application, job)
        split = Measurements(models, study, application, opened.cost_model).split
        scored = stored_scores.of_application(models, study, application)
        allocator = Allocator(
            opened.encoder,
            opened.task,
            asked.bound,
            asked.families,
            scores=scored.get("obs"),
            points=asked.points,
            steps=asked.steps,
            runtime=asked.runtime,
            conditions=asked.conditions,
            split=split,
            study=study,
            progress=job.progress,
        )
        found = Fits([], allocator.dense, asked, split)
        job.show(found)
        for made in allocator.search(asked.most):
            named = [
                replace(one, recipe=replace(one.recipe, original=application.encoder, task=application.name))
                for one in made
            ]
            found = replace(found, made=named, left_out=dict(allocator.refused))
            job.show(found)
        return found

    return work
