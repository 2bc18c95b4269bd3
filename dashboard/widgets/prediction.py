"""What is predicted under a budget's slider, as HTML: the curve in the slider's width, and a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from asc_core.evaluate.loss_prediction import LossCurve, Prediction, prediction_error
from dashboard.text import numbers

THICKNESS = 4.0  # of the line, in percent of the height


def strip(curve: LossCurve, least: float, most: float = 1.0) -> str:
    """From the share `least` at the left end to `most` at the right one; empty where nothing is predicted there.

    The top is the original's metric or the best that is predicted, the bottom the worst that the band reaches where
    there is a line.
    """
    inside = (curve.keep >= least - 1e-9) & (curve.keep <= most + 1e-9) & ~np.isnan(curve.difference)
    if inside.sum() < 2 or most <= least:
        return ""
    x = 100 * (curve.keep[inside] - least) / (most - least)
    line, low, high = (values[inside] for values in (curve.difference, curve.low, curve.high))
    top, bottom = max(0.0, float(high.max())), float(low.min())
    height = max(top - bottom, 1e-9)

    def down(values: np.ndarray) -> np.ndarray:
        return 100 * (top - values) / height

    band = _polygon([*zip(x, down(high), strict=True), *reversed(list(zip(x, down(low), strict=True)))])
    middle = np.clip(down(line), THICKNESS / 2, 100 - THICKNESS / 2)
    edges = [(x, middle - THICKNESS / 2), (x[::-1], middle[::-1] + THICKNESS / 2)]
    stroke = _polygon([point for xs, ys in edges for point in zip(xs, ys, strict=True)])
    return f"<div class='asc-strip'><i style='clip-path:{band}'></i><b style='clip-path:{stroke}'></b></div>"


def sentence(curve: LossCurve | None, kept: float, past: Sequence[Prediction]) -> str:
    """What is predicted where the share `kept` of the budget stays, and how right earlier predictions were."""
    if curve is None:
        return _said("nothing yet; other budgets have to be measured first, without manual edits")
    at = int(np.abs(curve.keep - kept).argmin())
    low, difference, high = (float(values[at]) for values in (curve.low, curve.difference, curve.high))
    if np.isnan(difference):
        return _said(f"at best {numbers.points(high)} pp, as nothing so small was measured yet")
    return _said(f"{numbers.points(difference)} pp {numbers.interval_of_points((low, high))}{_track_record(past)}")


def unpredicted(why: str) -> str:
    return _said(f"nothing, as {why}")


def _track_record(past: Sequence[Prediction]) -> str:
    record = prediction_error(past)
    if record is None:
        return ""
    error, inside = record
    share = numbers.percent(inside, 0)
    return f" (past error {100 * error:.1f} pp median, {share} inside band, n = {len(past)})"


def _said(what: str) -> str:
    return f"<div class='asc-small asc-quiet asc-two-lines' data-testid='asc-predicted'>Predicted: {what}</div>"


def _polygon(points: Iterable[tuple[float, float]]) -> str:
    return f"polygon({','.join(f'{x:.1f}% {y:.1f}%' for x, y in points)})"
