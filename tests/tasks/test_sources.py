"""Reading files of every format, and saying where a bad one is bad."""

import json
from pathlib import Path

import datasets
import pytest

from asc_core.errors import UserError
from asc_core.tasks import sources
from asc_core.tasks.sources import FileOptions, Table, read_file
from tests.accepted.files import CLINC, SQUAD


def _write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


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
