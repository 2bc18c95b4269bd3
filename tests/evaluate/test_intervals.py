from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.evaluate.intervals import difference_interval, least_half_width, tango, value_interval, wilson
from asc_core.tasks import metrics
from asc_core.tasks.base import Metric

pytestmark = pytest.mark.slow

ACCURACY = metrics.accuracy().metric
F1 = metrics.binary_f1(1).metric
MCC = metrics.mcc(2).metric
SPEARMAN = metrics.spearman().metric
RUNS = 400
CHANCE = 2.6 * (0.95 * 0.05 / RUNS) ** 0.5  # one in 200 series of as many runs covers less often than it should by this
LEAST = 0.95 - CHANCE
LEAST_BOOTSTRAP = LEAST - 0.01  # 1,500 runs showed 0.94 at n = 250


def right(generator: np.random.Generator, n: int, share: float) -> np.ndarray:
    return (generator.random((n, 1)) < share).astype(float)


def changed(generator: np.random.Generator, rows: np.ndarray, lost: float, gained: float) -> np.ndarray:
    flips = generator.random(rows.shape)
    return np.where(rows > 0, flips >= lost, flips < gained).astype(float)


def statistics_of(metric: Metric, rows: np.ndarray) -> np.ndarray:
    """rows: those of F1."""
    if metric is F1:
        return rows
    decided, gold = rows[:, 1].astype(int), rows[:, 2].astype(int)
    return metrics.mcc(2).statistics(decided, gold)


def f1_rows(generator: np.random.Generator, n: int, error: float, gold: np.ndarray | None = None) -> np.ndarray:
    gold = generator.random(n) < 0.3 if gold is None else gold
    decided = gold ^ (generator.random(n) < error)
    return np.stack([gold & decided, decided, gold], 1).astype(float)


def share_that_covers(intervals: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in intervals]))


@pytest.mark.parametrize(("share", "n"), [(0.9, 64), (0.98, 100), (0.5, 250)])
def test_wilson_covers(share: float, n: int) -> None:
    generator = np.random.default_rng(1)
    found = [value_interval(ACCURACY, right(generator, n, share)) for _ in range(RUNS)]
    assert share_that_covers(found, share) >= LEAST


@pytest.mark.parametrize(("lost", "gained"), [(0.0, 0.0), (0.02, 0.02), (0.1, 0.1), (0.05, 0.6), (0.3, 0.2)])
@pytest.mark.parametrize("n", [64, 250])
def test_the_paired_interval_of_accuracies_covers_and_is_no_wider_than_it_has_to_be(
    lost: float, gained: float, n: int
) -> None:
    generator = np.random.default_rng(2)
    found, spread = [], []
    for _ in range(RUNS):
        original = right(generator, n, 0.9)
        smaller = changed(generator, original, lost, gained)
        found.append(difference_interval(ACCURACY, smaller, original))
        spread.append(smaller.mean() - original.mean())
    assert share_that_covers(found, 0.1 * gained - 0.9 * lost) >= LEAST
    normal = 2 * 1.96 * np.std(spread)
    assert np.mean([high - low for low, high in found]) <= 1.25 * normal + 2 * least_half_width(n) + 1e-9


