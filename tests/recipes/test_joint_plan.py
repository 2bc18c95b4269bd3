"""One plan for several applications."""

from __future__ import annotations

import pytest

import asc_core
from asc_core.recipes.joint_plan import joint_point, pareto_between_tasks
from asc_core.recipes.transfer_matrix import TransferMatrix
from tests.recipes.test_transfer_matrix import APPS, ASKED

pytestmark = pytest.mark.slow


def test_the_ends_of_the_trade_off_are_each_applications_own_plan() -> None:
    matrix = TransferMatrix(APPS, ASKED)
    points = list(pareto_between_tasks(matrix, points=3))
    assert [p.weights for p in points] == [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    assert [points[0].plan, points[2].plan] == [matrix.plan("mood", APPS[0]), matrix.plan("pair", APPS[1])]
    for point in points:
        assert len(point.estimates) == 2
        assert all(e.difference is not None for e in point.estimates)


def test_a_shared_plan_is_within_the_budget_of_every_application() -> None:
    matrix = TransferMatrix(APPS, ASKED)
    plan = joint_point(matrix, (1, 2), "max").plan
    for app in APPS:
        costs = asc_core.task_cost_model(app.encoder, app.task)
        assert 0.4 < costs.cost(plan).encoder_parameters / costs.dense.encoder_parameters <= 0.5
