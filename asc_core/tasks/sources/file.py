"""One split from a local file: its name says the format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_core.errors import UserError
from asc_core.tasks.sources.delimited import read_delimited
from asc_core.tasks.sources.json_file import read_json
from asc_core.tasks.sources.json_lines import read_json_lines
from asc_core.tasks.sources.parquet import read_parquet
from asc_core.tasks.sources.plain_text import read_text
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
}


def read_file(path: Path, split: str, options: FileOptions = FileOptions()) -> Table:
    """One split from a file or folder; the format follows from its name.

    Raises: UserError that names the file, and the line where there is one.
    """
    if path.is_dir():
        return read_word_folder(path)
    if not path.exists():
        raise UserError(f"There is no file {path}; the paths in a task file are relative to it.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} has the ending {path.suffix!r}, which is not known: use {', '.join(READERS)} "
            "or a folder with seq.in, seq.out and label."
        )
    try:
        return reader(path, split, options)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
