"""What is odd about data is said, with a place to look at."""

from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tiny import WORDS, tiny

PLAIN = [word for word in WORDS[5:] if word.isalpha()]


def _rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"{PLAIN[i % 20]} {PLAIN[i // 20 % 20]} {'cat ' * (i // 400)}", "y": "ab"[i % 2]}
            for i in range(start, start + count)]  # fmt: skip


def _task(train: list[dict[str, Any]], test: list[dict[str, Any]], **options: Any) -> Task:
    fields = {"texts": ["text"], "label": "y"}
    return task_from_rows("t", "text-classification", fields, {"train": lambda: train, "test": lambda: test}, **options)


def _said(task: Task, split: str = "test") -> str:
    return " ".join(task.examples(split).notes)


def test_ordinary_data_is_not_spoken_of() -> None:
    task = _task(_rows(60), _rows(40, 100))
    assert task.labels == ("a", "b")
    assert _said(task) == _said(task, "train") == ""


def test_duplicates_are_said() -> None:
    rows = _rows(40, 100)
    assert "2 of 42 examples have the same text as another, such as t (test), row 1 and t (test), row 41" in _said(
        _task(_rows(60), [*rows, rows[0], rows[2]])
    )


def test_one_text_with_two_labels_is_said() -> None:
    rows = _rows(40, 100)
    odd = {"text": rows[0]["text"].upper(), "y": "b"}
    assert "1 of 41 examples have the text of another and a different label" in _said(_task(_rows(60), [*rows, odd]))


@pytest.mark.parametrize("shared", [0, 40])
def test_texts_of_train_are_said(shared: int) -> None:
    task = _task(_rows(60), _rows(40, 60 - shared))
    assert task.labels  # reads all splits
    assert ("stand in train too" in _said(task)) == (shared > 0)


def test_a_constant_target_is_said() -> None:
    rows = [dict(row, y="a") for row in _rows(40, 100)]
    assert "All 40 examples have the same label, a" in _said(_task(_rows(60), rows))


@pytest.mark.parametrize("empty", [None, "", float("nan"), " "])
def test_an_empty_label_is_told_with_the_way_out(empty: Any) -> None:
    with pytest.raises(UserError, match=r"row 2: the field 'y' is empty; .* drop = "):
        _task(_rows(60), [*_rows(1, 100), {"text": "cat", "y": empty}]).examples("test")


@pytest.mark.parametrize("kind", ["text-classification", "tagging", "question-answering", "sentence-similarity"])
def test_unknown_tokens_are_said_with_examples(kind: str) -> None:
    strange = ["zygote", "quux", "cat", "frobnicate"]
    text = " ".join(strange)
    row = {
        "text": text, "other": text, "y": "a", "score": 1.0, "tokens": strange, "tags": ["O"] * 4,
        "question": "who", "context": text, "answers": {"text": ["cat"], "answer_start": [12]},
    }  # fmt: skip
    fields = {
        "text-classification": {"texts": ["text"], "label": "y"},
        "sentence-similarity": {"texts": ["text", "other"], "label": "score"},
    }.get(kind, {})
    splits = {"train": lambda: [row, dict(row, score=0.0)], "test": lambda: [row]}
    task = task_from_rows("t", kind, fields, splits)
    heads = {"sentence-similarity": "embedding", "text-classification": "sequence-classification"}
    encoder = tiny(head=heads.get(kind, task.head), labels=["O"] if kind == "tagging" else ["a"])
    notes = task.features(task.examples("test"), encoder).notes
    (said,) = [note for note in notes if "does not know" in note]
    assert "zygote, quux, frobnicate" in said
