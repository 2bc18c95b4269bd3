"""One split from a local file: its name says the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.sources.columns import read_columns
from asc_core.tasks.sources.decoding import format_of
from asc_core.tasks.sources.delimited import read_delimited
from asc_core.tasks.sources.json_file import read_json
from asc_core.tasks.sources.json_lines import read_json_lines
from asc_core.tasks.sources.parquet import read_parquet
from asc_core.tasks.sources.plain_text import read_text
from asc_core.tasks.sources.spreadsheet import read_workbook
from asc_core.tasks.sources.table import FileOptions, Table
from asc_core.tasks.sources.word_folder import read_word_folder

READERS: dict[str, Callable[[Path, str, FileOptions], Table]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".parquet": read_parquet,
    ".txt": read_text,
    ".conll": read_columns,
    ".conll03": read_columns,
    ".conllu": read_columns,
    ".bio": read_columns,
    ".iob": read_columns,
    ".iob2": read_columns,
    ".xlsx": read_workbook,
    ".xlsm": read_workbook,
}


_OTHER_WORKBOOKS = (".xls", ".xlsb", ".ods")


def read_file(path: Path, split: str, options: FileOptions = FileOptions()) -> Table:
    """One split from a file or folder; the format follows from its name.

    Raises: UserError that names the file, and the line where there is one.
    """
    try:
        if path.is_dir():
            return read_word_folder(path, options)
        if not path.exists():
            raise UserError(f"There is no file {path}; the paths in a task file are relative to it.")
        ending = format_of(path)
        reader = READERS.get(ending)
        if ending in _OTHER_WORKBOOKS:
            raise UserError(f"{path} is a workbook of another kind; save it as .xlsx or .csv.")
        if reader is None:
            raise UserError(
                f"{path} has the ending {ending!r}, which is not known: use {', '.join(READERS)} "
                "or a folder with seq.in, seq.out and label."
            )
        return reader(path, split, options)
    except OSError as error:  # also a name that is too long for the file system
        raise UserError(f"{str(path)[:200]} cannot be read: {error.strerror or error}.") from None
