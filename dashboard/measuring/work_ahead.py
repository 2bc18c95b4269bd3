"""What will be asked for next, measured while nobody waits: the frontier, the budgets beside the slider, the others.

Everything that it measures is an ordinary measurement and lands in the study; whoever moves a slider comes first, and
what was begun for somebody who has moved on is let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.progress import Progress
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background.jobs import FOREGROUND, Job, Jobs
from dashboard.measuring.budget_sweep import at_budget, budgets_over, measured_at
from dashboard.measuring.measurements import Measurements
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings, fitted, plan_of, smallest_keep
from dashboard.state.loaded import LoadedModels

LANE = "ahead"
BEFORE_IT = (*FOREGROUND, "load", "explore", "score", "export", "background")
NEIGHBOURS = 10  # stops of the slider to either side
STEP = 0.01  # of the slider


@dataclass(frozen=True)
class Ahead:
    """One application's cuts. beside: whether the budgets beside the settings' own are among them."""

    application: Application
    scores: Scores
    settings: CutSettings
    beside: bool = False


def ahead_job(
    models: LoadedModels,
    study: Study,
    asked: Sequence[Ahead],
    jobs: Jobs,
    timed: Callable[[Application, CostModel], CostModel] = lambda _, costs: costs,
) -> Callable[[Job], int]:
    """Returns how many cuts are in the study now. timed: a cost model with layer times, where they are known."""

    def work(job: Job) -> int:
        done, total = 0, len(asked)
        for one in asked:
            prepare = partial(prepared, models, study, one.application)
            measurements = jobs.patiently(job, BEFORE_IT, prepare)
            costs = timed(one.application, measurements.cost_model)
            measurements = replace(measurements, cost_model=costs)
            settings = fitted(one.settings, one.scores, measurements.repairable)
            planner = partial(plan_of, scores=one.scores, cost_model=costs)
            try:
                budgets = list(wanted(settings, one.scores, costs, one.beside))
            except UserError:
                continue  # nothing can be cut by these settings there
            total += len(budgets) - 1
            for keep in budgets:
                job.progress.step(done, total, f"{one.application.title} at {100 * keep:.0f} %")
                measure = partial(measured_at, measurements, at_budget(settings, keep), planner)
                with suppress(UserError):  # whoever moves the slider there is told
                    jobs.patiently(job, BEFORE_IT, measure)
                done += 1
        job.progress.step(done, max(done, 1), "measured")
        return done

    return work


def prepare_job(models: LoadedModels, study: Study, application: Application, jobs: Jobs) -> Callable[[Job], None]:
    """What every cut of an application needs of its original."""

    def work(job: Job) -> None:
        jobs.patiently(job, BEFORE_IT, partial(prepared, models, study, application))

    return work


def prepared(models: LoadedModels, study: Study, application: Application, progress: Progress) -> Measurements:
    """Raises: UserError, Cancelled."""
    measurements = Measurements(models, study, application, models.cost_model(application))
    measurements.prepare(progress)
    return measurements


def wanted(settings: CutSettings, scores: Scores, costs: CostModel, beside: bool) -> Iterator[float]:
    """Budgets in the order of their use: where the slider stands, a coarse frontier, then what lies beside it.

    Raises: UserError where none is possible.
    """
    least = smallest_keep(at_budget(settings, 1.0), scores, costs)
    seen: set[float] = set()
    here = round(settings.keep, 2)
    near = [round(here + side * step * STEP, 2) for step in range(1, NEIGHBOURS + 1) for side in (-1, 1)]
    for keep in [here, *budgets_over(least)[::-1], *(near if beside else [])]:
        if keep not in seen and least <= keep <= 1:
            seen.add(keep)
            yield keep
