"""CLINC150's JSON: one file that holds all splits as lists of [text, intent]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row
from asc_core.tasks.sources.table import Table

KEYS = {"train": "train", "validation": "val", "test": "test"}


def is_clinc(data: Any) -> bool:
    """Lists of lists under its names of splits; lists of objects are rows of another kind."""
    lists = [data[key] for key in KEYS.values() if isinstance(data.get(key), list)] if isinstance(data, dict) else []
    return bool(lists) and any(entries and not isinstance(entries[0], dict) for entries in lists)


def clinc_table(path: Path, data: dict[str, Any], split: str, oos: bool) -> Table:
    key = KEYS.get(split, split)
    if not isinstance(data.get(key), list):
        raise UserError(f"{path} has no {key!r} list; it has {', '.join(data)}.")
    rows: list[Row] = []
    places: list[str] = []
    for part in (key, f"oos_{key}") if oos else (key,):
        for index, entry in enumerate(_entries(path, data, part)):
            place = f"{part}[{index}]"
            if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry)):
                raise UserError(f"{path}, {place} is not a pair [text, intent].")
            if entry[1] == "oos" and not oos:
                continue
            rows.append({"text": entry[0], "intent": entry[1], "label": entry[1]})
            places.append(place)
    return Table(rows, str(path), ("text", "intent", "label"), places)


def _entries(path: Path, data: dict[str, Any], part: str) -> list[Any]:
    entries = data.get(part, [])
    if not isinstance(entries, list):
        raise UserError(f"{path}, {part!r} is not a list of pairs [text, intent].")
    return entries
