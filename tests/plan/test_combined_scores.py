"""One plan for several applications: shares of need, combined."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import by_share
from asc_core.plan.combined_scores import REDUCTIONS, Reduction, combined_scores
from asc_core.values import PartValues, Scores, Shape

SHAPE = Shape("bert", 8, 2, (2, 2), (3, 3), (0, 1))


def scores(heads: list[list[float]], neurons: list[list[float]], task: str = "a", weights: str = "w") -> Scores:
    values = PartValues(tuple(map(np.array, heads)), tuple(map(np.array, neurons)), layers=np.array([1.0, 3.0]))
    return Scores("fisher", values, SHAPE, weights, task, "train", 10)


A = scores([[4, 0], [0, 0]], [[1, 1, 1], [1, 1, 1]])
B = scores([[0, 0], [0, 30]], [[10, 10, 10], [10, 10, 10]], "b", "v")


def test_by_hand() -> None:
    # A's total is 10, B's 90.
    most = combined_scores([A, B], "max")
    assert most.values.heads is not None
    assert most.values.neurons is not None
    np.testing.assert_allclose(np.concatenate(most.values.heads), [0.2, 0, 0, 1 / 6])
    np.testing.assert_allclose(np.concatenate(most.values.neurons), [1 / 18] * 6)
    weighted = combined_scores([A, B], "sum", [3, 1])
    assert weighted.values.heads is not None
    np.testing.assert_allclose(np.concatenate(weighted.values.heads), [0.3, 0, 0, 1 / 12])
    assert weighted.task == "a + b"
    assert weighted.weights == ""  # it belongs to neither model
    assert combined_scores([A, replace(A, task="c")]).weights == "w"


@given(scale=st.floats(1e-3, 1e3), reduce=st.sampled_from(REDUCTIONS))
def test_the_scale_of_an_applications_scores_does_not_matter(scale: float, reduce: Reduction) -> None:
    heads = tuple(h * scale for h in B.values.heads or ())
    neurons = tuple(n * scale for n in B.values.neurons or ())
    louder = replace(B, values=PartValues(heads, neurons, layers=B.values.layers))
    one, other = combined_scores([A, B], reduce), combined_scores([A, louder], reduce)
    for name, values in one.values.arrays().items():
        np.testing.assert_allclose(values, other.values.arrays()[name])


@given(st.lists(st.integers(0, 1000).map(float), min_size=10, max_size=10), st.sampled_from(REDUCTIONS))
def test_all_the_weight_on_one_application_is_its_own_plan(numbers: list[float], reduce: Reduction) -> None:
    random = scores([numbers[0:2], numbers[2:4]], [numbers[4:7], numbers[7:10]])
    both = combined_scores([random, B], reduce, [1, 0])
    shares = {"keep_heads": 0.5, "keep_neurons": 0.5, "scope": "global"}
    assert by_share(both, **shares) == by_share(random, **shares)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given_scores", "options", "says"),
    [
        ([], {}, "no scores to combine"),
        ([A, replace(B, method="michel")], {}, "different methods"),
        ([A, replace(B, shape=replace(SHAPE, hidden=16))], {}, "different shapes"),
        ([A, B], {"weights": [1.0]}, "one weight"),
        ([A, B], {"weights": [0.0, 0.0]}, "one weight"),
        ([A, B], {"weights": [1.0, -1.0]}, "one weight"),
        ([A, B], {"reduce": "min"}, "combined by"),
    ],
)
def test_what_cannot_be_combined_is_refused(given_scores: list[Scores], options: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        combined_scores(given_scores, **options)
