"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core.errors import UserError, first_line
from asc_core.tasks.sources.hub import hub_table
from asc_core.tasks.sources.table import FileOptions, Table


def read_parquet(path: Path, split: str, options: FileOptions) -> Table:
    import datasets
    import pyarrow.parquet

    try:
        arrow = pyarrow.parquet.read_table(path, memory_map=True)
        arrow.validate(full=True)  # damaged text would be found out of by whoever reads the row
        return hub_table(datasets.Dataset(_plain(arrow)), str(path))
    except Exception as error:  # a damaged file can raise anything
        raise UserError(f"{path} is not a readable Parquet file: {first_line(error)}.") from None


def _plain(arrow: Any) -> Any:
    """Without dictionaries, as pandas writes its categories."""
    import pyarrow

    for index, column in enumerate(arrow.schema):
        if pyarrow.types.is_dictionary(column.type):
            arrow = arrow.set_column(index, column.name, arrow.column(index).cast(column.type.value_type))
    return arrow
