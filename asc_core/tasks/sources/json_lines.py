"""JSONL: one object a line."""

from __future__ import annotations

import json
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_json_lines(path: Path, split: str, options: FileOptions) -> Table:
    rows: list[Row] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is not valid JSON: {error}.") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is not a JSON object with named fields.")
            columns |= dict.fromkeys(row)
            rows.append(row)
            lines.append(number)
    return Table(rows, str(path), tuple(columns), Lines(lines))
