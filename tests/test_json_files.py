"""A JSON file is written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.json_files import read_json, write_json


def test_missing_folders_are_made_and_what_was_there_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "plan.json"
    for content in ({"a": 1}, [2]):
        write_json(file, content)
        assert read_json(file) == content
    assert [path.name for path in file.parent.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_keeps_what_was_there(function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "plan.json"
    write_json(file, "before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        with pytest.raises(UserError, match=r"plan\.json cannot be written.*No space left"):
            write_json(file, "after")
    assert read_json(file) == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_a_link_keeps_pointing_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("1")
    (tmp_path / "link.json").symlink_to("real.json")
    write_json(tmp_path / "link.json", 2)
    assert (tmp_path / "link.json").is_symlink()
    assert read_json(tmp_path / "real.json") == 2


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_json(os.devnull, {"a": 1})
    assert not Path(os.devnull).is_file()
