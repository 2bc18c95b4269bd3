"""What the columns of a table hold: by that a task is guessed from data that nobody has described."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from asc_core.tasks.cells import unpacked
from asc_core.tasks.labels import as_flag, as_text, is_scalar
from asc_core.tasks.sources import SPLIT_NAMES, Table
from asc_core.tasks.table_task import as_number

LOOKED_AT = 5000  # rows, at most
FEW = 20  # different values of whole numbers, at most, that are taken for classes

_TAG = re.compile(r"O|[BIESLU][-_].+")
Form = Literal["empty", "list", "object", "number", "text"]


@dataclass(frozen=True)
class Column:
    """values: of some rows, lists and objects unpacked."""

    name: str
    values: tuple[Any, ...]

    @cached_property
    def filled(self) -> list[Any]:
        return [value for value in self.values if not (is_scalar(value) and as_text(value) == "")]

    @cached_property
    def form(self) -> Form:
        """Of nearly all cells that are not empty."""
        if not self.filled:
            return "empty"
        if _mostly(isinstance(v, list) for v in self.filled):
            return "object" if _mostly(any(isinstance(e, dict) for e in v) for v in self.filled) else "list"
        if _mostly(isinstance(v, Mapping) for v in self.filled):
            return "object"
        numbers = (np.isfinite(as_number(v)) and not isinstance(v, bool) for v in self.filled)
        return "number" if all(numbers) else "text"

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text or number occurs."""
        return Counter(as_text(value) for value in self.filled if is_scalar(value))

    @cached_property
    def words(self) -> float:
        """In a cell, on average."""
        return sum(len(str(value).split()) for value in self.filled) / max(len(self.filled), 1)

    @property
    def is_text(self) -> bool:
        """Something to read: of many words, or of values that hardly come twice and are no numbers."""
        filled = 2 * len(self.filled) > len(self.values)
        return filled and self.form == "text" and (self.words > 3 or not self.is_class) and not self.is_identifier

    @property
    def is_class(self) -> bool:
        """Few values, each of which comes again and again."""
        if self.form not in ("text", "number") or (not self.is_whole and self.form == "number"):
            return False
        n, different = len(self.filled), len(self.counts)
        most = FEW if self.form == "number" else 500
        return different <= most and (different <= 2 or different * 2 <= n) and self.words <= 6

    @property
    def is_whole(self) -> bool:
        """Of numbers."""
        return self.form == "number" and all(float(as_number(v)).is_integer() for v in self.filled)

    @property
    def is_flag(self) -> bool:
        """0 and 1, true and false, or yes and no; always filled."""
        whole = len(self.filled) == len(self.values) > 0
        return whole and len(self.counts) <= 2 and all(as_flag(value) is not None for value in self.counts)

    @property
    def holds_single_tags(self) -> bool:
        """Tags of words, one a cell: O and B-, I- and their like."""
        return self.counts["O"] > 0 and len(self.counts) > 1 and all(_TAG.fullmatch(value) for value in self.counts)

    @property
    def is_identifier(self) -> bool:
        """A word or number of its own in nearly every row."""
        different = len(self.counts) > max(FEW, 0.8 * len(self.filled))
        called = {*re.findall("[a-z]+", self.name.casefold())} & {"id", "ids", "guid", "uuid", "uid", "key", "index"}
        numbered = self.is_whole and len(self.counts) == len(self.filled)
        return different and self.words <= 1 and (bool(called) or numbered)

    @property
    def names_splits(self) -> bool:
        known = {name for names in SPLIT_NAMES.values() for name in names}
        return len(self.counts) > 1 and all(value.casefold() in known for value in self.counts)


def columns_of(table: Table) -> list[Column]:
    """Of rows from all over the table, since files are often sorted.

    Columns without a name are what spreadsheets and pandas make of row numbers: left out.
    """
    names = [name for name in table.columns if name and not name.startswith("Unnamed:")]
    cells: dict[str, list[Any]] = {name: [] for name in names}
    for row in _spread(table.rows):
        for name in names:
            cells[name].append(unpacked(row.get(name)))
    return [Column(name, tuple(values)) for name, values in cells.items()]


def same_lengths(first: Column, second: Column) -> bool:
    """Whether two columns of lists nearly always have an entry for each other's, and more than one somewhere."""
    pairs = [(a, b) for a, b in zip(first.values, second.values, strict=True) if isinstance(a, list)]
    fits = _mostly(isinstance(b, list) and len(a) == len(b) for a, b in pairs)
    return fits and any(len(a) > 1 for a, _ in pairs)


def named(columns: Sequence[Column], names: Sequence[str]) -> Column | None:
    """The first column that has one of these names, whatever its case, blanks and signs."""
    by_name = {_plain(column.name): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def are_pair(first: str, second: str) -> bool:
    """Whether two names differ in a number or letter alone: sentence1 and sentence2, text_a and text_b."""
    a, b = _plain(first), _plain(second)
    places = [place for place in range(len(a)) if len(a) == len(b) and a[place] != b[place]]
    return len(places) == 1 and len(a) > 1 and (a[places[0]], b[places[0]]) in (("1", "2"), ("0", "1"), ("a", "b"))


def _spread(rows: Sequence[Any]) -> Iterator[Any]:
    step = max(1, -(-len(rows) // LOOKED_AT))
    return (rows[index] for index in range(0, len(rows), step))


def _mostly(tests: Any) -> bool:
    found = list(tests)
    return sum(found) >= 0.9 * len(found) > 0
