"""Metrics against the libraries that define them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import f1_score, matthews_corrcoef

from asc_core.tasks import metrics

classes = st.integers(2, 5)
TAGS = ["O", "B-city", "I-city", "B-date", "I-date", "E-city", "S-date", "VERB"]


@st.composite
def decisions(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    count = draw(classes)
    pairs = draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2), min_size=1, max_size=30))
    decided, gold = np.asarray(pairs).T
    return count, decided, gold


@settings(max_examples=40)
@given(decisions())
def test_macro_f1_equals_that_of_sklearn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    count, decided, gold = case
    measure = metrics.macro_f1(count)
    ours = measure.metric.value(measure.statistics(decided, gold))
    assert ours == pytest.approx(f1_score(gold, decided, average="macro", zero_division=0))


@settings(max_examples=40)
@given(decisions())
@pytest.mark.filterwarnings("ignore:A single label")
def test_mcc_equals_that_of_sklearn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    count, decided, gold = case
    measure = metrics.mcc(count)
    assert measure.metric.value(measure.statistics(decided, gold)) == pytest.approx(matthews_corrcoef(gold, decided))


@settings(max_examples=40)
@given(decisions())
def test_f1_of_one_class_equals_that_of_sklearn(case: tuple[int, np.ndarray, np.ndarray]) -> None:
    _, decided, gold = case
    measure = metrics.binary_f1(1)
    ours = measure.metric.value(measure.statistics(decided, gold))
    assert ours == pytest.approx(f1_score(gold == 1, decided == 1, zero_division=0))


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.lists(st.booleans(), min_size=3, max_size=3)] * 2), min_size=1, max_size=20))
def test_multi_label_f1_equals_that_of_sklearn(rows: list[tuple[list[bool], list[bool]]]) -> None:
    decided, gold = np.asarray([r[0] for r in rows]), np.asarray([r[1] for r in rows])
    micro, macro = metrics.multi_label_micro_f1(), metrics.multi_label_macro_f1(3)
    assert micro.metric.value(micro.statistics(decided, gold)) == pytest.approx(
        f1_score(gold, decided, average="micro", zero_division=0)
    )
    present = np.flatnonzero(gold.any(0) | decided.any(0)).tolist()
    expected = f1_score(gold, decided, average="macro", labels=present, zero_division=0) if present else 0
    assert macro.metric.value(macro.statistics(decided, gold)) == pytest.approx(expected)


numbers = st.integers(-50, 50).map(lambda n: n / 10)


@settings(max_examples=40)
@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=30))
def test_correlations_equal_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    x, y = np.asarray(pairs).T
    for measure, theirs in ((metrics.pearson(), pearsonr), (metrics.spearman(), spearmanr)):
        ours = measure.metric.value(measure.statistics(x, y))
        constant = len(set(x)) == 1 or len(set(y)) == 1
        assert ours == pytest.approx(0 if constant else theirs(x, y).statistic, abs=1e-6)


sentences = st.lists(st.lists(st.tuples(*[st.sampled_from(TAGS)] * 2), min_size=1, max_size=8), min_size=1, max_size=8)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40)
@given(sentences)
def test_summed_entity_counts_give_the_f1_of_seqeval(pairs: list[list[tuple[str, str]]]) -> None:
    decided = [[p for p, _ in sentence] for sentence in pairs]
    gold = [[g for _, g in sentence] for sentence in pairs]
    measure = metrics.entity_f1()
    assert measure.metric.value(measure.statistics(decided, gold)) == pytest.approx(
        seqeval_f1(gold, decided, zero_division=0)
    )


@pytest.mark.parametrize(
    "measure",
    [metrics.macro_f1(3), metrics.mcc(3), metrics.binary_f1(1)],
    ids=lambda measure: measure.metric.name,
)
def test_a_metric_of_sums_takes_many_resamples_at_once(measure: metrics.Measure) -> None:
    generator = np.random.default_rng(0)
    statistics = measure.statistics(generator.integers(0, 3, 40), generator.integers(0, 3, 40))
    assert statistics.shape == (40, len(measure.metric.columns))
    weights = generator.multinomial(40, np.full(40, 1 / 40), size=7)  # (resamples, examples)
    assert measure.metric.from_sums is not None
    many = measure.metric.from_sums(weights @ statistics)
    one_by_one = [measure.metric.value(np.repeat(statistics, w, axis=0)) for w in weights]
    np.testing.assert_allclose(many, one_by_one)


def test_a_class_that_the_task_does_not_have_is_a_miss() -> None:
    measure = metrics.macro_f1(2)
    statistics = measure.statistics(np.asarray([-1, 1]), np.asarray([0, 1]))
    assert measure.metric.value(statistics) == 0.5


def test_word_accuracy_counts_words_not_texts() -> None:
    measure = metrics.word_accuracy()
    assert measure.metric.value(measure.statistics([["O", "B-x"], ["O"]], [["O", "O"], ["O"]])) == pytest.approx(2 / 3)
