"""What a budget will cost, predicted from the budgets that were measured so far.

A model that keeps more of one method's ranking loses no more, as a rule. So between two measured budgets the difference
to the original lies between theirs: that is the band, and it needs no other assumption about the curve. Where the
measurements themselves say otherwise (a smaller model that is better than a larger one), the band is as wide as they
are. The line in it is a monotone regression of the measured differences (pool adjacent violators: Barlow et al. 1972,
Statistical Inference under Order Restrictions), joined by a monotone cubic (Fritsch and Carlson 1980, SIAM J. Numer.
Anal. 17, 238-246).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression

from asc_core.values import Estimate

FLOOR = 1e-4  # the least standard error: of a difference that was exactly 0 on every example


@dataclass(frozen=True)
class MeasuredLoss:
    """One measured budget. keep: share of it. difference, low, high: to the original, with its interval."""

    keep: float
    difference: float
    low: float
    high: float

    @staticmethod
    def of(keep: float, estimate: Estimate) -> MeasuredLoss | None:
        """None where there is no difference to the original."""
        if estimate.difference is None or estimate.difference_interval is None:
            return None
        return MeasuredLoss(keep, estimate.difference, *estimate.difference_interval)


@dataclass(frozen=True)
class LossCurve:
    """keep: (n,) ascending shares of the budget. difference, low, high: (n,) predicted there.

    Below the smallest budget that was measured there is a band, but no line: difference is NaN.
    """

    keep: np.ndarray
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray


def predict_loss(points: Sequence[MeasuredLoss], keep: np.ndarray, worst: float) -> LossCurve | None:
    """The differences to the original at other budgets. None where nothing was measured.

    Keeping everything costs nothing, and is a point of its own. Below the smallest measured budget the band reaches
    down to `worst`.

    Args:
        points: the budgets that were measured.
        keep: (n,) ascending shares of the budget to predict at.
        worst: the difference where everything is lost, such as minus the original's metric.
    """
    if not points:
        return None
    measured = sorted(points, key=lambda p: p.keep)
    at, inverse = np.unique([p.keep for p in measured], return_inverse=True)
    errors = np.maximum([(p.high - p.low) / 4 for p in measured], FLOOR)
    weights = np.bincount(inverse, errors**-2.0)
    means = np.bincount(inverse, [p.difference * w for p, w in zip(measured, errors**-2.0, strict=True)]) / weights
    if at[-1] < 1:
        at, means, weights = np.append(at, 1.0), np.append(means, 0.0), np.append(weights, FLOOR**-2)
    fitted = np.minimum(isotonic_regression(means, weights=weights).x, max(0.0, float(means.max())))
    line = _line(at, fitted, np.asarray(keep, dtype=np.float64))
    low, high = _band(measured, np.asarray(keep, dtype=np.float64), worst)
    return LossCurve(np.asarray(keep), line, np.fmin(low, line), np.fmax(high, line))


def _line(at: np.ndarray, fitted: np.ndarray, keep: np.ndarray) -> np.ndarray:
    if len(at) == 1:
        return np.where(keep < at[0], np.nan, fitted[0])
    with np.errstate(over="ignore"):  # of slopes that are all but 0
        inside = PchipInterpolator(at, fitted, extrapolate=False)(np.clip(keep, at[0], at[-1]))
    return np.where(keep < at[0], np.nan, inside)


def _band(measured: Sequence[MeasuredLoss], keep: np.ndarray, worst: float) -> tuple[np.ndarray, np.ndarray]:
    """No lower than what any smaller model is sure to reach, no higher than what any larger one may."""
    at = np.asarray([p.keep for p in measured])
    lows, highs = np.asarray([p.low for p in measured]), np.asarray([p.high for p in measured])
    least = np.maximum.accumulate(np.append(worst, lows))
    most = np.minimum.accumulate(np.append(highs, max(0.0, float(highs.max())))[::-1])[::-1]
    after, before = np.searchsorted(at, keep, side="right"), np.searchsorted(at, keep, side="left")
    low, high = least[after], most[before]
    for i, (first, last) in enumerate(zip(before, after, strict=True)):
        near = measured[first:last] or measured[max(0, first - 1) : last + 1]  # at this budget, or on both sides of it
        if low[i] > high[i] or any(not low[i] <= point.difference <= high[i] for point in near):
            low[i] = min(low[i], *(point.low for point in near))
            high[i] = max(high[i], *(point.high for point in near))
    return low, high


@dataclass(frozen=True)
class Prediction:
    """A predicted difference beside the measured one. All but keep in the metric's units."""

    keep: float
    predicted: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        return self.measured - self.predicted

    @property
    def inside(self) -> bool:
        return self.low <= self.measured <= self.high


def prediction_error(past: Sequence[Prediction]) -> tuple[float, float] | None:
    """(median absolute error, share that lay inside the band); None where nothing was predicted yet."""
    if not past:
        return None
    return float(np.median([abs(one.error) for one in past])), float(np.mean([one.inside for one in past]))
