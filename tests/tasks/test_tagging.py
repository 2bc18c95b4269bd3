"""Tags for words, and intents with slots."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score as seqeval_f1
from torch.nn import functional

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tasks.running import output_of, predictions, run
from tests.tiny import WORDS, tiny

TAGS = ["O", "B-x", "I-x"]
PLAIN = [w for w in WORDS[5:] if w.isalpha()]


def _rows(count: int = 15, seed: int = 0) -> list[dict[str, Any]]:
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        size = int(generator.integers(1, 9))
        words = list(generator.choice(PLAIN, size))
        words[0] = "cat-dog" if i % 2 else words[0]  # three tokens
        rows.append({"tokens": words, "tags": list(generator.choice(TAGS, size)), "intent": "ab"[i % 2]})
    return rows


def _task(rows: list[dict[str, Any]], kind: str = "tagging", **options: Any) -> Task:
    return task_from_rows("t", kind, {}, {"train": lambda: rows, "test": lambda: rows}, **options)


ENCODER = tiny(head="token-classification", labels=["I-x", "O", "B-x"])


def test_the_first_token_of_a_word_carries_its_tag() -> None:
    rows = [{"tokens": ["cat-dog", "sat"], "tags": ["B-x", "O"]}, {"tokens": ["a"], "tags": ["I-x"]}]
    task = _task(rows)
    features = task.features(task.examples("test"), ENCODER)
    # [CLS] cat - dog sat [SEP]
    assert [t.tolist() for t in features.targets] == [[-100, 2, -100, -100, 1, -100], [-100, 0, -100]]  # type: ignore
    batch = task.batch(features, [0, 1], ENCODER)
    assert batch.targets[1].tolist() == [-100, 0, -100, -100, -100, -100]


def test_the_loss_is_the_mean_over_the_words_of_a_text() -> None:
    task = _task(_rows())
    features = task.features(task.examples("test"), ENCODER)
    batch = task.batch(features, range(15), ENCODER)
    output = output_of(ENCODER, batch)
    losses = task.loss(output, batch)
    for i, row in enumerate(task.examples("test").rows):
        own = batch.targets[i] >= 0
        assert int(own.sum()) == len(row["tokens"])
        expected = functional.cross_entropy(output.logits[i, own], batch.targets[i, own])
        assert losses[i].item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_entity_f1_is_that_of_seqeval_on_the_models_tags() -> None:
    task = _task(_rows(60))
    examples = task.examples("test")
    features = task.features(examples, ENCODER)
    names = ["I-x", "O", "B-x"]
    decided = [[names[tag] for tag in p] for p in predictions(task, features, ENCODER)]
    _, value = run(task, ENCODER)
    assert value == pytest.approx(seqeval_f1([row["tags"] for row in examples.rows], decided))
    assert 0 < value < 1


def test_words_that_were_cut_away_count_as_outside() -> None:
    rows = [{"tokens": ["cat"] * 12, "tags": ["O"] * 11 + ["B-x"]}, {"tokens": ["a"], "tags": ["B-x"]}]
    task = _task(rows, max_length=10)
    examples = task.examples("test")
    features = task.features(examples, ENCODER)
    assert features.truncated == 1
    sure = [np.full(8, 1), np.asarray([2])]  # all O; B-x
    assert task.statistics(sure, features, examples).tolist() == [[0, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param({"tokens": [], "tags": []}, "'tokens' is empty", id="no words"),
        pytest.param({"tokens": ["a", " "], "tags": ["O", "O"]}, "has an empty word", id="an empty word"),
        pytest.param({"tokens": "a b", "tags": ["O", "O"]}, "not a list of words", id="a text"),
        pytest.param({"tokens": ["a"], "tags": ["O", "O"]}, "there are 1 words and 2 tags", id="another count"),
        pytest.param({"tokens": ["a"], "tags": "O"}, "is not a list of tags", id="bare tags"),
        pytest.param({"tokens": ["a"], "tags": ["B-y"]}, "'B-y', which is none of the task's labels", id="unknown tag"),
    ],
)
def test_bad_rows_are_told(row: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _task([row], labels=TAGS).examples("test")


FRAMES = tiny(head="intent-slots", labels=["b", "a"], slot_labels=TAGS)


def _frames(metric: str | None = None) -> Task:
    return _task(_rows(), "intent-slots", metric=metric)


def test_intents_and_slots_are_lost_together() -> None:
    task = _frames()
    assert task.labels == ("a", "b")
    assert task.slot_labels == ("O", "B-x", "I-x")
    features = task.features(task.examples("test"), FRAMES)
    batch = task.batch(features, range(15), FRAMES)
    output = output_of(FRAMES, batch)
    intents, slots = batch.targets
    assert intents.tolist() == [1 - i % 2 for i in range(15)]  # the model's order is b, a
    expected = functional.cross_entropy(output.intent_logits, intents, reduction="none") + torch.stack(
        [functional.cross_entropy(l[s >= 0], s[s >= 0]) for l, s in zip(output.slot_logits, slots, strict=True)]  # noqa: E741
    )
    torch.testing.assert_close(task.loss(output, batch), expected)


@pytest.mark.parametrize(
    ("metric", "name", "binary"),
    [
        (None, "intent-accuracy", True),
        ("accuracy", "intent-accuracy", True),
        ("slot-f1", "slot-f1", False),
        ("entity-f1", "slot-f1", False),
        ("sentence-accuracy", "sentence-accuracy", True),
    ],
)
def test_each_part_has_its_metric(metric: str | None, name: str, binary: bool) -> None:
    task = _frames(metric)
    assert (task.metric.name, task.metric.binary) == (name, binary)
    examples = task.examples("test")
    features = task.features(examples, FRAMES)
    rows = list(range(15))
    batch = task.batch(features, rows, FRAMES)
    intents, slots = batch.targets
    right = SimpleNamespace(
        intent_logits=functional.one_hot(intents, 2), slot_logits=functional.one_hot(slots.clamp(min=0), 3)
    )
    assert task.metric.value(task.statistics(task.predict(right, batch), features, examples)) == 1
    wrong = SimpleNamespace(intent_logits=1 - right.intent_logits, slot_logits=right.slot_logits)
    wrong_intents = task.metric.value(task.statistics(task.predict(wrong, batch), features, examples))
    assert wrong_intents == (1 if name == "slot-f1" else 0)


def test_a_model_without_these_slots_is_told() -> None:
    task = _frames()
    with pytest.raises(UserError, match=r"slot labels of the task t .* \[O, B-x, I-x\]; model: \[O\]"):
        task.features(task.examples("test"), tiny(head="intent-slots", labels=["a", "b"], slot_labels=["O"]))
