"""What other budgets would cost, predicted from those that were measured, and how right that was before.

Measurements belong to one curve when they differ in nothing but the budget: method, rule, level, minimum, widths,
repair, further steps. Whenever one is complete, what was predicted of it just before is kept beside what it came out
as.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from asc_core.evaluate.loss_prediction import LossCurve, MeasuredLoss, Prediction, predict_loss
from asc_core.recipes import Recipe
from asc_core.values import Estimate
from dashboard.measuring.build import cut_decides
from dashboard.measuring.measured_cut import MeasuredCut
from dashboard.measuring.measurements import Measurements
from dashboard.state import kept
from dashboard.state.cut_settings import CutSettings
from dashboard.state.further_steps import to_link

GRID = np.linspace(0.0, 1.0, 101)
MOST_KEPT = 200


def series_of(settings: CutSettings) -> str | None:
    """None where no other recipe lies on its curve: the cut was changed by hand or comes from elsewhere, or further
    steps decide what the model costs."""
    if settings.forced or settings.rule == "fixed" or not cut_decides(settings.then):
        return None
    budget = settings.budget if settings.rule == "budget" else ""
    every = f"{settings.everywhere}" if settings.rule == "share" else ""
    parts = [settings.application, settings.method, settings.rule, budget, every, settings.level, settings.repair]
    if settings.level == "blocks":  # as they were stored before these could be chosen, where nothing was
        parts += [f"at least {settings.min_heads} heads"] * (settings.min_heads != 1)
        parts += [f"multiples of {settings.multiple}"] * (settings.multiple != 1 and settings.rule == "budget")
    parts += [to_link(settings.then)] * bool(settings.then)
    return "|".join(parts)


def curve_of(
    measurements: Measurements,
    series: str | None,
    budget: str,
    without: str | None = None,
    measured: Sequence[MeasuredCut] | None = None,
) -> LossCurve | None:
    """Predicted differences over all budgets.

    without: a recipe's key whose measurement is left out. measured: `measurements.all_measured()`, where it is at hand.
    """
    original = measurements.original()
    if series is None or original is None:
        return None
    known = measurements.all_measured() if measured is None else measured
    mine = [one for one in known if one.series == series and one.key != without and _counts(one, budget)]
    points = [MeasuredLoss.of(one.kept[budget], one.estimate) for one in mine]
    return predict_loss([point for point in points if point is not None], GRID, -original.value)


def _counts(one: MeasuredCut, budget: str) -> bool:
    """What was measured of a quicker repair says nothing about the curve of the right one."""
    return budget in one.kept and not one.estimate.provisional


def budget_of(settings: CutSettings) -> str:
    """The axis that a cut is drawn on."""
    return settings.budget if settings.rule == "budget" else "flops"


def recording(
    measurements: Measurements,
    recipe: Recipe,
    settings: CutSettings,
    show: Callable[[Estimate], None] = lambda _: None,
) -> Callable[[Estimate], None]:
    """What to show estimates of a measurement to, so that they are recorded; also where `show` has had enough."""

    def shown(found: Estimate) -> None:
        try:
            show(found)  # first: someone is waiting
        finally:
            record(measurements, recipe, settings, found)

    return shown


def record(measurements: Measurements, recipe: Recipe, settings: CutSettings, found: Estimate) -> None:
    """A measurement is a point of its curve; a complete one is held against what was predicted of it.

    Called before the measurement itself is kept in the study, or it would predict itself.
    """
    plan, before, series, budget = recipe.cut, measurements.stored(recipe), series_of(settings), budget_of(settings)
    if series is not None and before is None:
        kept.series(measurements.study, measurements.application, recipe.key).set(series)
    if plan is None or found.difference is None or not found.complete or (before is not None and before.complete):
        return
    curve = curve_of(measurements, series, budget, without=recipe.key)
    if curve is None:
        return
    cost, dense = measurements.cost_model.cost(plan), measurements.cost_model.dense
    at = int(np.abs(GRID - getattr(cost, budget) / getattr(dense, budget)).argmin())
    keep, predicted, low, high = (float(y[at]) for y in (curve.keep, curve.difference, curve.low, curve.high))
    if np.isnan(predicted):
        return
    new = Prediction(keep, predicted, low, high, found.difference)
    _predictions(measurements).change(lambda before: [*(before or []), new][-MOST_KEPT:])


def past_predictions(measurements: Measurements) -> list[Prediction]:
    """Everything that was predicted for this application and has been measured since."""
    return _predictions(measurements).get() or []


def _predictions(measurements: Measurements) -> kept.Setting[list[Prediction]]:
    return kept.predictions(measurements.study, measurements.weights, measurements.application, measurements.split)
