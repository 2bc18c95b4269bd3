"""Folders of words, tags and intents, as joint intent and slot data is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.decoding import text_of
from asc_core.tasks.sources.table import FileOptions, Lines, Table


def read_word_folder(folder: Path, options: FileOptions) -> Table:
    """A folder with seq.in (words), seq.out (tags) and label (intent), one text a line; the last two may be absent."""
    if not (folder / "seq.in").exists():
        raise UserError(f"{folder} has no file seq.in: a folder must hold seq.in, seq.out and label.")
    parts: dict[str, list[str]] = {}
    notes: tuple[str, ...] = ()
    for column, name in (("tokens", "seq.in"), ("tags", "seq.out"), ("intent", "label")):
        if (folder / name).exists():
            text, said = text_of(folder / name, options.encoding)
            parts[column] = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
            notes += said
            if len(parts[column]) != len(parts["tokens"]):
                raise UserError(
                    f"{folder / name} has {len(parts[column])} lines, seq.in has {len(parts['tokens'])}: "
                    "line i of each belongs to text i."
                )
    rows: list[Row] = []
    for index, text in enumerate(parts["tokens"]):
        row: dict[str, Any] = {"tokens": text.split(), "text": " ".join(text.split())}
        if "tags" in parts:
            row["tags"] = parts["tags"][index].split()
        if "intent" in parts:
            row["intent"] = row["label"] = parts["intent"][index].strip()
        rows.append(row)
    return Table(
        rows, str(folder / "seq.in"), tuple(rows[0]) if rows else (), Lines(range(1, len(rows) + 1)), notes=notes
    )
