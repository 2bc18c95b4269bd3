"""One cut measured for a page: estimates as they tighten, and an end as soon as they are tight enough."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from asc_core.recipes import Recipe
from asc_core.values import Estimate
from dashboard.background.jobs import Job
from dashboard.measuring.measurements import Measurements
from dashboard.measuring.predicted_loss import recording
from dashboard.state.cut_settings import CutSettings


def measure_job(
    measurements: Measurements, recipe: Recipe, settings: CutSettings, half_width: float | None = None
) -> Callable[[Job], Estimate]:
    """Cut and repair for real and evaluate; shows estimates as they tighten, and keeps each in the study.

    settings: what the recipe came of. half_width: end as soon as the interval goes no further than this to either
    side; None = after all examples.
    """

    def work(job: Job) -> Estimate:
        show = recording(measurements, recipe, settings, job.show)
        enough = partial(measured_enough, half_width=half_width)
        return measurements.measured(recipe, settings.name, job.progress, show, enough, quickly=True)

    return work


def measured_enough(estimate: Estimate, half_width: float | None) -> bool:
    """Whether nothing more is to be measured: never of a model that was still being refined when the program ended."""
    narrow = half_width is not None and estimate.half_width <= half_width
    return estimate.complete or (narrow and not estimate.provisional)