@pytest.mark.parametrize("metric", [F1, MCC])
def test_bootstrapped_intervals_cover(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    truth, worse = (metric.value(statistics_of(metric, f1_rows(generator, 1_000_000, e))) for e in (0.05, 0.09))
    values, differences = [], []
    for _ in range(RUNS):
        gold = generator.random(250) < 0.3
        original, smaller = (statistics_of(metric, f1_rows(generator, 250, e, gold)) for e in (0.05, 0.09))
        values.append(value_interval(metric, original))
        differences.append(difference_interval(metric, smaller, original))
    assert share_that_covers(values, truth) >= LEAST_BOOTSTRAP
    assert share_that_covers(differences, worse - truth) >= LEAST_BOOTSTRAP


def test_intervals_of_a_metric_that_is_no_function_of_sums_cover() -> None:
    median = Metric("median", ("value",), from_rows=lambda rows: float(np.median(rows)), bounds=(0.0, np.inf))
    generator = np.random.default_rng(4)
    found = [value_interval(median, generator.exponential(size=(101, 1)), seed=i) for i in range(100)]
    assert share_that_covers(found, np.log(2)) >= 0.88  # 100 runs: 0.95 falls below that once in 250 times


def test_no_interval_goes_beyond_what_the_metric_can_be() -> None:
    generator = np.random.default_rng(6)
    rows = f1_rows(generator, 24, 0.1)
    value, (low, high) = F1.value(rows), value_interval(F1, rows, alpha=0.001)
    assert low < value < high == 1.0
    wrong = rows * np.array([0.0, 1.0, 1.0])
    assert difference_interval(F1, wrong, rows, alpha=0.001)[0] == -1.0
    unrelated = generator.normal(size=(24, 2))
    low, high = value_interval(SPEARMAN, unrelated)
    assert -1.0 <= low < 0.0 < high <= 1.0


@pytest.mark.parametrize("metric", [ACCURACY, F1, SPEARMAN])
def test_two_models_that_answer_alike_differ_by_0_but_not_for_sure(metric: Metric) -> None:
    generator = np.random.default_rng(5)
    rows = right(generator, 100, 0.9) if metric is ACCURACY else f1_rows(generator, 100, 0.1)[:, : len(metric.columns)]
    low, high = difference_interval(metric, rows, rows)
    assert low == pytest.approx(-least_half_width(100), abs=1e-6)
    assert high == pytest.approx(least_half_width(100), abs=1e-6)


@given(n=st.integers(1, 300), data=st.data())
def test_intervals_hold_the_value_and_mirror_when_the_models_are_swapped(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    low, high = tango(gained, lost, n)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert high - low > 0
    assert tango(lost, gained, n) == (pytest.approx(-high, abs=1e-6), pytest.approx(-low, abs=1e-6))
    low, high = wilson(gained, n)
    assert 0 <= low <= gained / n <= high <= 1


def test_tango_gives_the_published_interval() -> None:
    """Fagerland, Lydersen and Laake 2014, table II: airway hyper-responsiveness before and after transplantation."""
    low, high = tango(1, 7, 21)
    assert (low, high) == (pytest.approx(-0.517, abs=1e-3), pytest.approx(-0.026, abs=1e-3))


def test_pairing_makes_the_interval_tighter() -> None:
    generator = np.random.default_rng(6)
    original = f1_rows(generator, 1000, 0.1)
    smaller = original.copy()
    smaller[:20] = f1_rows(generator, 20, 0.5, original[:20, 2] > 0)
    paired = np.subtract(*difference_interval(F1, smaller, original)[::-1])
    apart = np.subtract(*difference_interval(F1, smaller[generator.permutation(1000)], original)[::-1])
    assert paired < 0.5 * apart


def test_a_draw_of_different_rows_is_a_draw_of_rows() -> None:
    """Rows drawn by how often they occur, and rows drawn one by one: the same distribution, so the same interval."""
    generator = np.random.default_rng(7)
    few = f1_rows(generator, 2000, 0.1)
    unique = np.column_stack([few, np.arange(2000) * 1e-9])  # a fourth column, that F1 does not look at
    wide = Metric("f1", (*F1.columns, "noise"), from_sums=lambda sums: metrics.f1_of_sums(sums[..., :3]))
    assert value_interval(wide, unique) == pytest.approx(value_interval(F1, few), abs=0.004)


def test_the_same_seed_gives_the_same_interval() -> None:
    rows = f1_rows(np.random.default_rng(8), 300, 0.1)
    assert value_interval(F1, rows, seed=1) == value_interval(F1, rows, seed=1)
    assert value_interval(F1, rows, seed=1) != value_interval(F1, rows, seed=2)
