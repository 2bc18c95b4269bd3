"""One split as it stands in its source.

It remembers where each row stands, so that a complaint about a row can name the file and the line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "dev", "val", "valid", "development"),
    "test": ("test", "testing"),
}  # what people call them


@dataclass(frozen=True)
class Table:
    """The rows of one split.

    origin: file or dataset, for messages. places: where each row stands in it ("line 12"), None = by row number.
    class_names: for columns that hold class indices, the names of the classes. notes: sentences on what had to be
    guessed while reading, such as an encoding.
    """

    rows: Sequence[Row]
    origin: str
    columns: tuple[str, ...]
    places: Sequence[str] | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, index: int) -> str:
        return f"{self.origin}, {self.places[index] if self.places is not None else f'row {index + 1}'}"

    def select(self, indices: Sequence[int]) -> Table:
        places = _Picked(self.places, indices) if self.places is not None else _Picked(_RowNumbers(), indices)
        return replace(self, rows=_Picked(self.rows, indices), places=places)

    def reaching(self, names: Iterable[str]) -> Table:
        """With a column for each of these names that is a dotted path into another: "answer.text", "tokens.0.form"."""
        paths = [n for n in names if n not in self.columns and "." in n and n.split(".")[0] in self.columns]
        return replace(self, rows=_Reaching(self.rows, paths), columns=(*self.columns, *paths)) if paths else self

    def column(self, name: str) -> Iterator[Any]:
        """Raises: UserError where there is no such column."""
        if name not in self.columns:
            raise UserError(
                f"{self.origin} has no column {name!r}; its columns are {', '.join(map(repr, self.columns))}. "
                "Name the right one in the task file."
            )
        if hasattr(self.rows, "column_names"):  # a hub dataset reads one column without the others
            return iter(self.rows[name])  # type: ignore[call-overload]
        return (row.get(name) for row in self.rows)


class _RowNumbers(Sequence[str]):
    """Places of a source that has no lines."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:
        return f"row {index + 1}"


class _Picked(Sequence[Any]):
    """Some entries of a sequence, fetched when they are asked for."""

    def __init__(self, entries: Any, indices: Sequence[int]):
        self._entries, self._indices = entries, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._entries[int(self._indices[index])]


class _Reaching(Sequence[Any]):
    """Rows with what stands under dotted paths."""

    def __init__(self, rows: Sequence[Row], paths: Sequence[str]):
        self._rows, self._paths = rows, [(path, path.split(".")) for path in paths]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        row = self._rows[index]
        return {**row, **{path: _under(row, keys) for path, keys in self._paths}}


def _under(value: Any, keys: Sequence[str]) -> Any:
    """Of a list all entries, or one by its number. None where there is nothing."""
    for place, key in enumerate(keys):
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and len(key) < 10:
            value = value[int(key)] if int(key) < len(value) else None
        elif isinstance(value, list):
            return [_under(entry, keys[place:]) for entry in value]
        else:
            return None
    return value


class Lines(Sequence[str]):
    """Places from line numbers, without a string for each row."""

    def __init__(self, numbers: Sequence[int], what: str = "line"):
        self._numbers, self._what = numbers, what

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"{self._what} {self._numbers[index]}"


@dataclass(frozen=True)
class FileOptions:
    """How local files are to be read.

    oos: whether CLINC's out-of-scope texts belong to the splits. encoding, delimiter: where they are not recognised.
    sheet: of a workbook. records: a dotted path of keys under which a JSON file has its rows. words: whether lists of
    words are wanted, so that columns of words are no table of rows.
    """

    quoting: bool = True
    header: bool = True
    columns: tuple[str, ...] | None = None
    oos: bool = False
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    records: str | None = None
    words: bool = False
