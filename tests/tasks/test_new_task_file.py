"""Task files that are written for data: what they say is what `load_task` reads, and every guess stands in them."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.tasks import load_task
from asc_core.tasks.files_of_splits import files_of_splits
from asc_core.tasks.guess import Given
from asc_core.tasks.new_task_file import NewTaskFile, new_task_file
from asc_core.tasks.task_file import checked_content
from tests.tiny import WORDS

DRAW = random.Random(1)
PLAIN = [word for word in WORDS[5:] if word.isalpha()]


def rows(count: int = 60, **more: Any) -> list[dict[str, Any]]:
    return [
        {"review": " ".join(DRAW.choices(PLAIN, k=8)) + f" {i}", "mood": ["good", "bad"][i % 2]} | more
        for i in range(count)
    ]


def written(data: Path, out: Path | None = None, **given_: Any) -> tuple[Path, NewTaskFile]:
    path = out or data.parent / "task.toml"
    made = new_task_file(files_of_splits(data), path, Given(**given_))
    made.write(path)
    return path, made


FORMATS = {
    "data.csv": lambda frame, path: frame.to_csv(path, index=False),
    "data.tsv": lambda frame, path: frame.to_csv(path, sep="\t"),
    "semicolons.csv": lambda frame, path: frame.to_csv(path, sep=";", index=False),
    "data.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "data.json": lambda frame, path: frame.to_json(path, orient="records"),
    "data.parquet": lambda frame, path: frame.to_parquet(path),
    "data.xlsx": lambda frame, path: frame.to_excel(path, index=False),
    "packed.csv.gz": lambda frame, path: frame.to_csv(path, index=False, compression="gzip"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_any_format_becomes_a_task_that_loads(name: str, tmp_path: Path) -> None:
    FORMATS[name](pandas.DataFrame(rows()), tmp_path / name)
    path, made = written(tmp_path / name)
    task = load_task(path)
    assert (task.kind, task.labels) == ("text-classification", ("bad", "good"))
    assert len(task.examples("train")) + len(task.examples("validation")) == 60
    assert all(note in path.read_text() for note in made.notes)
    assert any("good (30)" in note for note in made.notes)


@pytest.mark.parametrize("name", ["data.conll", "data.txt"])
def test_words_in_columns(name: str, tmp_path: Path) -> None:
    texts = [f"the DT O\n{word} NN B-ANIMAL\nsat VB O" for word in PLAIN[:20]]
    (tmp_path / name).write_text("\n\n".join(texts) + "\n")
    task = load_task(written(tmp_path / name)[0])
    assert (task.kind, len(task.examples("train")), set(task.labels)) == ("tagging", 18, {"O", "B-ANIMAL"})


def test_without_a_header(tmp_path: Path) -> None:
    lines = [f"{row['mood']}\t{row['review']}" for row in rows()]
    (tmp_path / "sms.tsv").write_text("\n".join(lines) + "\n")
    path, made = written(tmp_path / "sms.tsv")
    task = load_task(path)
    assert sum(len(task.examples(split)) for split in ("train", "validation")) == 60, "no row was taken for names"
    assert task.labels == ("bad", "good")
    assert "looks like a row" in " ".join(made.notes)


def test_quotation_marks_that_are_plain_text(tmp_path: Path) -> None:
    lines = ["text\tlabel", *(f'"cat {row["review"]}\t{row["mood"]}' for row in rows(30))]
    (tmp_path / "d.tsv").write_text("\n".join(lines) + "\n")
    path, made = written(tmp_path / "d.tsv")
    assert made.content["data"]["quoting"] is False
    assert load_task(path).examples("train").rows[0]["text"].startswith('"cat')


def test_a_column_of_splits(tmp_path: Path) -> None:
    all_rows = [row | {"set": ["training", "training", "dev", "TEST"][i % 4]} for i, row in enumerate(rows(80))]
    pandas.DataFrame(all_rows).to_csv(tmp_path / "d.csv", index=False)
    task = load_task(written(tmp_path / "d.csv")[0])
    assert {split: len(task.examples(split)) for split in task.splits} == {"train": 40, "validation": 20, "test": 20}
    assert {row["set"] for row in task.examples("test").rows} == {"TEST"}


def test_files_of_splits_beside_each_other(tmp_path: Path) -> None:
    for name in ("mood_train.csv", "mood_dev.csv", "mood_test.csv", "other_test.csv"):
        pandas.DataFrame(rows(40)).to_csv(tmp_path / name, index=False)
    found = files_of_splits(tmp_path / "mood_train.csv")
    assert {split: path.name for split, path in found.items()} == {
        "train": "mood_train.csv", "validation": "mood_dev.csv", "test": "mood_test.csv",
    }  # fmt: skip
    with pytest.raises(UserError, match="several files for test"):
        files_of_splits(tmp_path)
    (tmp_path / "other_test.csv").unlink()
    assert files_of_splits(tmp_path) == found
    task = load_task(written(tmp_path)[0])
    assert task.splits == ("train", "validation", "test")


def test_rows_without_text_or_label_are_left_out_and_said(tmp_path: Path) -> None:
    all_rows = rows(60)
    all_rows[3]["review"] = all_rows[5]["mood"] = ""
    pandas.DataFrame(all_rows).to_csv(tmp_path / "d.csv", index=False)
    path, made = written(tmp_path / "d.csv")
    assert [note for note in made.notes if "left out (drop)" in note] == [
        "1 of 60 rows have no 'review' and are left out (drop).",
        "1 of 60 rows have no 'mood' and are left out (drop).",
    ]
    task = load_task(path)
    assert len(task.examples("train")) + len(task.examples("validation")) == 58


def test_a_split_whose_labels_are_kept_back_is_left_out_and_said(tmp_path: Path) -> None:
    """As GLUE's test splits are."""
    pandas.DataFrame(rows(60)).to_parquet(tmp_path / "train-0.parquet")
    pandas.DataFrame([row | {"mood": -1} for row in rows(20)]).to_parquet(tmp_path / "test-0.parquet")
    path, made = written(tmp_path / "train-0.parquet")
    assert load_task(path).splits == ("train", "validation")
    assert "test-0.parquet has no labels" in " ".join(made.notes)


