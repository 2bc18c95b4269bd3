"""Texts without anything else, one a line."""

from __future__ import annotations

from pathlib import Path

from asc_core.tasks.sources.columns import columns_table, looks_like_columns
from asc_core.tasks.sources.decoding import text_of
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_text(path: Path, split: str, options: FileOptions) -> Table:
    text, notes = text_of(path, options.encoding)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if options.words or looks_like_columns(lines):
        return columns_table(path, lines, options, notes)
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    rows = [{"text": line} for _, line in kept]
    return Table(rows, str(path), ("text",), Lines([number for number, _ in kept]), notes=notes)
