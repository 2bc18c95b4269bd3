"""Data files of every form: the same rows and what was assumed, or one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.tasks.sources import read_file
from tests.accepted.case import DataFile, pattern
from tests.accepted.files import READ, REFUSED


@pytest.mark.parametrize("case", READ, ids=lambda case: case.what)
def test_every_form_has_its_rows_and_its_notes(case: DataFile, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    table = read_file(path, "train", case.options)
    first, second = case.fields
    assert tuple((row[first], row.get(second)) for row in table.rows) == case.rows
    assert case.said in " ".join(table.notes)
    assert bool(case.said) == bool(table.notes)
    assert table.where(len(table) - 1).startswith(str(path))
    assert table.where(len(table) - 1).endswith(case.where)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_a_broken_file_is_refused_in_one_sentence(case: DataFile, tmp_path: Path) -> None:
    path = case.write(tmp_path)
    with pytest.raises(UserError, match=pattern(case.said)) as error:
        read_file(path, "train", case.options)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
