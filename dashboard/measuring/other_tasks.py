"""What the cut in view does to the other applications: measured in the background, after everything else.

The same parts go from each application's own model, repaired on its own texts as the cut in view is. Whoever moves the
slider comes first: this work waits between two batches for as long as anything in the foreground runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import URGENT, Job, Jobs
from dashboard.measuring.build import moments_of, needs_calibration
from dashboard.measuring.measurements import Bench
from dashboard.state.applications import Application
from dashboard.state.cut_settings import Move, recipe_of
from dashboard.state.loaded import Library
from dashboard.text import numbers
from dashboard.widgets.page import escape

LANE = "background"
FOREGROUND = (*URGENT, "load", "explore", "score", "export")


@dataclass(frozen=True)
class Effect:
    """estimate: None where it is not measured yet. problem: why it cannot be."""

    application: Application
    estimate: Estimate | None = None
    problem: str = ""


def following(
    library: Library, study: Study, others: Sequence[Application], plan: Plan, move: Move, jobs: Jobs
) -> Callable[[Job], list[Effect]]:
    """Shows a list of `Effect` that fills up, one application after the other."""

    def work(job: Job) -> list[Effect]:
        effects = [Effect(other) for other in others]
        job.show(list(effects))
        patient = Progress(lambda *_: jobs.give_way(job, FOREGROUND), job.handle.cancel)
        for number, other in enumerate(others):
            jobs.give_way(job, FOREGROUND)
            job.handle.check()
            try:
                effects[number] = Effect(other, _measured(library, study, other, plan, move, patient, job, jobs))
            except UserError as error:
                effects[number] = Effect(other, problem=str(error))
            job.show(list(effects))
        return effects

    return work


def _measured(
    library: Library,
    study: Study,
    other: Application,
    plan: Plan,
    move: Move,
    patient: Progress,
    job: Job,
    jobs: Jobs,
) -> Estimate:
    encoder = library.encoder(other)
    if encoder.shape != plan.shape:
        raise UserError("its encoder has other parts")
    bench = Bench(library, study, other, library.cost_model(other))
    recipe = recipe_of(plan, move.repair if bench.repairable else "none", transfer=True)
    stored = bench.stored(recipe)
    if stored is not None and stored.complete:
        return stored
    moments = moments_of(recipe)
    if moments is not None and needs_calibration(library, other, recipe):
        # To its end, also where the cut has changed by then: the next one needs it as well. And without giving way: an
        # export may be waiting for this very calibration.
        library.calibration(other, moments, Progress())
        job.handle.check()
    made_for = replace(move, application=other.name, rule="fixed", plan_key=plan.key, transfer=True)
    return bench.measured(recipe, made_for, patient)


def table(effects: Sequence[Effect], running: bool) -> str:
    """As HTML, a row an application."""
    rows = []
    for effect in effects:
        said = "<span class='asc-quiet'>waiting</span>" if running else "<span class='asc-quiet'>not measured</span>"
        if effect.problem:
            said = f"<span class='asc-quiet'>{escape(effect.problem)}</span>"
        elif effect.estimate is not None:
            e = effect.estimate
            said = numbers.percent(e.value)
            if e.difference is not None and e.difference_interval is not None:
                ends = numbers.interval_of_points(e.difference_interval)
                said = f"{numbers.points(e.difference)} <span class='asc-quiet'>{ends}</span>"
        rows.append(f"<tr><td>{escape(effect.application.title)}</td><td>{said}</td></tr>")
    return f"<table class='asc-costs asc-number'>{''.join(rows)}</table>"
