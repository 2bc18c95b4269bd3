"""Data files as spreadsheets, pandas, datasets and shared tasks write them: the same rows, and what was assumed."""

import json
from pathlib import Path

import datasets
import numpy as np
import openpyxl
import pandas
import pytest

from asc_core.errors import UserError
from asc_core.tasks import load_task
from asc_core.tasks.sources import FileOptions, read_file


def test_spaces_behind_separators_are_no_part_of_fields(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text, label, note\n"a, b", pos, x\nc, neg,\n')
    table = read_file(tmp_path / "a.csv", "train")
    assert table.columns == ("text", "label", "note")
    assert [(row["text"], row["label"]) for row in table.rows] == [("a, b", "pos"), ("c", "neg")]


def test_empty_rows_and_columns_of_one_name_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text;text;y\na;b;1\n;;\n;;\n")
    table = read_file(tmp_path / "a.csv", "train")
    assert table.rows == [{"text": "a", "text.1": "b", "y": "1"}]
    assert "called 'text.1'" in table.notes[1]
    assert "2 rows without any content" in table.notes[2]


def test_texts_over_several_lines_are_no_swallowed_rows(tmp_path: Path) -> None:
    rows = [("one,\ntwo, three\nfour", "1"), ('he said "hi",\nand left', "0"), ("short", "1")] * 20
    pandas.DataFrame(rows, columns=["text", "y"]).to_csv(tmp_path / "a.csv", index=False)
    table = read_file(tmp_path / "a.csv", "train")
    assert [(row["text"], row["y"]) for row in table.rows] == rows


def test_a_cut_emoji_is_a_replacement_character(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good \\ud83d", "whole": "\\ud83d\\ude00"}\n')
    assert read_file(tmp_path / "a.jsonl", "train").rows == [{"text": "good \ufffd", "whole": "😀"}]


@pytest.mark.parametrize("named", [True, False])
def test_a_sheet_is_chosen_by_name(named: bool, tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.title = "read me"
    workbook.active.append(["nothing"])
    sheet = workbook.create_sheet("data")
    for row in (["text", "y", None], ["a", 1, None], [None, None, None], ["b", 0.5, None]):
        sheet.append(row)
    workbook.save(tmp_path / "a.xlsx")
    table = read_file(tmp_path / "a.xlsx", "train", FileOptions(sheet="data" if named else None))
    if named:
        assert table.rows == [{"text": "a", "y": 1}, {"text": "b", "y": 0.5}]
        assert table.where(1).endswith("row 4")
    else:
        assert "the first of 2 sheets, 'read me'" in table.notes[0]
    with pytest.raises(UserError, match="has no sheet 'x'; it has 'read me', 'data'"):
        read_file(tmp_path / "a.xlsx", "train", FileOptions(sheet="x"))


def test_plain_texts_stay_plain_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("EU rejects\nPeter O\nA film\n")
    assert read_file(tmp_path / "a.txt", "train").columns == ("text",)


@pytest.mark.parametrize("ending", [".tsv", ".txt", ".conll"])
def test_a_tagging_task_of_columns_needs_no_names(ending: str, tmp_path: Path) -> None:
    for split in ("train", "dev"):
        (tmp_path / f"{split}{ending}").write_text("EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\n\n")
    (tmp_path / "t.toml").write_text(f'kind = "tagging"\n[data]\ntrain = "train{ending}"\ndev = "dev{ending}"\n')
    task = load_task(tmp_path / "t.toml")
    assert task.splits == ("train", "validation")
    assert task.labels == ("O", "B-ORG", "B-PER")
    assert [row["tokens"] for row in task.examples("dev").rows] == [["EU", "rejects"], ["Peter"]]


def test_lists_as_pandas_writes_them_are_lists(tmp_path: Path) -> None:
    frame = pandas.DataFrame(
        {"tokens": [["EU", "isn't"], ["Peter"]], "ner_tags": [np.asarray([1, 0]), np.asarray([2])]}
    )
    frame.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "t.toml").write_text('kind = "tagging"\n[data]\ntrain = "a.csv"\ntest = "a.csv"\n')
    rows = load_task(tmp_path / "t.toml").examples("test").rows
    assert [(row["tokens"], row["ner_tags"]) for row in rows] == [(["EU", "isn't"], [1, 0]), (["Peter"], [2])]


def test_questions_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,context,answer\nwho?,the cat sat,the cat\nwhere?,on a mat,a mat\n")
    (tmp_path / "t.toml").write_text('kind = "question-answering"\n[data]\ntrain = "a.csv"\ntest = "a.csv"\n')
    examples = load_task(tmp_path / "t.toml").examples("test")
    assert [row["answer"] for row in examples.rows] == [
        {"text": ["the cat"], "answer_start": [0]},
        {"text": ["a mat"], "answer_start": [3]},
    ]
    assert "no answer_start" in examples.notes[0]


def test_dotted_paths_reach_into_objects(tmp_path: Path) -> None:
    rows = [{"doc": {"text": f"t {i}"}, "gold": [{"name": "ab"[i % 2]}], "w": [{"form": "x"}]} for i in range(4)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    head = 'kind = "text-classification"\ntexts = ["doc.text"]\nlabel = "gold.0.name"\n'
    (tmp_path / "t.toml").write_text(head + '[data]\ntrain = "a.jsonl"\ntest = "a.jsonl"\n')
    task = load_task(tmp_path / "t.toml")
    assert task.labels == ("a", "b")
    assert [row["doc.text"] for row in task.examples("test").rows] == ["t 0", "t 1", "t 2", "t 3"]


def test_objects_where_text_should_be_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": {{"en": "a {i}"}}, "y": {i % 2}}}\n' for i in range(9)))
    (tmp_path / "t.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "y"\n[data]\ntrain = "a.jsonl"\n'
    )
    with pytest.raises(UserError, match=r"a\.jsonl, line \d: the field 'text' holds .*, not text"):
        load_task(tmp_path / "t.toml").examples("train")


def test_one_json_file_with_all_splits_is_a_task(tmp_path: Path) -> None:
    rows = [{"text": f"t {i}", "y": "ab"[i % 2]} for i in range(6)]
    (tmp_path / "all.json").write_text(json.dumps({"train": rows, "dev": rows[:2], "test": rows[:3]}))
    (tmp_path / "t.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "y"\n[data]\ntrain = "all.json"\n'
    )
    task = load_task(tmp_path / "t.toml")
    assert task.splits == ("train", "validation", "test")
    assert [len(task.examples(split)) for split in task.splits] == [6, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "1" * 5000, "is not valid TOML"),
        ('kind = "tagging"\n[data]\ndev = "a"\nvalidation = "b"\n', "names of one split"),
        ('kind = "tagging"\n[data]\ntrain = "' + "n" * 5000 + '.csv"\ntest = "a.csv"\n', "cannot be read"),
    ],
)
def test_odd_task_files_are_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(UserError, match=said):
        load_task(tmp_path / "t.toml").examples("train")


def test_a_name_that_is_too_long_is_told() -> None:
    with pytest.raises(UserError, match="There is no task"):
        load_task("n" * 5000)


def test_a_hub_split_called_dev_is_the_validation_split(tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    folder.mkdir()
    for split in ("train", "validation"):
        data = {"text": ["a", "b"], "y": ["p", "q"]}
        datasets.Dataset.from_dict(data).to_parquet(
            folder / f"{split.replace('validation', 'dev')}-00000-of-00001.parquet"
        )
    (tmp_path / "t.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "y"\n[data]\nhub = "./hub"\n'
    )
    assert "validation" in load_task(tmp_path / "t.toml").splits
