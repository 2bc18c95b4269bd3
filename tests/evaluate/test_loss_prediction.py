from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.evaluate.loss_prediction import MeasuredLoss, Prediction, predict_loss, prediction_error
from asc_core.values import Estimate

GRID = np.linspace(0, 1, 101)
POINTS = st.lists(
    st.builds(
        lambda keep, value, half: MeasuredLoss(keep, value, value - half, value + half),
        st.floats(0.01, 1),
        st.floats(-0.9, 0.05),
        st.floats(0, 0.1),
    ),
    min_size=1,
    max_size=8,
)


def point(keep: float, difference: float, half: float = 0.01) -> MeasuredLoss:
    return MeasuredLoss(keep, difference, difference - half, difference + half)


def at(keep: float) -> int:
    return round(100 * keep)


@given(points=POINTS)
def test_more_kept_is_never_predicted_to_be_worse_and_the_line_lies_in_its_band(points: list[MeasuredLoss]) -> None:
    curve = predict_loss(points, GRID, -0.95)
    assert curve is not None
    ordered = sorted(points, key=lambda p: p.keep)
    agree = all(a.difference <= b.difference and a.keep < b.keep for a, b in pairwise(ordered))
    for line in (curve.difference, *([curve.low, curve.high] if agree else [])):
        assert (np.diff(line[np.isfinite(line)]) >= -1e-9).all()
    known = min(p.keep for p in points) <= GRID
    assert (np.isfinite(curve.difference) == known).all(), "below what was measured there is a band, but no line"
    assert (curve.low[known] <= curve.difference[known] + 1e-12).all()
    assert (curve.difference[known] <= curve.high[known] + 1e-12).all()


def test_what_was_measured_is_what_is_predicted_there_and_everything_kept_costs_nothing() -> None:
    curve = predict_loss([point(0.3, -0.2), point(0.6, -0.05)], GRID, -0.9)
    assert curve is not None
    assert curve.difference[at(0.3)] == pytest.approx(-0.2)
    assert curve.difference[at(0.6)] == pytest.approx(-0.05)
    assert curve.difference[at(1.0)] == pytest.approx(0)
    assert (curve.low[at(0.3)], curve.high[at(0.3)]) == pytest.approx((-0.21, -0.19))


def test_between_two_budgets_the_band_reaches_from_one_to_the_other() -> None:
    curve = predict_loss([point(0.3, -0.2), point(0.6, -0.05)], GRID, -0.9)
    assert curve is not None
    assert (curve.low[at(0.45)], curve.high[at(0.45)]) == pytest.approx((-0.21, -0.04))
    assert -0.2 < curve.difference[at(0.45)] < -0.05
    assert curve.low[at(0.1)] == -0.9, "below all of them anything may be lost"
    nearer = predict_loss([point(0.3, -0.2), point(0.4, -0.1), point(0.6, -0.05)], GRID, -0.9)
    assert nearer is not None
    assert nearer.high[at(0.45)] - nearer.low[at(0.45)] < curve.high[at(0.45)] - curve.low[at(0.45)]


def test_measurements_that_contradict_each_other_are_averaged_by_how_sure_they_are() -> None:
    curve = predict_loss([point(0.3, -0.1, 0.01), point(0.6, -0.2, 0.02)], GRID, -0.9)
    assert curve is not None
    assert curve.difference[at(0.3)] == pytest.approx((-0.1 * 4 - 0.2) / 5)
    assert curve.difference[at(0.6)] == pytest.approx(curve.difference[at(0.3)])


@given(points=POINTS)
def test_a_band_is_never_surer_than_what_was_measured_there(points: list[MeasuredLoss]) -> None:
    curve = predict_loss(points, np.array(sorted({p.keep for p in points})), -0.95)
    assert curve is not None
    for one in points:
        here = int(np.flatnonzero(curve.keep == one.keep)[0])
        assert curve.low[here] <= one.difference <= curve.high[here]


def test_where_a_smaller_model_is_better_the_band_is_as_wide_as_the_measurements() -> None:
    seen = [
        MeasuredLoss(0.17, -0.1, -0.18, -0.02),
        MeasuredLoss(0.42, -0.33, -0.51, -0.185),
        MeasuredLoss(0.6, -0.3, -0.45, -0.187),
    ]
    curve = predict_loss(seen, GRID, -0.9)
    assert curve is not None
    assert (curve.low[at(0.42)], curve.high[at(0.42)]) == pytest.approx((-0.51, -0.18), abs=0.01)
    between = at(0.3)
    assert (curve.low[between], curve.high[between]) == pytest.approx((-0.51, -0.02))


def test_nothing_measured_nothing_predicted() -> None:
    assert predict_loss([], GRID, -0.9) is None
    assert prediction_error([]) is None
    assert MeasuredLoss.of(0.5, Estimate("accuracy", 0.9, (0.8, 1.0), "validation", 10, 10)) is None


@given(shift=st.floats(0.05, 0.4), seed=st.integers(0, 50))
def test_a_smooth_monotone_curve_stays_in_the_band(shift: float, seed: int) -> None:
    def truth(keep: np.ndarray) -> np.ndarray:
        return -shift * (1 - keep) ** 3

    generator = np.random.default_rng(seed)
    kept = generator.random(4)
    points = [point(float(k), float(truth(k)), 0.003) for k in kept]
    curve = predict_loss(points, GRID, -1.0)
    assert curve is not None
    inside = (curve.low - 1e-9 <= truth(GRID)) & (truth(GRID) <= curve.high + 1e-9)
    assert inside.all()


def test_past_errors_by_hand() -> None:
    past = [Prediction(0.5, -0.1, -0.2, 0.0, -0.12), Prediction(0.4, -0.1, -0.11, -0.09, -0.3)]
    assert [one.inside for one in past] == [True, False]
    assert prediction_error(past) == pytest.approx((0.11, 0.5))
