from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import by_share, by_threshold, threshold_of, undecided
from asc_core.values import PartValues, Plan, Scores, Shape
from tests.plan.builders import scores_of, shape_of, shapes


@given(shapes(), st.integers(0, 99), st.sampled_from([-1.0, 0.2, 0.7, 1.0, 4.0, 99.0]))
def test_cutting_again_at_the_threshold_of_a_plan_gives_the_plan(shape: Shape, seed: int, threshold: float) -> None:
    scores = scores_of(shape, seed)
    plan = by_threshold(scores, threshold)
    again = by_threshold(scores, {kind: threshold_of(scores, plan, kind) for kind in ("heads", "neurons")})  # type: ignore[misc]
    assert again == plan


@given(shapes(), st.integers(0, 99), st.sampled_from([0.2, 0.7, 1.0]))
def test_cutting_layers_and_sublayers_again_gives_the_plan(shape: Shape, seed: int, threshold: float) -> None:
    scores = scores_of(shape, seed)
    assume(not shape.shares_weights and (scores.values.layers >= threshold).any())  # type: ignore[operator]
    plan = by_threshold(scores, threshold, kinds=("layers",))
    assert by_threshold(scores, {"layers": threshold_of(scores, plan, "layers")}) == plan  # type: ignore[dict-item]


def test_a_share_of_each_layer_has_a_threshold_in_each() -> None:
    shape = shape_of([4, 4], [0, 0])
    values = PartValues(heads=(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 30, 40])))
    scores = Scores("fisher", values, shape, "w", "t", "train", 8)
    plan = by_share(scores, 0.5)
    assert threshold_of(scores, plan, "heads", row=0) == 3
    assert threshold_of(scores, plan, "heads", row=1) == 30
    assert threshold_of(scores, plan, "heads") == 10  # as many below as the plan removes
    with pytest.raises(UserError, match="no scores for neurons"):
        threshold_of(scores, plan, "neurons")


def test_rows_that_no_kept_layer_uses_do_not_count() -> None:
    shape = shape_of([2, 2], [0, 1])
    scores = scores_of(shape, 1)
    assert threshold_of(scores, Plan.full(shape).drop(1), "neurons") is None
    assert threshold_of(scores, Plan.full(shape).drop(1), "heads") == scores.values.heads[0].min()  # type: ignore[index]


def test_undecided_are_those_whose_interval_contains_the_cut() -> None:
    shape = shape_of([4], [2])
    values = PartValues(heads=(np.array([1.0, 2, 3, 4]),), neurons=(np.array([1.0, 2]),))
    low = PartValues(heads=(np.array([0.0, 1, 2.5, 3.5]),))
    high = PartValues(heads=(np.array([2.0, 3, 3.5, 4.5]),))
    scores = Scores("fisher", values, shape, "w", "t", "train", 8, low=low, high=high)
    assert undecided(scores, 2.5).heads[0].tolist() == [False, True, False, False]  # type: ignore[index]
    assert undecided(scores, {"heads": 2.0}).heads[0].tolist() == [True, True, False, False]  # type: ignore[index]
    assert undecided(scores, 2.5).neurons is None
    plan = by_share(scores, 0.5)
    assert undecided(scores, plan).heads[0].tolist() == [False, True, True, False]  # type: ignore[index]
    assert not undecided(scores, Plan.full(shape)).heads[0].any()  # type: ignore[index]
    assert undecided(scores_of(shape), 1.0) == PartValues()


def test_undecided_is_judged_in_each_layer_where_the_plan_was_made_in_each() -> None:
    shape = shape_of([2, 2], [0, 0])
    values = PartValues(heads=(np.array([1.0, 2]), np.array([10.0, 20])))
    low = PartValues(heads=(np.array([0.9, 0.9]), np.array([9.0, 19])))
    high = PartValues(heads=(np.array([1.1, 2.1]), np.array([11.0, 21])))
    scores = Scores("fisher", values, shape, "w", "t", "train", 8, low=low, high=high)
    found = undecided(scores, by_share(scores, 0.5)).heads
    assert [row.tolist() for row in found] == [[False, True], [False, True]]  # type: ignore[union-attr]
