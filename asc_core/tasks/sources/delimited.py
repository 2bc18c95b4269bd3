"""Tables as CSV and TSV."""

from __future__ import annotations

import csv
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_delimited(path: Path, split: str, options: FileOptions) -> Table:
    tabs = path.suffix.lower() == ".tsv"
    csv.field_size_limit(1 << 30)
    names = options.columns
    rows: list[Row] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(
            file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_MINIMAL if options.quoting else csv.QUOTE_NONE
        )
        header_due = options.header
        start = 1
        try:
            for cells in reader:
                line, start = start, reader.line_num + 1
                if not cells:
                    continue
                if header_due:
                    header_due = False
                    names = names or tuple(cells)
                    continue
                if names is None:
                    raise UserError(f"{path} is read without a header: name its columns with `columns = [...]`.")
                if len(cells) != len(names):
                    hint = "; where quotation marks are plain text, set `quoting = false`" if options.quoting else ""
                    raise UserError(f"{path}, line {line} has {len(cells)} fields, not {len(names)}{hint}.")
                rows.append(dict(zip(names, cells, strict=True)))
                lines.append(line)
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num} is not readable: {error}.") from None
    return Table(rows, str(path), tuple(names or ()), Lines(lines))
