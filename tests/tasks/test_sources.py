"""Reading files of every format, and saying where a bad one is bad."""

import json
from pathlib import Path

import datasets
import pytest

from asc_core.errors import UserError
from asc_core.tasks import sources
from asc_core.tasks.sources import FileOptions, Table, read_file

BOM = "\ufeff"
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Rome",
            "paragraphs": [
                {
                    "context": "Rome is a city.",
                    "qas": [
                        {"id": "q1", "question": "What is Rome?", "answers": [{"text": "a city", "answer_start": 8}]},
                        {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}
CLINC = {
    "train": [["book a flight", "book_flight"], ["hello", "greeting"], ["what", "oos"]],
    "val": [["fly me", "book_flight"]],
    "test": [["hi", "greeting"]],
    "oos_train": [["xyz", "oos"]],
    "oos_test": [["abc", "oos"]],
}


def _write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "options", "expected", "last_place"),
    [
        pytest.param("a.csv", 'text,y\n"a, b",1\nc,0\n', {}, [("a, b", "1"), ("c", "0")], "line 3", id="CSV"),
        pytest.param("a.csv", 'text,y\n"a\nb",1\n\nc,0\n', {}, [("a\nb", "1"), ("c", "0")], "line 5", id="line breaks"),
        pytest.param("a.csv", BOM + "text,y\r\na,1\r\n", {}, [("a", "1")], "line 2", id="byte-order mark, CRLF"),
        pytest.param("a.tsv", "text\ty\na, b\t1\n", {}, [("a, b", "1")], "line 2", id="TSV"),
        pytest.param(
            "a.tsv", 'text\ty\n"a\t1\n', {"quoting": False}, [('"a', "1")], "line 2", id="plain quotation marks"
        ),
        pytest.param(
            "a.tsv", "a\t1\n", {"header": False, "columns": ("text", "y")}, [("a", "1")], "line 1", id="no header"
        ),
        pytest.param("a.csv", "x1,x2\na,1\n", {"columns": ("text", "y")}, [("a", "1")], "line 2", id="own names"),
        pytest.param(
            "a.jsonl", '{"text": "a", "y": 1}\n\n{"text": "b"}', {}, [("a", 1), ("b", None)], "line 3", id="JSONL"
        ),
        pytest.param("a.json", '[{"text": "a", "y": 1}]', {}, [("a", 1)], "row 1", id="list of objects"),
        pytest.param("a.txt", "a\n\nb\n", {}, [("a", None), ("b", None)], "line 3", id="plain text"),
    ],
)
def test_files_are_read(
    tmp_path: Path, name: str, content: str, options: dict, expected: list, last_place: str
) -> None:
    table = read_file(_write(tmp_path, name, content), "train", FileOptions(**options))
    assert [(row["text"], row.get("y")) for row in table.rows] == expected
    assert table.where(len(table) - 1) == f"{tmp_path / name}, {last_place}"


@pytest.mark.parametrize(
    ("name", "content", "options", "said"),
    [
        pytest.param("a.csv", "text,y\na,1\nb\n", {}, "line 3 has 1 fields, not 2", id="too few fields"),
        pytest.param("a.tsv", 'text\ty\n"a\t1\nb\t2\n', {}, "set `quoting = false`", id="a quotation mark"),
        pytest.param("a.csv", "a,1\n", {"header": False}, "name its columns with `columns", id="no names"),
        pytest.param("a.jsonl", '{"a": 1}\n{"a": }\n', {}, "line 2 is not valid JSON", id="broken JSONL"),
        pytest.param("a.jsonl", "[1]\n", {}, "line 1 is not a JSON object", id="JSONL of lists"),
        pytest.param("a.json", "{", {}, "is not valid JSON", id="broken JSON"),
        pytest.param("a.json", '{"a": 1}', {}, "neither SQuAD nor CLINC", id="some other JSON"),
        pytest.param("a.json", '{"data": [{"paragraphs": [{"qas": []}]}]}', {}, "has no 'context'", id="broken SQuAD"),
        pytest.param(
            "a.json", '{"data": [{"paragraphs": null}]}', {}, "of data.0. is no list", id="SQuAD without lists"
        ),
        pytest.param("a.json", '{"train": [["a"]]}', {}, r"train\[0\] is not a pair", id="broken CLINC"),
        pytest.param("a.json", '{"test": [["a", "b"]]}', {}, "has no 'train' list", id="CLINC without the split"),
        pytest.param("a.csv", b"text\n\xff\xfe\n", {}, "is not UTF-8 text", id="not UTF-8"),
        pytest.param("a.parquet", "no", {}, "is not a readable Parquet file", id="broken Parquet"),
        pytest.param("a.xlsx", "no", {}, "is not a readable Excel workbook", id="broken workbook"),
        pytest.param("a.ods", "no", {}, "a workbook of another kind", id="another workbook"),
        pytest.param("a.doc", "no", {}, "'.doc', which is not known", id="unknown format"),
        pytest.param("a.csv.gz", b"\x1f\x8bno", {}, "is compressed and damaged", id="damaged gzip"),
        pytest.param("a.csv", b"PK\x03\x04...", {}, "is an archive; unpack it", id="an archive"),
        pytest.param("a.csv", b"text\n\x89PNG\x00\x01\xff", {}, "another kind of file", id="a picture"),
        pytest.param("a.csv", "text\nü\n".encode() * 9 + b"\xff\n", {}, "line 19\\), though the rest", id="one byte"),
        pytest.param("a.csv", "text\nпривет мир\n".encode("cp1251"), {}, "name its encoding", id="Cyrillic"),
        pytest.param("a.csv", "text\na\n", {"encoding": "utf-99"}, "there is no encoding", id="no encoding"),
        pytest.param("a.csv", b"text\n\xfc\n", {"encoding": "utf-8"}, "is not utf-8 text", id="another encoding"),
        pytest.param("a.jsonl", '{"a": ' + "1" * 5000 + "}", {}, "line 1 .* thousands of digits", id="digits"),
        pytest.param("a.json", "[" * 100_000, {}, "nested too deeply", id="deep JSON"),
        pytest.param(
            "a.json", '{"train": [["a", "b"]], "oos_train": 3}', {"oos": True}, "'oos_train' is not", id="oos"
        ),
        pytest.param("a.json", '{"a": [{}], "b": [{}]}', {}, "rows under 'a', 'b': name one", id="two lists"),
        pytest.param("a.json", '{"a": 1}', {"records": "b.c"}, "nothing under 'b'", id="no such key"),
        pytest.param(
            "a.json", '{"columns": ["a"], "data": [[1, 2]]}', {}, "row 1 is not a list of 1", id="pandas split"
        ),
        pytest.param(
            "a.csv", 'text,y\n"a b,1\nc,0\nd,1\n', {}, "line 2: a quotation mark opens .* to line 4", id="never closed"
        ),
        pytest.param(
            "a.csv", 'text,y\n"a b,1\nc,0\n"d",1\ne,0\n', {}, "line 2: a quotation mark opens", id="closed too late"
        ),
        pytest.param(
            "a.csv", 'text,y\n"a b,1\nc,0\nd",1\ne,0\nf,1\n', {}, "line 2: a quotation mark", id="rows swallowed"
        ),
        pytest.param("a.conll", "EU B-ORG\nrejects\n", {}, "line 2 has 1 fields, not 2", id="a word without a tag"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: str | bytes, options: dict, said: str) -> None:
    path = _write(tmp_path, name, content)
    with pytest.raises(UserError, match=said) as error:
        read_file(path, "train", FileOptions(**options))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        read_file(tmp_path / "absent.csv", "train")


def test_squad_json_becomes_one_row_a_question(tmp_path: Path) -> None:
    table = read_file(_write(tmp_path, "a.json", json.dumps(SQUAD)), "train")
    assert table.columns == ("id", "title", "context", "question", "answers")
    assert [row["question"] for row in table.rows] == ["What is Rome?", "Who?"]
    assert table.where(1).endswith("question q2")


def test_clinc_json_holds_all_splits_and_leaves_out_of_scope_out(tmp_path: Path) -> None:
    path = _write(tmp_path, "data_full.json", json.dumps(CLINC))
    assert sources.splits_inside(path) == ("train", "validation", "test")
    assert [row["intent"] for row in read_file(path, "train").rows] == ["book_flight", "greeting"]
    assert [row["text"] for row in read_file(path, "validation").rows] == ["fly me"]
    with_oos = read_file(path, "test", FileOptions(oos=True))
    assert [row["intent"] for row in with_oos.rows] == ["greeting", "oos"]
    assert with_oos.where(1).endswith("oos_test[0]")


def test_a_folder_of_words_tags_and_intents(tmp_path: Path) -> None:
    _write(tmp_path, "seq.in", "fly to rome \nplay music\n")
    _write(tmp_path, "seq.out", "O O B-city \nO O\n")
    _write(tmp_path, "label", "Fly\nPlay\n")
    table = read_file(tmp_path, "train")
    row = {"tokens": ["fly", "to", "rome"], "text": "fly to rome", "tags": ["O", "O", "B-city"]}
    assert table.rows[0] == row | {"intent": "Fly", "label": "Fly"}
    assert table.where(1) == f"{tmp_path / 'seq.in'}, line 2"


def test_a_folder_whose_files_differ_in_length_is_told(tmp_path: Path) -> None:
    _write(tmp_path, "seq.in", "a\nb\n")
    _write(tmp_path, "label", "x\n")
    with pytest.raises(UserError, match=r"label has 1 lines, seq.in has 2"):
        read_file(tmp_path, "train")


def test_a_folder_without_words_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no file seq\.in"):
        read_file(tmp_path, "train")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A folder that `datasets` loads as it loads a dataset of the hub: Parquet files with named classes."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    folder = tmp_path / "hub"
    folder.mkdir()
    for split, rows in {"train": 12, "test": 3}.items():
        data = {"text": [f"{split} {i}" for i in range(rows)], "label": [-1, *(i % 2 for i in range(1, rows))]}
        datasets.Dataset.from_dict(data, features).to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def test_hub_datasets_bring_their_class_names(hub: Path) -> None:
    assert sources.hub_splits(str(hub), None) == ("train", "test")
    table = sources.read_hub(str(hub), None, "train")
    assert len(table) == 12
    assert table.class_names == {"label": ("no", "yes")}
    assert table.rows[1] == {"text": "train 1", "label": 1}
    assert list(table.column("label"))[:3] == [-1, 1, 0]
    assert table.where(1) == f"{hub} (train), row 2"
    assert table.select([4, 2]).where(1) == f"{hub} (train), row 3"


def test_parquet_files_bring_their_class_names(hub: Path) -> None:
    table = read_file(hub / "test-00000-of-00001.parquet", "test")
    assert table.class_names == {"label": ("no", "yes")}
    assert [row["text"] for row in table.rows] == ["test 0", "test 1", "test 2"]


def test_an_unreachable_dataset_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match="nobody/nothing could not be loaded from the hub") as error:
        sources.read_hub("nobody/nothing", None, "train")
    assert "\n" not in str(error.value)
    assert "[data]" in str(error.value)


def test_a_missing_column_is_told_with_those_there_are() -> None:
    table = Table([{"a": 1}], "f.csv", ("a",))
    with pytest.raises(UserError, match=r"f\.csv has no column 'b'; its columns are 'a'"):
        table.column("b")
