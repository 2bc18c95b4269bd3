"""Rows in memory as a task: frames, datasets of the hub's library, lists; everything else is refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
import pandas
import pytest

from asc_core.errors import UserError
from asc_core.evaluate import evaluate
from asc_core.tasks import load_task
from tests.tiny import WORDS, tiny

PLAIN = [word for word in WORDS[5:] if word.isalpha()]
ROWS = [
    {"text": f"{PLAIN[i % 20]} the {PLAIN[i // 20 % 20]} sat {PLAIN[i * 7 % 20]} on", "label": ["x", "y", "z"][i % 3]}
    for i in range(60)
]
FRAME = pandas.DataFrame(ROWS)
SOURCES: dict[str, Callable[[], Any]] = {
    "rows": lambda: ROWS,
    "tuple": lambda: tuple(ROWS),
    "columns": lambda: FRAME.to_dict("list"),
    "frame": lambda: FRAME,
    "frame with an index": lambda: FRAME.set_index(FRAME.index + 1000),
    "frame with categories": lambda: FRAME.astype({"label": "category"}),
    "dataset": lambda: datasets.Dataset.from_list(ROWS),
    "dataset of class numbers": lambda: datasets.Dataset.from_list(ROWS).class_encode_column("label"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_table_is_the_train_split_and_says_what_was_guessed(name: str) -> None:
    task = load_task(SOURCES[name](), name="mine")
    assert (task.name, task.kind, task.labels) == ("mine", "text-classification", ("x", "y", "z"))
    assert task.splits == ("train", "validation")
    examples = task.examples("train")
    assert "The label is 'label'." in " ".join(examples.notes)
    assert len(examples) + len(task.examples("validation")) == 60
    assert {row["text"] for row in examples.rows} <= {row["text"] for row in ROWS}


@pytest.mark.parametrize(
    "splits",
    [
        {"train": ROWS[:40], "test": ROWS[40:]},
        {"Training": FRAME[:40], "test": ROWS[40:]},
        datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS[:40]), test=datasets.Dataset.from_list(ROWS[40:])),
    ],
    ids=["lists", "frames and lists", "DatasetDict"],
)
def test_splits(splits: Any) -> None:
    task = load_task(splits)
    assert task.splits == ("train", "validation", "test")
    assert len(task.examples("test")) == 20


def test_what_is_said_is_not_guessed() -> None:
    frame = FRAME.assign(other=FRAME.text, grade=np.arange(60) / 7)
    task = load_task(frame, kind="regression", texts="other", label="grade", max_length=16)
    assert (task.kind, task.setup.texts, task.max_length) == ("regression", ("other",), 16)  # type: ignore[attr-defined]
    assert task.examples("train").notes == ()


def test_a_task_without_labels() -> None:
    assert not load_task(FRAME, label=None).labelled


def test_missing_cells_are_missing_in_every_spelling() -> None:
    for nothing in (None, float("nan"), pandas.NA, pandas.NaT, np.float64("nan")):
        frame = FRAME.astype({"label": object})
        frame.loc[7, "label"] = nothing
        with pytest.raises(UserError, match="'label' is empty"):
            load_task(frame, label="label", kind="text-classification", texts=["text"]).examples("train")


def test_numbers_of_numpy_and_dates_are_plain_values() -> None:
    frame = FRAME.assign(grade=np.arange(60, dtype=np.int16), when=pandas.Timestamp("2026-01-01"))
    row = load_task(frame, texts="text", kind="text-classification", label="label").examples("train").rows[0]
    assert type(row["grade"]) is int
    assert row["when"].startswith("2026-01-01")


def test_equal_rows_are_equal_data_wherever_they_come_from() -> None:
    """What a study keeps of a list holds for the same rows in a frame."""
    said = {"kind": "text-classification", "texts": ["text"], "label": "label"}
    digests = {load_task(source(), **said).digest("train") for name, source in SOURCES.items() if "class" not in name}
    assert len(digests) == 1
    assert load_task(ROWS[:-1], **said).digest("train") not in digests


def test_a_frame_is_measured() -> None:
    encoder = tiny(labels=["x", "y", "z"])
    found = evaluate(encoder, load_task(FRAME), "validation")
    assert found.examples == 6
    assert any("The text is 'text'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (3, "or rows: a pandas DataFrame, a datasets.Dataset or DatasetDict, a list of rows"),
        (None, "not NoneType"),
        (FRAME["text"], "not Series"),
        ([], "has no rows"),
        ({}, "has no data"),
        (["a text"], "row 1 is str: a row is a dictionary of named fields"),
        ([{1: "a"}], "row 1 has a column whose name is no text"),
        ({"train": 3}, r"rows \(train\): rows are a pandas DataFrame"),
        ({"train": FRAME["text"]}, "frame\\[\\[...\\]\\]"),
        ({"dev": ROWS, "val": ROWS}, "names of the split 'validation'"),
        ({"text": ["a", "b"], "label": [1]}, "not equally long"),
        (pandas.concat([FRAME, FRAME], axis=1), "several columns 'text'"),
        (FRAME[:0], "has no rows"),
        (datasets.Dataset.from_list(ROWS).to_iterable_dataset(), "not IterableDataset"),
        ({"train": datasets.Dataset.from_list(ROWS).to_iterable_dataset()}, "as many rows of the stream"),
    ],
)
def test_everything_else_is_refused_in_a_sentence_that_says_what_is_accepted(source: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_task(source)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"txts": "text"}, "txts: is not known; did you mean 'texts'"),
        ({"texts": ["nope"]}, "no column 'nope'; its columns are 'text', 'label'"),
        ({"label": "nope"}, "no column 'nope'"),
        ({"kind": "poetry"}, "no kind of task 'poetry'"),
        ({"max_length": "long"}, "max_length: input should be a valid integer"),
        ({"metric": "bleu"}, "metric 'bleu' is none of those for text-classification: accuracy"),
        ({"metric": 3}, "A metric is the name of one, or a function"),
    ],
)
def test_fields_that_do_not_fit_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_task(FRAME, **fields)


def test_a_named_task_says_itself_what_it_is() -> None:
    with pytest.raises(UserError, match="says itself what it is, so kind cannot be given"):
        load_task("glue/mrpc", kind="regression")
    with pytest.raises(UserError, match="is a task already"):
        load_task(load_task(FRAME))


def test_a_data_file_in_place_of_a_task_file(tmp_path: Any) -> None:
    FRAME.to_csv(tmp_path / "d.csv")
    with pytest.raises(UserError, match="is data, not a task file: write one for it with asc task"):
        load_task(tmp_path / "d.csv")
