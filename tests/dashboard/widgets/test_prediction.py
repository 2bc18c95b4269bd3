from __future__ import annotations

import re

import numpy as np
import pytest

from asc_core.evaluate.loss_prediction import LossCurve
from dashboard.widgets.prediction import strip


def points_of_polygon(html: str, tag: str) -> list[tuple[float, float]]:
    (written,) = re.findall(rf"<{tag} style='clip-path:polygon\(([^)]*)\)'", html)
    return [tuple(float(v) for v in re.findall(r"-?[\d.]+", point)) for point in written.split(",")]  # type: ignore[misc]


def test_the_strip_is_the_curve_in_the_sliders_range() -> None:
    keep = np.linspace(0, 1, 101)
    difference = np.where(keep < 0.4, np.nan, keep - 1)
    curve = LossCurve(keep, difference, np.where(keep < 0.4, -0.9, keep - 1.1), np.minimum(keep - 0.9, 0))
    html = strip(curve, least=0.2)
    band, line = points_of_polygon(html, "i"), points_of_polygon(html, "b")
    assert min(x for x, _ in line) == min(x for x, _ in band) == pytest.approx(25)  # 0.4, of 0.2 to 1
    assert max(x for x, _ in line) == pytest.approx(100)
    assert min(y for _, y in band) == 0  # nothing lost
    assert max(y for _, y in band) == 100  # the worst of the band, 0.7 lost
    at_half = [y for x, y in line if x == pytest.approx(37.5)]
    assert np.mean(at_half) == pytest.approx(100 * 0.5 / 0.7, abs=0.1)
    assert strip(curve, least=1.0) == ""
    assert strip(LossCurve(keep, np.full(101, np.nan), keep - 1, keep - 1), least=0.2) == ""
