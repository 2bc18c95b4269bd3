"""What is accepted and refused, as lists of cases: tests try each, and docs/accepted.md is written from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asc_core.tasks.sources import FileOptions

GAP = " … "


@dataclass(frozen=True)
class DataFile:
    """what: the file, as a person calls it. content: of the file, or what writes it. said: what is noted where it is
    read (nothing, where it is empty), or the sentence where it is refused, GAP for what is left out. rows: what it has
    in two `fields`; where: the end of what is said of the last row's place.
    """

    what: str
    name: str
    content: bytes | str | Callable[[Path], Any]
    said: str = ""
    options: FileOptions = field(default_factory=FileOptions)
    rows: tuple[tuple[Any, Any], ...] = ()
    where: str = ""
    fields: tuple[str, str] = ("text", "label")

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content if isinstance(self.content, bytes) else self.content.encode())
        return path


@dataclass(frozen=True)
class Checkpoint:
    """what: how it differs from a sound one. change: makes it of a sound folder. said: as of a data file; {folder} is
    the folder's path.
    """

    what: str
    change: Callable[[Path], Any]
    said: str = ""


def pattern(said: str) -> str:
    """The regular expression of a sentence of which parts are left out."""
    return ".*".join(re.escape(part) for part in said.split(GAP))
