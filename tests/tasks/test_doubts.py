"""What looks wrong is said, and what is merely bad or small is not."""

import numpy as np
import pytest

from asc_core.evaluate import evaluate
from asc_core.tasks import task_from_rows
from asc_core.tasks.doubts import better_order, doubts_of_classes, doubts_of_flags, doubts_of_numbers
from tests.tasks.running import predictions
from tests.tiny import WORDS, tiny

NAMES = ["a", "b", "c", "d"]


def _drawn(seed: int, n: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 4, n)
    return np.where(generator.random(n) < right, gold, generator.integers(0, 4, n)), gold


@pytest.mark.parametrize("right", [0.3, 0.6, 1.0])
def test_an_order_of_classes_that_fits_better_is_named(right: float) -> None:
    decided, gold = _drawn(0, 400, right)
    order = np.asarray([2, 0, 1, 3])
    (said,) = doubts_of_classes(decided, order[gold], NAMES)
    assert "output 0 meant c, output 1 meant a, output 2 meant b" in said
    assert "output 3" not in said
    assert doubts_of_classes(decided, gold, NAMES) == []


def test_false_alarms_are_rare() -> None:
    """Orders are chosen to fit, so an ordinary test would find a better one among 24 far too often."""
    alarms = 0
    for seed in range(300):
        decided, gold = _drawn(seed, 120, 0.0)
        counts = np.zeros((4, 4))
        np.add.at(counts, (decided, gold), 1)
        alarms += better_order(counts) is not None
    assert alarms <= 15


def test_a_model_without_a_clue_is_named_whatever_the_shares_of_the_classes() -> None:
    generator = np.random.default_rng(1)
    gold = (generator.random(400) < 0.9).astype(int)
    for decided in (np.ones(400, dtype=int), generator.permutation(gold)):
        assert "no better than chance" in doubts_of_classes(decided, gold, ["no", "yes"])[0]
    some = np.where(generator.random(400) < 0.3, gold, generator.permutation(gold))  # less often right than "yes"
    assert doubts_of_classes(some, gold, ["no", "yes"]) == []


@pytest.mark.parametrize(("decided", "gold"), [([0] * 10, [1] * 10), ([0, 1] * 50, [1] * 100)])
def test_few_examples_and_one_class_say_nothing(decided: list, gold: list) -> None:
    assert doubts_of_classes(np.asarray(decided), np.asarray(gold), ["x", "y"]) == []


def test_flags_in_another_order() -> None:
    gold = np.random.default_rng(2).random((100, 3)) < [0.2, 0.5, 0.7]
    assert doubts_of_flags(gold, gold, NAMES[:3]) == []
    assert "output 0 meant c" in doubts_of_flags(gold[:, [2, 1, 0]], gold, NAMES[:3])[0]
    other = np.random.default_rng(3).random((100, 3)) < [0.2, 0.5, 0.7]
    assert "no better than chance" in doubts_of_flags(other, gold, NAMES[:3])[0]


def test_numbers_that_fall_where_they_should_rise() -> None:
    gold = np.random.default_rng(4).normal(size=200)
    noise = np.random.default_rng(5).normal(size=200)
    assert doubts_of_numbers(gold + noise, gold) == []
    assert "fall where the labels rise" in doubts_of_numbers(noise - gold, gold)[0]
    assert "no better than chance" in doubts_of_numbers(noise, gold)[0]
    assert "same number" in doubts_of_numbers(np.zeros(200), gold)[0]


@pytest.mark.parametrize("names", [["0", "1", "2"], ["no", "maybe", "yes"]])
def test_an_evaluation_says_that_the_classes_are_mixed_up(names: list[str]) -> None:
    """Labels that are a model's own answers under another numbering: 0 % as they stand, 100 % in the right order."""
    encoder = tiny(labels=["LABEL_0", "LABEL_1", "LABEL_2"], seed=3)
    generator = np.random.default_rng(6)
    texts = [" ".join(generator.choice(WORDS[5:], 6)) for _ in range(80)]
    unlabelled = task_from_rows("u", "text-classification", {"texts": ["text"], "label": None}, _splits(texts, None))
    features = unlabelled.features(unlabelled.examples("test"), encoder)
    own = [int(np.argmax(p)) for p in predictions(unlabelled, features, encoder)]
    assert len(set(own)) > 1
    labels = [names[(answer + 1) % 3] for answer in own]
    declared = names if names[0] != "0" else None
    splits = _splits([*texts, *WORDS[5:8]], [*labels, *names])
    task = task_from_rows("t", "text-classification", {"texts": ["text"], "label": "y"}, splits, labels=declared)
    notes = evaluate(encoder, task, "test").notes
    assert any("positions of the model" in note or "does not name its labels" in note for note in notes)
    assert any("seem to be in another order" in note for note in notes)
    assert evaluate(encoder, task, "test").to_json()["notes"] == list(notes)


def _splits(texts: list[str], labels: list[str] | None) -> dict:
    rows = [{"text": text} | ({"y": labels[i]} if labels else {}) for i, text in enumerate(texts)]
    return {"train": lambda: rows, "test": lambda: rows}
