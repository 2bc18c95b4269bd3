"""Excel workbooks: one sheet is one table."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from asc_core.errors import UserError, first_line
from asc_core.tasks.base import Row
from asc_core.tasks.sources.delimited import distinct_names
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_workbook(path: Path, split: str, options: FileOptions) -> Table:
    import warnings

    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which no row depends on
            workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
            names = list(workbook.sheetnames)
            wanted = options.sheet or (names[0] if names else "")
            if wanted not in names:
                raise UserError(f"{path} has no sheet {wanted!r}; it has {', '.join(map(repr, names))}.")
            cells = [list(row) for row in workbook[wanted].iter_rows(values_only=True)]
            workbook.close()
    except UserError:
        raise
    except Exception as error:  # a damaged archive or sheet can raise anything
        raise UserError(f"{path} is not a readable Excel workbook: {first_line(error)}.") from None
    notes: tuple[str, ...] = ()
    if options.sheet is None and len(names) > 1:
        notes = (f"{path}: the first of {len(names)} sheets, {wanted!r}, was read; set `sheet` under [data] to say.",)
    return _table(path, cells, options, notes)


def _table(path: Path, cells: list[list[Any]], options: FileOptions, notes: tuple[str, ...]) -> Table:
    kept = [(number, row) for number, row in enumerate(cells, 1) if any(cell is not None for cell in row)]
    names = options.columns
    if options.header and kept:
        _, header = kept.pop(0)
        while header and header[-1] is None:
            header.pop()
        found, said = distinct_names(path, ["" if cell is None else str(cell) for cell in header])
        names = names or found
        notes = (*notes, *said)
    if names is None and kept:
        raise UserError(f"{path} is read without a header: name its columns with `columns = [...]`.")
    rows: list[Row] = []
    for number, row in kept:
        if any(cell is not None for cell in row[len(names or ()) :]):
            raise UserError(f"{path}, row {number} has more cells than there are columns ({len(names or ())}).")
        filled = [*row, *[None] * len(names or ())][: len(names or ())]
        rows.append(dict(zip(names or (), map(_value, filled), strict=True)))
    return Table(rows, str(path), tuple(names or ()), Lines([number for number, _ in kept], "row"), notes=notes)


def _value(cell: Any) -> Any:
    """As a CSV file would have it."""
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return cell if cell is None or isinstance(cell, str | int | float) else str(cell)