def test_paths_are_relative_to_the_task_file(tmp_path: Path) -> None:
    pandas.DataFrame(rows()).to_csv(tmp_path / "d.csv", index=False)
    path, made = written(tmp_path / "d.csv", tmp_path / "tasks" / "mood.toml")
    assert made.content["data"]["train"] == "../d.csv"
    assert load_task(path).name == "mood"


def test_names_of_classes(tmp_path: Path) -> None:
    pandas.DataFrame([row | {"mood": i % 2} for i, row in enumerate(rows())]).to_csv(tmp_path / "d.csv", index=False)
    path = tmp_path / "t.toml"
    new_task_file({"train": tmp_path / "d.csv"}, path, names={"0": "bad", "1": "good"}).write(path)
    assert load_task(path).labels == ("bad", "good")


text_value = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(text_value.filter(bool), min_size=1, max_size=2),
    text_value,
    st.dictionaries(text_value, text_value, min_size=1, max_size=4),
    st.lists(text_value, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_whatever_columns_are_called_the_file_says_it(
    texts: list[str], label: str, names: dict[str, str], notes: list[str]
) -> None:
    data = {"train": texts[0], "drop": {texts[0]: [""]}}
    content = {"kind": "regression", "texts": texts, "label": label, "labels": names, "data": data}
    text = NewTaskFile(content, tuple(notes)).text()
    assert tomllib.loads(text) == content
    assert checked_content(tomllib.loads(text), "t").texts == texts


def test_a_file_with_several_splits_inside(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps({"train": rows(40), "dev": rows(20), "test": rows(20)}))
    task = load_task(written(tmp_path / "d.json")[0])
    assert {split: len(task.examples(split)) for split in task.splits} == {"train": 40, "validation": 20, "test": 20}


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file"):
        files_of_splits(tmp_path / "none.csv")
    with pytest.raises(UserError, match="no file that can be read"):
        files_of_splits(tmp_path)
