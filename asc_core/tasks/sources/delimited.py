"""Tables as CSV and TSV, with whatever separates their fields."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.columns import columns_table
from asc_core.tasks.sources.decoding import format_of, text_of
from asc_core.tasks.sources.table import FileOptions, Lines, Table

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
TRIED_ON = 50  # rows
FEW_VALUES = 50  # distinct ones in a column of labels, at most

_Record = tuple[int, int, list[str]]  # first line, last line, fields


def read_delimited(path: Path, split: str, options: FileOptions) -> Table:
    text, notes = text_of(path, options.encoding)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if options.words and _words_in_columns(lines):
        return columns_table(path, lines, options, notes)
    first = 1
    delimiter = options.delimiter
    if lines[0].strip().lower().startswith("sep=") and len(lines[0].strip().strip('"')) in (4, 5):
        delimiter = delimiter or lines[0].strip()[4:5] or "\t"  # as Excel writes it for itself
        lines, first = lines[1:], 2
    if delimiter is None:
        delimiter, said = _separator(path, lines, options)
        notes = (*notes, *said)
    return _table(path, lines, delimiter, options, notes, first)


def distinct_names(path: Path, header: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(the names of columns, each once, without blanks around them; what had to be changed)"""
    names: list[str] = []
    said: list[str] = []
    for name in (cell.strip().strip("\ufeff") for cell in header):
        count = 1
        other = name
        while other in names:
            other = f"{name}.{count}"
            count += 1
        if other != name and name:
            said.append(f"{path} has several columns {name!r}; one of them is called {other!r} here.")
        names.append(other)
    return tuple(names), tuple(said)


def _words_in_columns(lines: list[str]) -> bool:
    """A word and its tags a line and empty lines between texts: tabs alone make no table of rows."""
    stripped = "\n".join(lines).strip("\n").split("\n")
    return any(not line.strip() for line in stripped) and all("\t" in line for line in stripped if line.strip())


def _separator(path: Path, lines: list[str], options: FileOptions) -> tuple[str, tuple[str, ...]]:
    """That of the file's ending, or another with which the rows have as many fields as the header."""
    usual = "\t" if format_of(path) == ".tsv" else ","
    fields = {separator: _fields(lines, separator, options) for separator in SEPARATORS}
    if fields[usual] is not None and fields[usual] > 1:  # type: ignore[operator]
        return usual, ()
    others = {s: n for s, n in fields.items() if s != usual and n is not None and n > 1}
    if not others or (fields[usual] == 1 and options.columns is not None and len(options.columns) == 1):
        return usual, ()
    best = max(others, key=lambda separator: others[separator])
    return best, (f"{path} has {SEPARATORS[best]} between its fields; set `delimiter` under [data] to say.",)


def _fields(lines: list[str], separator: str, options: FileOptions) -> int | None:
    """How many fields every one of the first rows has, None where they differ."""
    counts = set()
    try:
        for number, (_, _, cells) in enumerate(_records(lines, separator, options, False, 1)):
            counts.add(len(cells))
            if number == TRIED_ON or len(counts) > 1:
                break
    except csv.Error:
        return None
    return counts.pop() if len(counts) == 1 else None


def _records(
    lines: list[str], separator: str, options: FileOptions, spaces: bool, first: int, strict: bool = False
) -> Iterator[_Record]:
    """The rows that are not empty. spaces: those behind a separator are no part of a field. first: number of line 0."""
    csv.field_size_limit(1 << 30)
    reader = csv.reader(
        io.StringIO("\n".join(lines), newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if options.quoting else csv.QUOTE_NONE,
        skipinitialspace=spaces,
        strict=strict,
    )
    start = 0
    for cells in reader:
        begin, start = start, reader.line_num
        if cells:
            yield first + begin, first + reader.line_num - 1, cells


def _table(
    path: Path, lines: list[str], separator: str, options: FileOptions, notes: tuple[str, ...], first: int
) -> Table:
    names = options.columns
    records = _records(lines, separator, options, _spaced_header(lines, separator, options), first)
    rows: list[Row] = []
    places: list[int] = []
    over_lines: list[tuple[int, int]] = []
    empty = 0
    try:
        if options.header:
            header = next(records, None)
            if header is not None and names is None:
                names, said = distinct_names(path, header[2])
                notes = (*notes, *said)
        for line, last, cells in records:
            if names is None:
                raise UserError(f"{path} is read without a header: name its columns with `columns = [...]`.")
            if last > line:
                over_lines.append((line, last))
                _check_closed(path, lines, line, last, first, separator, options)
            if len(cells) != len(names):
                if len(names) > 1 and not any(cell.strip() for cell in cells):
                    empty += 1
                    continue
                hint = "; where quotation marks are plain text, set `quoting = false`" if options.quoting else ""
                raise UserError(f"{path}, line {line} has {len(cells)} fields, not {len(names)}{hint}.")
            if len(names) > 1 and not any(cell.strip() for cell in cells):
                empty += 1  # as spreadsheets leave them behind the last row
                continue
            rows.append(dict(zip(names, cells, strict=True)))
            places.append(line)
    except csv.Error as error:
        raise UserError(f"{path} is not readable as a table: {error}.") from None
    _check_swallowed(path, lines, over_lines, rows, places, names or (), first, separator)
    if empty:
        notes = (*notes, f"{path}: {empty} rows without any content were left out.")
    return Table(rows, str(path), tuple(names or ()), Lines(places), notes=notes)


def _spaced_header(lines: list[str], separator: str, options: FileOptions) -> bool:
    """Whether there are spaces behind the separators of the header: then they are no part of any field."""
    head = next((line for line in lines if line.strip()), "")
    return separator != "\t" and options.header and f"{separator} " in head


def _check_closed(
    path: Path, lines: list[str], line: int, last: int, first: int, separator: str, options: FileOptions
) -> None:
    """Raises: UserError where a field over several lines has quotation marks that fit nothing."""
    chunk = lines[line - first : last - first + 1]
    try:
        list(_records(chunk, separator, options, False, line, strict=True))
    except csv.Error:
        raise _swallows(path, line, last) from None


def _check_swallowed(
    path: Path,
    lines: list[str],
    over_lines: list[tuple[int, int]],
    rows: list[Row],
    places: list[int],
    names: Sequence[str],
    first: int,
    separator: str,
) -> None:
    """Raises: UserError where the lines of one field are all rows of their own: they end in a label of the column.

    A text over several lines is seldom cut like that, and a quotation mark too many always is.
    """
    if not over_lines or len(names) < 2:
        return
    starts = {line for line, _ in over_lines}
    for column in (len(names) - 1, 0):
        values = Counter(str(row[names[column]]) for row, line in zip(rows, places, strict=True) if line not in starts)
        if not 0 < len(values) <= FEW_VALUES:
            continue
        for line, last in over_lines:
            cells = [text.split(separator) for text in lines[line - first : last - first + 1]]
            if all(len(c) == len(names) and c[column].strip().strip('"') in values for c in cells):
                raise _swallows(path, line, last)


def _swallows(path: Path, line: int, last: int) -> UserError:
    return UserError(
        f"{path}, line {line}: a quotation mark opens a field that goes on to line {last}, over what look like rows of "
        "their own; double or close it, or set `quoting = false` under [data] where quotation marks are plain text."
    )
