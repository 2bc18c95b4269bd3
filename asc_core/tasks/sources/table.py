"""One split as it stands in its source.

It remembers where each row stands, so that a complaint about a row can name the file and the line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row

SPLITS = ("train", "validation", "test")


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


class Lines(Sequence[str]):
    """Places from line numbers, without a string for each row."""

    def __init__(self, numbers: Sequence[int]):
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"line {self._numbers[index]}"


@dataclass(frozen=True)
class FileOptions:
    """How local files are to be read. oos: whether CLINC's out-of-scope texts belong to the splits."""

    quoting: bool = True
    header: bool = True
    columns: tuple[str, ...] | None = None
    oos: bool = False
