"""What the cut in view does to the other applications: measured in the background, after everything else.

The same parts go from each application's own model, repaired on its own texts as the cut in view is. Whoever moves the
slider comes first: this work waits between two batches for as long as anything in the foreground runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import FOREGROUND, Job, Jobs
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.predicted_loss import recording
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings
from dashboard.state.loaded import LoadedModels

LANE = "background"
BEFORE_IT = (*FOREGROUND, "load", "explore", "score", "export")


@dataclass(frozen=True)
class Effect:
    """estimate: None where it is not measured yet. problem: why it cannot be."""

    application: Application
    estimate: Estimate | None = None
    problem: str = ""


def other_tasks_job(
    models: LoadedModels, study: Study, others: Sequence[Application], plan: Plan, settings: CutSettings, jobs: Jobs
) -> Callable[[Job], list[Effect]]:
    """Shows a list of `Effect` that fills up, one application after the other."""

    def work(job: Job) -> list[Effect]:
        effects = [Effect(other) for other in others]
        job.show(list(effects))
        for number, other in enumerate(others):
            measure = partial(_measured, models, study, other, plan, settings)
            try:
                effects[number] = Effect(other, jobs.patiently(job, BEFORE_IT, measure))
            except UserError as error:
                effects[number] = Effect(other, problem=str(error))
            job.show(list(effects))
        return effects

    return work


def _measured(
    models: LoadedModels,
    study: Study,
    other: Application,
    plan: Plan,
    settings: CutSettings,
    progress: Progress,
) -> Estimate:
    encoder = models.encoder(other)
    if encoder.shape != plan.shape:
        raise UserError("its encoder has other parts")
    measurements = Measurements(models, study, other, models.cost_model(other))
    repair = settings.repair if measurements.repairable else "none"
    made_for = replace(settings, application=other.name, rule="fixed", plan_key=plan.key, transfer=True, repair=repair)
    recipe = made_for.recipe(plan)
    stored = measurements.stored(recipe)
    if stored is not None and stored.complete:
        return stored
    record = recording(measurements, recipe, made_for)
    return measurements.measured(recipe, made_for.name, progress, record)
