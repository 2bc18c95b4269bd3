"""Many budgets in one piece of work: a whole frontier, and the smallest model that loses little.

What was measured before, here or by the slider, is not measured again; so work that was cancelled goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from asc_core.progress import Progress
from asc_core.recipes.frontier import DropRule, decided, nearest, smallest_percent
from asc_core.values import Estimate
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.predicted_loss import recording
from dashboard.state.cut_settings import CutSettings, Planner
from dashboard.state.pins import keep_settings

POINTS = 10
MOST_STEPS = 7  # halvings of a hundred percents until one is left


@dataclass(frozen=True)
class Found:
    """settings: the smallest cut that loses at most so much of the metric by a rule; where none does, within = False,
    the nearest one. None where there is no cut at all.

    measured: how many cuts were looked at. split, examples: on what.
    """

    settings: CutSettings | None
    estimate: Estimate | None
    most_lost: float
    measured: int
    split: str
    examples: int
    rule: DropRule = "interval"
    within: bool = True


def budgets_over(least: float, points: int = POINTS) -> list[float]:
    """Shares to keep, in the slider's steps: 0.1, 0.2, ... 1.0 of the way from the least to everything."""
    ends = [least + (1 - least) * step / points for step in range(1, points + 1)]
    return sorted({round(keep, 2) for keep in ends})


def at_budget(settings: CutSettings, keep: float) -> CutSettings:
    """The same method, level, repair and hand-set parts at another budget."""
    return replace(settings, rule="budget", keep=keep, plan_key=None)


def frontier_job(
    measurements: Measurements, settings: CutSettings, plan_of: Planner, budgets: Sequence[float]
) -> Callable[[Job], int]:
    """Measures the budgets and returns how many there were; each is in the study as soon as it is complete."""

    def work(job: Job) -> int:
        for done, keep in enumerate(budgets):
            measured_at(measurements, at_budget(settings, keep), plan_of, _within(job, done, len(budgets), keep))
        job.progress.step(len(budgets), len(budgets), "measured")
        return len(budgets)

    return work


def smallest_model_job(
    measurements: Measurements,
    settings: CutSettings,
    plan_of: Planner,
    least: float,
    most_lost: float,
    rule: DropRule = "interval",
) -> Callable[[Job], Found]:
    """Bisects over the slider's steps for the smallest model that loses at most `most_lost`, in units of the metric.

    A cut counts when its paired 95 % interval, or its measured difference, says so; it is measured until that is
    decided, by intervals that hold whenever one stops. Each is for one cut: of several near the limit the best-looking
    one is chosen, so it is to be confirmed on another split, as an export does.
    """

    def work(job: Job) -> Found:
        looked_at: list[tuple[CutSettings, Estimate]] = []

        def tried(percent: int) -> tuple[CutSettings, Estimate] | None:
            cut, done = at_budget(settings, percent / 100), len(looked_at)
            report = _within(job, done, max(done + 1, MOST_STEPS), cut.keep)
            found = measured_at(measurements, cut, plan_of, report, lambda e: decided(e, most_lost, rule) is not None)
            looked_at.append((cut, found))
            return looked_at[-1] if decided(found, most_lost, rule) else None

        best = smallest_percent(least, tried)
        examples = measurements.original_outcome(job.progress).total
        within = best is not None
        if best is None and looked_at:
            best = max(looked_at, key=lambda one: nearest(one[1], rule))
        chosen, estimate = best if best is not None else (None, None)
        return Found(chosen, estimate, most_lost, len(looked_at), measurements.split, examples, rule, within)

    return work


def measured_at(
    measurements: Measurements,
    settings: CutSettings,
    plan_of: Planner,
    progress: Progress,
    enough: Callable[[Estimate], bool] = lambda _: False,
) -> Estimate:
    """One cut, from the study where it was measured before. Raises: UserError, Cancelled."""
    plan = plan_of(settings)
    recipe = settings.recipe(plan)
    if recipe.key == measurements.full_plan.key:
        measurements.original_outcome(progress)
        return _nothing_lost(measurements)
    stored = measurements.stored(recipe)
    if stored is not None and not stored.provisional and (stored.complete or enough(stored)):
        return stored
    keep_settings(measurements.study, plan, settings)
    record = recording(measurements, recipe, settings)
    return measurements.measured(recipe, settings.name, progress, record, enough)


def _nothing_lost(measurements: Measurements) -> Estimate:
    original = measurements.original()
    assert original is not None
    return replace(original, difference=0.0, difference_interval=(0.0, 0.0))


def _within(job: Job, done: int, total: int, keep: float) -> Progress:
    """The progress of one of several measurements, as the whole work's."""

    def report(part: int, parts: int, what: str) -> None:
        job.progress.step(done, total, f"{what} at {100 * keep:.0f} % kept; measured")

    return Progress(report, job.progress.cancel)
