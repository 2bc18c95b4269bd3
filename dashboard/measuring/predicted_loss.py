"""What the slider's other positions would cost, foretold from those that were measured, and how right that was before.

Measurements belong to one curve when they differ in nothing but the budget: method, rule, level, minimum, widths,
repair. Whenever one is complete, what was foretold of it just before is kept beside what it came out as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from asc_core.evaluate.loss_prediction import LossCurve, MeasuredLoss, Prediction, predict_loss, prediction_error
from asc_core.recipes import Recipe
from asc_core.values import Estimate
from dashboard.state.cut_settings import Move
from dashboard.text import numbers
from dashboard.widgets.page import escape

if TYPE_CHECKING:
    from dashboard.charts.frontier import Measured
    from dashboard.measuring.measurements import Bench

GRID = np.linspace(0.0, 1.0, 101)
MOST_KEPT = 200


def series_of(move: Move) -> str | None:
    """None where the cut was changed by hand or comes from elsewhere: no other cut lies on its curve."""
    if move.forced or move.rule == "fixed":
        return None
    budget = move.budget if move.rule == "budget" else ""
    every = f"{move.everywhere}" if move.rule == "share" else ""
    parts = [move.application, move.method, move.rule, budget, every, move.level, move.repair]
    if move.level == "blocks":  # as they were stored before these could be chosen, where nothing was
        parts += [f"at least {move.min_heads} heads"] * (move.min_heads != 1)
        parts += [f"multiples of {move.multiple}"] * (move.multiple != 1 and move.rule == "budget")
    return "|".join(parts)


def series_of_recipe(bench: Bench, recipe_key: str) -> str | None:
    """The curve that a stored measurement is a point of; None where that is not known."""
    key = ("series", str(bench.study.path.absolute()), bench.application.name, recipe_key)
    found = bench.library.kept(key, lambda: bench.study.get(_series_setting(bench, recipe_key)))
    return found if isinstance(found, str) else None


def curve_of(
    bench: Bench,
    series: str | None,
    budget: str,
    without: str | None = None,
    measured: Sequence[Measured] | None = None,
) -> LossCurve | None:
    """Predicted differences over all budgets.

    without: a recipe's key whose measurement is left out. measured: `bench.all_measured()`, where it is at hand.
    """
    original = bench.original()
    if series is None or original is None:
        return None
    known = bench.all_measured() if measured is None else measured
    mine = [one for one in known if one.series == series and one.key != without and budget in one.kept]
    points = [MeasuredLoss.of(one.kept[budget], one.estimate) for one in mine]
    return predict_loss([point for point in points if point is not None], GRID, -original.value)


def budget_of(move: Move) -> str:
    """The axis that a move is drawn on."""
    return move.budget if move.rule == "budget" else "flops"


def remember(bench: Bench, recipe: Recipe, move: Move, found: Estimate) -> None:
    """A measurement is a point of its curve; a complete one meets what was foretold of it."""
    plan, before, series, budget = recipe.cut, bench.stored(recipe), series_of(move), budget_of(move)
    if series is not None and before is None:
        bench.study.set(_series_setting(bench, recipe.key), series)
    if plan is None or found.difference is None or not found.complete or (before is not None and before.complete):
        return
    curve = curve_of(bench, series, budget, without=recipe.key)
    if curve is None:
        return
    cost, dense = bench.cost_model.cost(plan), bench.cost_model.dense
    at = int(np.abs(GRID - getattr(cost, budget) / getattr(dense, budget)).argmin())
    keep, predicted, low, high = (float(y[at]) for y in (curve.keep, curve.difference, curve.low, curve.high))
    if np.isnan(predicted):
        return
    told = Prediction(keep, predicted, low, high, found.difference)
    bench.study.set(_setting(bench), [*_kept(bench), asdict(told)][-MOST_KEPT:])


def past(bench: Bench) -> list[Prediction]:
    """Everything that was foretold for this application and has been measured since."""
    return [Prediction(**row) for row in _kept(bench)]


def told(bench: Bench, curve: LossCurve | None, kept: float) -> str:
    """A sentence for under the slider, as HTML: what is foretold here, and how right that was before."""
    original = bench.original()
    if curve is None or original is None:
        why = "nothing yet; other budgets have to be measured first, without parts set by hand"
        return f"<div class='asc-small asc-quiet' data-testid='asc-foretold'>foretold: {why}</div>"
    at = int(np.abs(GRID - kept).argmin())
    difference, high = float(curve.difference[at]), float(curve.high[at])
    if np.isnan(difference):
        most = f"{numbers.points(high)} points at best, as nothing so small was measured yet"
        return f"<div class='asc-small asc-quiet' data-testid='asc-foretold'>foretold: {most}</div>"
    here = f"{numbers.points(difference)} points"
    band = numbers.interval_of_points((float(curve.low[at]), high))
    earlier = past(bench)
    record = prediction_error(earlier)
    right = ""
    if record is not None:
        error, inside = record
        count = len(earlier)
        right = (
            f"; before, off by {100 * error:.1f} points (median of {count}), {numbers.percent(inside, 0)} in the band"
        )
    return f"<div class='asc-small asc-quiet' data-testid='asc-foretold'>foretold: {here} {escape(band)}{right}</div>"


def _kept(bench: Bench) -> list[dict[str, Any]]:
    """A study may come from anyone: what is no list of predictions is none."""
    stored = bench.study.get(_setting(bench), [])
    names = set(Prediction.__dataclass_fields__)
    if not isinstance(stored, list):
        return []
    return [
        row
        for row in stored
        if isinstance(row, dict) and set(row) == names and all(isinstance(v, int | float) for v in row.values())
    ]


def _series_setting(bench: Bench, recipe_key: str) -> str:
    return f"series:{bench.application.name}:{recipe_key}"


def _setting(bench: Bench) -> str:
    return f"foretold:{bench.weights}:{bench.application.name}:{bench.split}"
