"""The foretold curve in the width of a slider, as HTML: a band and a line, cut out of boxes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from asc_core.evaluate.loss_prediction import LossCurve

THICKNESS = 4.0  # of the line, in percent of the height


def strip(curve: LossCurve, least: float, most: float = 1.0) -> str:
    """From the share `least` at the left end to `most` at the right one; empty where nothing is foretold there.

    The top is the original's metric or the best that is foretold, the bottom the worst that the band reaches where
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


def _polygon(points: Iterable[tuple[float, float]]) -> str:
    return f"polygon({','.join(f'{x:.1f}% {y:.1f}%' for x, y in points)})"
