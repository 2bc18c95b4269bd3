from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from asc_core.errors import UserError
from asc_core.scores import sweep
from asc_core.scores.task_specificity import _welch, head_shares, holm, permutation_test
from tests.scores.toy import ToyTask
from tests.tiny import tiny


def shares(seed: int, n: int, concentration: list[float]) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(concentration, n)


def test_shares_are_those_of_the_fisher_scores_of_single_examples() -> None:
    encoder, task = tiny(), ToyTask(6)
    found = head_shares(encoder, task)
    assert found.shape == (6, 12)
    np.testing.assert_allclose(found.sum(1), 1)
    for i, row in enumerate(task.rows):
        alone = ToyTask(1)
        alone.rows = [row]
        fisher = sweep(encoder, alone, ["fisher"])["fisher"].values.heads
        assert fisher is not None
        flat = np.concatenate(fisher)
        np.testing.assert_allclose(found[i], flat / flat.sum(), rtol=1e-3, atol=1e-6)


def test_the_windows_of_an_example_count_together() -> None:
    encoder, task = tiny(), ToyTask(6, windows=True)
    assert head_shares(encoder, task).shape == (6, 12)


def test_a_planted_difference_is_found_and_nothing_else() -> None:
    a, b = shares(0, 60, [4, 1, 1, 1, 1, 1]), shares(1, 80, [1, 1, 1, 1, 1, 1])
    found = permutation_test(a, b, permutations=1999)
    assert found.adjusted[0] < 0.05
    assert (found.adjusted[1:] > 0.5).all()
    assert found.difference[0] > 0
    both = permutation_test(b, a, alternative="two-sided", permutations=1999)
    assert both.adjusted[0] < 0.05
    assert both.difference[0] < 0
    assert permutation_test(b, a, permutations=499).p[0] > 0.9


def test_p_agrees_with_scipy_permutation_test() -> None:
    a, b = shares(0, 12, [2, 1, 1]), shares(1, 15, [1, 1, 1])

    def statistic(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic

    found = permutation_test(a, b, permutations=9999)
    for head in range(3):
        expected = stats.permutation_test(
            (a[:, head], b[:, head]), statistic, n_resamples=4999, alternative="greater", vectorized=True, rng=0
        )
        assert found.p[head] == pytest.approx(expected.pvalue, abs=0.02)


def test_the_statistic_is_welchs() -> None:
    a, b = shares(0, 12, [2, 1, 1]), shares(1, 15, [1, 1, 1])
    t = _welch(np.concatenate([a, b]), np.arange(27)[None, :] < 12)[0]
    np.testing.assert_allclose(t, stats.ttest_ind(a, b, equal_var=False).statistic)


@pytest.mark.parametrize("spread", [1, 8], ids=["equal spreads", "other spreads and sizes, where means would mislead"])
def test_under_the_null_hypothesis_few_are_rejected(spread: float) -> None:
    rejected = []
    for trial in range(60):
        a = shares(2 * trial, 30, [1.0] * 8)
        b = shares(2 * trial + 1, 90, [spread] * 8)  # the same means
        rejected.append(permutation_test(a, b, permutations=199, seed=trial, alternative="two-sided").p < 0.05)
    assert 0.02 <= np.mean(rejected) <= 0.09


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=20))
@settings(deadline=None)
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    adjusted = holm(np.asarray(p))
    order = np.argsort(p, kind="stable")
    rejecting, expected = True, np.zeros(len(p), dtype=bool)
    for i, index in enumerate(order):
        rejecting = rejecting and p[index] * (len(p) - i) <= 0.05
        expected[index] = rejecting
    np.testing.assert_array_equal(adjusted <= 0.05, expected)


def test_bh_is_scipys() -> None:
    a, b = shares(0, 60, [3, 1, 1, 1]), shares(1, 60, [1, 1, 1, 1])
    found = permutation_test(a, b, correction="bh", permutations=499)
    np.testing.assert_allclose(found.adjusted, stats.false_discovery_control(found.p))


def test_what_cannot_be_tested_is_one_sentence() -> None:
    with pytest.raises(UserError, match="same shape"):
        permutation_test(np.ones((9, 3)), np.ones((9, 4)))
    with pytest.raises(UserError, match="too few"):
        permutation_test(np.ones((9, 3)), np.ones((2, 3)))
