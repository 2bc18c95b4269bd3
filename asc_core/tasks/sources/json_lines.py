"""JSONL: one object a line."""

from __future__ import annotations

from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.decoding import text_of
from asc_core.tasks.sources.json_text import Extra, parse
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_json_lines(path: Path, split: str, options: FileOptions) -> Table:
    text, notes = text_of(path, options.encoding)
    return json_lines_table(path, text, notes)


def json_lines_table(path: Path, text: str, notes: tuple[str, ...]) -> Table:
    rows: list[Row] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse(line, f"{path}, line {number}")
        except Extra:
            raise UserError(f"{path}, line {number} is not valid JSON: there is more than one value in it.") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is not a JSON object with named fields.")
        columns |= dict.fromkeys(row)
        rows.append(row)
        lines.append(number)
    return Table(rows, str(path), tuple(columns), Lines(lines), notes=notes)
