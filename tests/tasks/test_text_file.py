from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.tasks.text_file import content_of, examples_in, texts_in
from tests.evaluate.toy_tasks import toy_task


def test_each_line_is_an_example_of_as_many_texts_as_the_task_has(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\ufeffa cat\n\n  a dog \n", encoding="utf-8")
    assert [dict(row) for row in examples_in(toy_task(), path).rows] == [{"text": "a cat"}, {"text": "a dog"}]
    assert examples_in(toy_task("tagging"), path).rows[0]["tokens"] == ["a", "cat"]
    path.write_text("a cat\ta dog\n")
    assert examples_in(toy_task("pair-classification"), path).rows == [{"a": "a cat", "b": "a dog"}]
    with pytest.raises(UserError, match=r"line 1: .* 1 text"):
        examples_in(toy_task(), path)


def test_a_line_is_a_text_or_a_pair_apart_by_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("a cat\n\na dog\ta mat\n")
    assert texts_in(path) == [("a cat", None), ("a dog", "a mat")]
    path.write_text("a\tb\tc\n")
    with pytest.raises(UserError, match="line 1 has 3 texts"):
        texts_in(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="has no texts"):
        texts_in(path)


def test_a_files_fingerprint_is_of_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b") != content_of(tmp_path / "c") == ""


def test_a_device_that_never_ends_is_not_read() -> None:
    """The path may stand in a recipe of anyone."""
    assert content_of("/dev/zero") == ""
    with pytest.raises(UserError, match="cannot be read as text"):
        examples_in(toy_task(), "/dev/zero")
