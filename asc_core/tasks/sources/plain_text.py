"""Texts without anything else, one a line."""

from __future__ import annotations

from pathlib import Path

from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_text(path: Path, split: str, options: FileOptions) -> Table:
    with path.open(encoding="utf-8-sig") as file:
        lines = [(number, line.rstrip("\r\n")) for number, line in enumerate(file, 1)]
    kept = [(number, line) for number, line in lines if line.strip()]
    return Table([{"text": line} for _, line in kept], str(path), ("text",), Lines([number for number, _ in kept]))
