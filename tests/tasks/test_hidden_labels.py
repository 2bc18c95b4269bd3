"""Labels that a public test set hides: they are no class, they are said, and they block nothing but their own split."""

from __future__ import annotations

from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tiny import tiny

ENCODER = tiny(labels=["neg", "pos"], num_labels=2)


def task(kind: str = "text-classification", **splits: list[Any]) -> Task:
    """splits: the label of each row; ... = a row without the field."""
    rows = {
        split: [
            {"text": f"good film {i} {split}", "words": ["good", f"film{i}"], "tags": ["O", "O"]}
            | ({} if label is ... else {"label": label})
            for i, label in enumerate(labels)
        ]
        for split, labels in splits.items()
    }
    own = {"texts": ["text"]} if kind == "text-classification" else {"texts": ["words"], "slots": "tags"}
    loaders: Any = {split: lambda made=made: made for split, made in rows.items()}
    return task_from_rows("t", kind, {"label": "label", **own}, loaders)


def notes_of(found: Task, split: str = "train") -> str:
    return " ".join(found.features(found.examples(split), ENCODER).notes)


@pytest.mark.parametrize("names", [["neg", "pos"], [0, 1]], ids=["names", "numbers"])
@pytest.mark.parametrize("hidden", [[-1] * 4, ["-1"] * 4, [-1.0, -1, -1, -1]], ids=["ints", "texts", "floats"])
def test_a_test_split_of_hidden_labels_blocks_nothing_else_and_is_said(names: list, hidden: list) -> None:
    found = task(train=names * 10, test=hidden)
    assert set(found.labels) == set(map(str, names))
    assert "the label -1 (4 of 4 rows) was taken for a hidden one" in notes_of(found)
    with pytest.raises(UserError, match=r"holds -1, which stands for a hidden label; .*drop = \{ label = \[-1\] \}"):
        found.examples("test")


def test_some_hidden_labels_are_said_too() -> None:
    assert "(2 of 4 rows)" in notes_of(task(train=[0, 1] * 10, test=[0, -1, 1, -1]))


@pytest.mark.parametrize("test", [[-1, 0, 1], [0, 1]])
def test_where_train_has_it_it_is_a_class(test: list) -> None:
    assert task(train=[-1, 0, 1] * 10, test=test).labels == ("-1", "0", "1")


def test_without_train_it_is_a_class_unless_a_split_has_nothing_else() -> None:
    assert task(validation=[-1, 1] * 4, test=[-1, 1]).labels == ("-1", "1")
    assert task(validation=["a", "b"] * 4, test=[-1, -1]).labels == ("a", "b")


def test_where_all_are_hidden_that_is_said() -> None:
    with pytest.raises(UserError, match="all labels in 'label' are -1"):
        _ = task(train=[-1] * 10, test=[-1]).labels


@pytest.mark.parametrize("kind", ["text-classification", "intent-slots"])
def test_a_split_without_the_column_of_labels_blocks_nothing_else(kind: str) -> None:
    found = task(kind, train=["neg", "pos"] * 10, test=[...] * 3)
    assert found.labels == ("neg", "pos")
    assert len(found.examples("train").rows) == 18
    with pytest.raises(UserError, match=r"no column 'label', so the test split of t has no labels: .*--split train"):
        found.examples("test")


def test_where_no_split_has_the_column_its_name_is_wrong() -> None:
    with pytest.raises(UserError, match="has no column 'label'; its columns are"):
        task(train=[...] * 5, test=[...] * 3).examples("train")


def test_the_spelling_of_truth_values_is_among_the_notes() -> None:
    made = task_from_rows(
        "t",
        "text-classification",
        {"texts": ["text"], "label": "label"},
        {"train": lambda: [{"text": f"good film {i}", "label": bool(i % 2)} for i in range(20)]},
        labels=["neg", "pos"],
    )
    assert "Labels of the data were read as false = neg, true = pos." in notes_of(made)
