from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from asc_core.errors import UserError
from asc_core.scores.compare import (
    _kendall_of_draws,
    agreement,
    agreement_matrix,
    agreement_of,
    lowest,
    redundancy,
    spearman,
    top_overlap,
)
from asc_core.values import PartValues, Scores, Shape

pytestmark = pytest.mark.slow

SHAPE = Shape("bert", 24, 6, (3, 2), (4, 4), (0, 1))
numbers = st.lists(st.integers(0, 9), min_size=5, max_size=30)


def scored(task: str, heads: list[float], shape: Shape = SHAPE) -> Scores:
    split = np.split(np.asarray(heads, dtype=np.float64), np.cumsum(shape.heads)[:-1])
    return Scores("fisher", PartValues(heads=tuple(split)), shape, "w", task, "train", 10)


@given(numbers, st.integers(0, 2**31))
@settings(deadline=None)
def test_correlations_equal_those_of_scipy_with_ties_too(a: list[int], seed: int) -> None:
    x = np.asarray(a, dtype=float)
    y = np.random.default_rng(seed).integers(0, 6, len(x)).astype(float)
    if len(set(a)) == 1 or len(set(y)) == 1:
        assert np.isnan(spearman(x, y))
        return
    found = agreement_of(x, y)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.kendall == pytest.approx(stats.kendalltau(x, y).statistic)


def test_kendall_of_draws_equals_scipy_on_the_drawn_parts() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=12), generator.integers(0, 4, 12).astype(float)
    drawn = generator.integers(12, size=(20, 12))
    counts = np.stack([np.bincount(d, minlength=12) for d in drawn]).astype(float)
    expected = [stats.kendalltau(a[d], b[d]).statistic for d in drawn]
    np.testing.assert_allclose(_kendall_of_draws(a, b, counts), expected)


@given(numbers, st.floats(0.05, 1))
@settings(deadline=None)
def test_a_score_agrees_with_itself_wholly_and_with_its_reverse_not_at_all(a: list[int], share: float) -> None:
    x = np.asarray(a, dtype=float)
    assert top_overlap(x, x, share) == pytest.approx(1)
    unique = x + np.linspace(0, 0.5, len(x))
    assert top_overlap(unique, np.zeros(len(x)), share) == pytest.approx(max(1, round(share * len(x))) / len(x))
    distinct = np.arange(20.0)
    found = agreement_of(distinct, distinct)
    assert (found.spearman, found.kendall, found.top_overlap) == (pytest.approx(1), pytest.approx(1), 1)
    against = agreement_of(distinct, -distinct)
    assert (against.spearman, against.kendall, against.top_overlap) == (pytest.approx(-1), pytest.approx(-1), 0)


def test_top_overlap_by_hand() -> None:
    a = np.array([9.0, 8, 7, 6, 1, 1, 1, 1])
    b = np.array([9.0, 1, 8, 1, 7, 1, 6, 1])
    assert top_overlap(a, b, 0.5) == 0.5  # 0, 1, 2, 3 against 0, 2, 4, 6
    assert top_overlap(a, b, 0.25) == 0.5
    assert top_overlap(a, np.array([2.0, 2, 2, 2, 1, 1, 1, 1]), 0.25) == 0.5  # two places among four equals


def test_the_interval_covers_the_correlation_of_the_population() -> None:
    generator = np.random.default_rng(1)
    rho = 0.6
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman's rho of a normal pair with Pearson's
    covered = []
    for _ in range(60):
        a, noise = generator.normal(size=(2, 72))
        found = agreement_of(a, rho * a + np.sqrt(1 - rho**2) * noise)
        assert found.spearman_interval is not None
        covered.append(found.spearman_interval[0] <= truth <= found.spearman_interval[1])
    assert 0.85 <= np.mean(covered) <= 1.0


def test_a_handful_of_parts_has_no_interval() -> None:
    found = agreement_of(np.arange(6.0), np.arange(6.0))
    assert found.spearman_interval is None
    assert found.to_json()["spearman_interval"] is None


def test_matrix_over_applications() -> None:
    a, b, c = scored("a", [1, 2, 3, 4, 5]), scored("b", [5, 4, 3, 2, 1]), scored("c", [1, 3, 2, 4, 5])
    matrix = agreement_matrix([a, b, c], "heads")
    np.testing.assert_allclose(matrix, [[1, -1, 0.9], [-1, 1, -0.9], [0.9, -0.9, 1]])
    assert agreement(a, c, "heads").spearman == pytest.approx(matrix[0, 2])


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_a_share_of_six_is_as_many_as_fit_into_it(share: float) -> None:
    found = lowest(np.array([3.0, 1.0, 2.0, 2.0, 9.0, 5.0]), share)
    assert found.sum() == int(share * 6)
    assert not found[[4, 5]].any() or share == 1.0


def test_redundant_for_all_and_needed_by_one_by_hand() -> None:
    found = redundancy([scored("a", [1, 2, 9, 8, 3]), scored("b", [10, 70, 60, 20, 80])], "heads", share=0.4)
    np.testing.assert_array_equal(found.redundant, [[1, 1, 0, 0, 0], [1, 0, 0, 1, 0]])
    np.testing.assert_array_equal(found.for_how_many, [2, 1, 0, 1, 0])
    np.testing.assert_array_equal(found.for_all, [True, False, False, False, False])
    np.testing.assert_array_equal(found.needed_by_one, [-1, 1, -1, 0, -1])
    same = redundancy([scored("a", [1, 2, 9, 8, 3]), scored("b", [10, 70, 60, 20, 80])], "heads", thresholds=[3, 21])
    np.testing.assert_array_equal(same.redundant, found.redundant)


def test_among_equals_a_share_takes_as_many_as_it_says() -> None:
    found = redundancy([scored("a", [1, 1, 1, 1, 1])], "heads", share=0.4)
    np.testing.assert_array_equal(found.redundant, [[False, False, False, True, True]])


def test_what_cannot_be_compared_is_one_sentence() -> None:
    other = scored("b", [1, 2, 3], Shape("bert", 24, 6, (2, 1), (4, 4), (0, 1)))
    with pytest.raises(UserError, match="different encoders"):
        agreement(scored("a", [1, 2, 3, 4, 5]), other, "heads")
    with pytest.raises(UserError, match="no scores for layers"):
        agreement(scored("a", [1, 2, 3, 4, 5]), scored("b", [1, 2, 3, 4, 5]), "layers")
    with pytest.raises(UserError, match="either a share"):
        redundancy([scored("a", [1, 2, 3, 4, 5])], "heads")
    with pytest.raises(UserError, match="one for each"):
        redundancy([scored("a", [1, 2, 3, 4, 5])], "heads", thresholds=[1, 2])
    with pytest.raises(UserError, match="no scores to compare"):
        agreement_matrix([], "heads")
