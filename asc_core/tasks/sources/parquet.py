"""Parquet files."""

from __future__ import annotations

from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.sources.hub import first_line, hub_table
from asc_core.tasks.sources.table import FileOptions, Table


def read_parquet(path: Path, split: str, options: FileOptions) -> Table:
    import datasets
    import pyarrow.parquet

    try:
        arrow = pyarrow.parquet.read_table(path, memory_map=True)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is not a readable Parquet file: {first_line(error)}.") from None
    return hub_table(datasets.Dataset(arrow), str(path))
