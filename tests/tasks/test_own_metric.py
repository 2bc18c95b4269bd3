"""A metric of one's own: a function of gold labels and decisions, with intervals like any other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, mean_absolute_error

from asc_core.errors import UserError
from asc_core.evaluate import evaluate
from asc_core.tasks import Task, load_task
from tests.tiny import WORDS, tiny

PLAIN = [word for word in WORDS[5:] if word.isalpha()]
TEXTS = [f"{PLAIN[i % 20]} the {PLAIN[i // 20]} {PLAIN[i * 7 % 20]} on" for i in range(60)]
CLASSES = {"test": [{"text": text, "label": ["x", "y", "z"][i % 3]} for i, text in enumerate(TEXTS)]}
TAGS = {"test": [{"tokens": text.split(), "tags": [["B-x", "O"][i % 2], *["O"] * 3]} for i, text in enumerate(TEXTS)]}
TAGS["test"] = [row | {"tags": ["O", *row["tags"]][: len(row["tokens"])]} for row in TAGS["test"]]


def kappa(gold: Any, decided: Any) -> float:
    return cohen_kappa_score(gold, decided)


def task(**options: Any) -> Task:
    return load_task(CLASSES, split="test", **options)


def test_it_is_called_with_gold_labels_first_and_has_an_interval() -> None:
    encoder = tiny(labels=["x", "y", "z"])
    macro = evaluate(encoder, task(metric=lambda gold, decided: f1_score(gold, decided, average="macro")), "test")
    ours = evaluate(encoder, task(metric="macro-f1"), "test")
    assert macro.value == pytest.approx(ours.value)
    assert macro.interval[0] < macro.value < macro.interval[1]
    assert macro.interval == pytest.approx(ours.interval, abs=0.05)
    recall = evaluate(encoder, task(metric=lambda gold, decided: (decided[gold == 0] == 0).mean()), "test")
    precision = evaluate(encoder, task(metric=lambda decided, gold: (decided[gold == 0] == 0).mean()), "test")
    assert recall.value != precision.value


def test_a_metric_is_called_as_the_function_is_and_has_no_bounds() -> None:
    assert task(metric=kappa).metric.name == "kappa"
    assert task(metric=lambda gold, decided: 7.0).metric.name == "metric"
    found = evaluate(tiny(labels=["x", "y", "z"]), task(metric=lambda gold, decided: -250.0), "test")
    assert found.value == -250


def test_sets_and_numbers() -> None:
    encoder = tiny(labels=["x", "y", "z"])
    rows = {"test": [{"text": text, "x": i % 2, "y": i % 3 == 0, "z": 1} for i, text in enumerate(TEXTS)]}
    several = load_task(rows, split="test", kind="multi-label", label=["x", "y", "z"],
                        metric=lambda gold, decided: f1_score(gold, decided, average="micro"))  # fmt: skip
    plain = load_task(rows, split="test", kind="multi-label", label=["x", "y", "z"])
    assert evaluate(encoder, several, "test").value == pytest.approx(evaluate(encoder, plain, "test").value)
    numbers = {"test": [{"text": text, "y": i / 7} for i, text in enumerate(TEXTS)]}
    error = load_task(numbers, split="test", metric=lambda gold, decided: -mean_absolute_error(gold, decided))
    found = evaluate(tiny(num_labels=1, labels=["y"]), error, "test")
    assert -10 < found.value < 0


def test_tags_are_handed_over_example_by_example() -> None:
    encoder = tiny(head="token-classification", labels=["O", "B-x"], num_labels=2)
    seen = []

    def exact(gold: list[str], decided: list[str]) -> float:
        seen.append((gold, decided))
        return float(gold == decided)

    found = evaluate(encoder, load_task(TAGS, split="test", metric=exact), "test")
    assert len(seen) == 60
    assert found.value == pytest.approx(np.mean([gold == decided for gold, decided in seen]))


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (lambda gold: 1.0, "The metric metric fails .TypeError"),
        (lambda gold, decided: "high", "gives 'high', not a number"),
        (lambda gold, decided: gold == decided, "not a number: it is to give one for all examples"),
        (lambda gold, decided: float("nan"), "gives nan on 60 test examples"),
    ],
)
def test_what_gives_no_number_is_refused(metric: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        evaluate(tiny(labels=["x", "y", "z"]), task(metric=metric), "test")


def test_draws_on_which_it_is_not_defined_are_left_out() -> None:
    rows = {"test": [{"text": text, "label": "yx"[i == 7]} for i, text in enumerate(TEXTS)]}

    def recall_of_the_rare(gold: Any, decided: Any) -> float:
        """One of sixty: a third of all draws have none."""
        rare = decided[gold == 0]
        return float((rare == 0).mean()) if len(rare) else float("nan")

    found = evaluate(tiny(labels=["x", "y"], num_labels=2), load_task(rows, split="test", metric=recall_of_the_rare),
                     "test")  # fmt: skip
    assert found.value in (0, 1)
    assert np.isfinite(found.interval).all()


def test_results_of_another_function_are_not_taken_for_these() -> None:
    digests = {
        task().digest("test"),
        task(metric=kappa).digest("test"),
        task(metric=lambda gold, decided: 1.0).digest("test"),
        task(metric=lambda gold, decided: 2.0).digest("test"),
    }
    assert len(digests) == 4
    assert task(metric=kappa).digest("test") in digests


def test_where_there_are_no_labels_there_is_no_other_metric() -> None:
    with pytest.raises(UserError, match="has no labels"):
        load_task(CLASSES, split="test", label=None, metric=kappa)
