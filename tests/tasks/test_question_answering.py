"""Windows over long contexts, and answers found in them."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.errors import UserError
from asc_core.tasks import Examples, Features, Task, task_from_rows
from tests.tiny import WORDS, tiny

PLAIN = [w for w in WORDS[5:] if w.isalpha()]
ENCODER = tiny(head="question-answering")


def _row(words: int, first: int, last: int, seed: int = 0) -> dict[str, Any]:
    """A context of that many words whose answer is words first..last."""
    generator = np.random.default_rng(seed)
    context = list(generator.choice(PLAIN, words))
    start = len(" ".join(context[:first])) + (first > 0)
    answer = " ".join(context[first : last + 1])
    return {
        "question": "Where is the city?",
        "context": " ".join(context),
        "answers": {"text": [answer], "answer_start": [start]},
    }


def _task(rows: list[dict[str, Any]], **options: Any) -> Task:
    return task_from_rows("t", "question-answering", {}, {"train": lambda: rows, "test": lambda: rows}, **options)


def _features(task: Task) -> tuple[Examples, Features]:
    examples = task.examples("test")
    return examples, task.features(examples, ENCODER)


ROWS = [_row(100, 3, 5), _row(10, 0, 0, 1), _row(60, 58, 59, 2), _row(41, 20, 29, 3)]


def test_windows_overlap_by_the_stride_and_cover_the_context() -> None:
    examples, features = _features(_task(ROWS, max_length=32, stride=6))
    for example, row in enumerate(examples.rows):
        words = row["context"].split()
        starts = {len(" ".join(words[:i])) + (i > 0): i for i in range(len(words))}
        windows = [
            [starts[int(s)] for s, _ in offsets if s >= 0]
            for offsets, e in zip(features.extra["offsets"], features.example, strict=True)
            if e == example
        ]
        assert sorted({w for window in windows for w in window}) == list(range(len(words)))
        for before, after in itertools.pairwise(windows):
            assert before[-6:] == after[:6]
    assert features.lengths.max() <= 32
    assert (np.diff(features.example) >= 0).all()
    assert features.truncated == 0


def test_targets_stand_on_the_answer_or_on_the_first_token() -> None:
    examples, features = _features(_task(ROWS, max_length=32, stride=10))
    assert features.targets is not None
    found = set()
    for (start, end), offsets, e in zip(features.targets, features.extra["offsets"], features.example, strict=True):
        if (start, end) != (0, 0):
            row = examples.rows[int(e)]
            assert row["context"][offsets[start, 0] : offsets[end, 1]] == row["answers"]["text"][0]
            found.add(int(e))
    assert found == set(range(len(ROWS)))


def _certain(features: Features, task: Task, targets: Any) -> list[Any]:
    """Predictions of a model that is certain of some tokens of every window."""
    rows = list(range(len(features)))
    batch = task.batch(features, rows, ENCODER)
    shape = batch.inputs["input_ids"].shape
    start, end = torch.zeros(shape), torch.zeros(shape)
    for row, (s, e) in enumerate(targets):
        start[row, s], end[row, e] = 9, 9
    return task.predict(SimpleNamespace(start_logits=start, end_logits=end), batch)


@pytest.mark.parametrize("metric", ["f1", "em"])
def test_a_model_that_knows_the_answers_is_right(metric: str) -> None:
    task = _task(ROWS, max_length=32, stride=10, metric=metric)
    examples, features = _features(task)
    statistics = task.statistics(_certain(features, task, features.targets), features, examples)
    assert task.metric.columns == ("f1", "em", "examples")
    assert task.metric.value(statistics) == 1
    assert not task.metric.binary


def test_no_answer_wins_where_every_window_says_so() -> None:
    rows = [ROWS[0], {**ROWS[1], "answers": {"text": [], "answer_start": []}}]
    task = _task(rows, max_length=32, stride=10)
    examples, features = _features(task)
    found = _certain(features, task, features.targets)
    assert task.answers(found, features, examples) == [ROWS[0]["answers"]["text"][0], ""]  # type: ignore[attr-defined]
    assert task.metric.value(task.statistics(found, features, examples)) == 1
    nothing = _certain(features, task, [(0, 0)] * len(features))
    assert task.metric.value(task.statistics(nothing, features, examples)) == 0.5


def test_the_question_is_never_the_answer() -> None:
    task = _task(ROWS[:1], max_length=48)
    examples, features = _features(task)
    found = _certain(features, task, [(2, 3)] * len(features))  # tokens of the question
    (answer,) = task.answers(found, features, examples)  # type: ignore[attr-defined]
    assert answer in ROWS[0]["context"]


def test_one_of_several_gold_answers_is_enough() -> None:
    both = {"text": ["cat", ROWS[1]["answers"]["text"][0]], "answer_start": [0, 0]}
    rows = [{**ROWS[1], "context": "cat " + ROWS[1]["context"], "answers": both}]
    task = _task(rows, max_length=48)
    examples, features = _features(task)
    assert task.metric.value(task.statistics(_certain(features, task, features.targets), features, examples)) == 1


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([{"text": "cat sat", "answer_start": 4}], id="as in SQuAD files"),
        pytest.param({"text": ["cat sat"], "answer_start": [4]}, id="as on the hub"),
        pytest.param({"text": "cat sat", "answer_start": 4}, id="a single answer"),
        pytest.param({"text": ["cat sat"], "answer_start": [6]}, id="a start that is a little off"),
    ],
)
def test_answers_in_every_form(answers: Any) -> None:
    rows = [{"question": "who?", "context": "the cat sat on the mat", "answers": answers}]
    _, features = _features(_task(rows))
    (target,) = features.targets  # type: ignore[misc]
    assert target == (5, 6)  # [CLS] who ? [SEP] the cat sat


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        pytest.param(
            {"answers": {"text": ["dog"], "answer_start": [0]}}, {}, "does not stand in the context", id="wrong"
        ),
        pytest.param({"answers": 7}, {}, "is not {", id="a number"),
        pytest.param({"answers": []}, {"no_answer": False}, "set `no_answer = true`", id="none in SQuAD 1.1"),
        pytest.param({"question": " "}, {}, "the field 'question' is empty", id="no question"),
        pytest.param({"context": None}, {}, "the field 'context' is empty", id="no context"),
    ],
)
def test_bad_questions_are_told(change: dict, options: dict, said: str) -> None:
    row = {"question": "who?", "context": "the cat sat", "answers": {"text": ["cat"], "answer_start": [4]}}
    with pytest.raises(UserError, match=said):
        _task([row | change], **options).examples("test")


def test_a_stride_that_leaves_no_room_is_told() -> None:
    with pytest.raises(UserError, match=r"stride = 40 .* leaves no room"):
        _features(_task(ROWS, max_length=48, stride=40))


def test_a_question_that_is_too_long_is_cut_and_counted() -> None:
    rows = [{**ROWS[0], "question": "cat " * 70}, ROWS[1]]
    _, features = _features(_task(rows, max_length=40))
    assert features.truncated == 1
    assert features.lengths.max() <= 40


def test_a_validation_cut_keeps_questions_on_one_context_together() -> None:
    rows = [{**_row(20, 1, 2, seed=i // 3), "question": f"where {i}?"} for i in range(90)]
    task = _task(rows)
    train, validation = ({r["context"] for r in task.examples(s).rows} for s in ("train", "validation"))
    assert not train & validation
    assert len(task.examples("validation")) == 9
