from __future__ import annotations

import numpy as np
import pytest

from asc_core.progress import ABLATING, removing
from dashboard.background.work_estimate import WorkEstimate
from tests.dashboard.synthetic import SHAPE, SHARED


def test_the_effort_counts_each_ablated_part_from_its_own_layer_upwards() -> None:
    work_estimate = WorkEstimate.of(SHAPE, methods=2, samples=10, held_out=0)
    each_layer = 4 + 2 + 1  # heads, two sublayers, the layer
    assert work_estimate.ablation == pytest.approx(1 + 10 * each_layer * (1 + 2 / 3 + 1 / 3))
    assert WorkEstimate.of(SHAPE, 2, 10, 0, truth_known=True).ablation == 0


def test_more_methods_and_more_examples_take_longer() -> None:
    small = WorkEstimate.of(SHAPE, 2, 64, 64).total
    assert small < WorkEstimate.of(SHAPE, 5, 64, 64).total
    assert WorkEstimate.of(SHAPE, 2, 128, 128).total == pytest.approx(2 * small, rel=0.01)
    assert WorkEstimate.of(SHARED, 2, 64, 64).layers == 0


def test_progress_runs_from_nothing_to_all_without_going_back() -> None:
    work_estimate = WorkEstimate.of(SHAPE, 3, 64, 64)
    steps = [
        work_estimate.done(done, 4, phase)
        for phase in (ABLATING, removing("heads"), removing("layers"))
        for done in range(5)
    ]
    assert steps[0] == 0
    assert steps[-1] == pytest.approx(work_estimate.total)
    assert np.all(np.diff(steps) >= 0)
