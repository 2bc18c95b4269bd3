"""Which examples a smaller model decides otherwise, class by class."""

from __future__ import annotations

import numpy as np
import pytest

from asc_core.evaluate.changes import FEWEST, Changes, ClassChange, changes, right
from asc_core.evaluate.per_example import PerExampleResult
from asc_core.tasks import metrics
from asc_core.tasks.metrics import Measure


def result(measure: Measure, decided: list[int], gold: list[int]) -> PerExampleResult:
    rows = measure.statistics(np.array(decided), np.array(gold))
    return PerExampleResult(measure.metric.name, "test", np.arange(len(gold)), rows, len(gold))


GOLD = [0] * 6 + [1] * 6 + [2] * (FEWEST - 1)
BEFORE = [0] * 6 + [1] * 5 + [0] + [2] * (FEWEST - 1)
AFTER = [0] * 3 + [1] * 3 + [1] * 6 + [0] * (FEWEST - 1)
NAMES = [("good", "bad | worse", "rare")[label : label + 1] for label in GOLD]


@pytest.mark.parametrize(
    "measure", [metrics.accuracy(), metrics.macro_f1(3), metrics.mcc(3)], ids=lambda m: m.metric.name
)
def test_lost_won_and_the_classes_that_lost_most(measure: Measure) -> None:
    found = changes(result(measure, BEFORE, GOLD), result(measure, AFTER, GOLD), measure.metric, NAMES)
    assert found == Changes(
        len(GOLD), 3 + FEWEST - 1, 1, (ClassChange("good", 6, 6, 3), ClassChange("bad | worse", 6, 5, 6))
    )


def test_only_examples_that_both_answered_count() -> None:
    measure = metrics.accuracy()
    before, after = result(measure, BEFORE, GOLD), result(measure, AFTER[:6], GOLD[:6])
    found = changes(before, after, measure.metric, NAMES[:6])
    assert found is not None
    assert (found.examples, found.lost, found.won) == (6, 3, 0)


def test_words_have_to_be_right_all_of_a_text() -> None:
    measure = metrics.word_accuracy()
    rows = measure.statistics([["A", "B"], ["A", "A"]], [["A", "B"], ["A", "B"]])
    assert right(rows, measure.metric.columns).tolist() == [True, False]  # type: ignore[union-attr]


def test_a_correlation_says_nothing_of_single_examples() -> None:
    measure = metrics.pearson()
    same = result(measure, BEFORE, GOLD)
    assert changes(same, same, measure.metric, NAMES) is None
