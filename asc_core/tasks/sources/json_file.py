"""JSON files: SQuAD, CLINC, a list of objects, columns, or records under a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.sources.clinc import KEYS, clinc_table, is_clinc
from asc_core.tasks.sources.decoding import format_of, text_of
from asc_core.tasks.sources.json_lines import json_lines_table
from asc_core.tasks.sources.json_text import Extra, parse
from asc_core.tasks.sources.squad import is_squad, squad_table
from asc_core.tasks.sources.table import SPLIT_NAMES, SPLITS, FileOptions, Table


def read_json(path: Path, split: str, options: FileOptions) -> Table:
    text, notes = text_of(path, options.encoding)
    try:
        data = parse(text, str(path))
    except Extra:
        return json_lines_table(path, text, notes)  # as datasets and pandas write lines into .json
    if options.records is not None:
        data = _under(path, data, options.records)
    if is_clinc(data):
        return clinc_table(path, data, split, options.oos)
    if is_squad(data):
        return squad_table(path, data["data"])
    rows, places, said = _rows(path, data, split, options)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(rows, str(path), columns, places, notes=(*notes, *said))


def splits_inside(path: Path, encoding: str | None = None) -> tuple[str, ...]:
    """The splits that a JSON file holds all of, as CLINC's does; () for every other file."""
    if format_of(path) != ".json" or not path.is_file():
        return ()
    try:
        data = parse(text_of(path, encoding)[0], str(path))
    except Extra:
        return ()
    if is_clinc(data):
        return tuple(s for s in SPLITS if KEYS[s] in data)
    if not isinstance(data, dict):
        return ()
    return tuple(s for s in SPLITS if any(_is_records(data.get(name)) for name in SPLIT_NAMES[s]))


def _rows(
    path: Path, data: Any, split: str, options: FileOptions
) -> tuple[list[dict[str, Any]], list[str] | None, tuple[str, ...]]:
    """(rows, where each stands, what had to be assumed)"""
    if _is_records(data):
        return data, None, ()
    if isinstance(data, list) and options.columns and all(isinstance(row, list) for row in data):
        return _named(path, data, options.columns), None, ()
    if not isinstance(data, dict) or not data:
        raise UserError(f"{path} is neither SQuAD nor CLINC JSON, nor a list of objects; use JSONL, one object a line.")
    names = [name for name in (*SPLIT_NAMES.get(split, ()), split) if _is_records(data.get(name))]
    if names:
        return data[names[0]], [f"{names[0]}[{i}]" for i in range(len(data[names[0]]))], ()
    if isinstance(data.get("columns"), list) and isinstance(data.get("data"), list):  # pandas' orient="split"
        return _named(path, data["data"], tuple(map(str, data["columns"]))), None, ()
    lists = {key: value for key, value in data.items() if isinstance(value, list)}
    records = [key for key, value in lists.items() if value and _is_records(value)]
    if len(records) == 1:
        (key,) = records
        return (
            lists[key],
            [f"{key}[{i}]" for i in range(len(lists[key]))],
            (f"{path}: the rows under {key!r} were read.",),
        )
    if records:
        raise UserError(
            f"{path} has rows under {', '.join(map(repr, records))}: name one with `records = ...` under [data]."
        )
    if len(lists) == len(data) and len({len(value) for value in lists.values()}) == 1:
        return [dict(zip(lists, cells, strict=True)) for cells in zip(*lists.values(), strict=True)], None, ()
    if all(isinstance(value, dict) for value in data.values()):
        return _of_dictionaries(data), None, ()
    raise UserError(
        f"{path} is neither SQuAD nor CLINC JSON, nor a list of objects (its keys are "
        f"{', '.join(map(repr, list(data)[:10]))}); name where the rows are with `records = ...`, or use JSONL."
    )


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _named(path: Path, rows: list[Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise UserError(f"{path}, row {index + 1} is not a list of {len(names)} fields.")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _of_dictionaries(data: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """pandas' columns {"text": {"0": ...}} (its default), or rows by name {"a1": {"text": ...}}."""
    inner = list(dict.fromkeys(key for value in data.values() for key in value))
    if inner and all(key.isdecimal() for key in inner) and not all(key.isdecimal() for key in data):
        return [{column: data[column].get(key) for column in data} for key in inner]
    return list(data.values())


def _under(path: Path, data: Any, keys: str) -> Any:
    """What stands under a dotted path of keys. Raises: UserError where one of them is missing."""
    for key in keys.split("."):
        if not isinstance(data, dict) or key not in data:
            there = ", ".join(map(repr, list(data)[:10])) if isinstance(data, dict) else "no keys"
            raise UserError(f"{path}: there is nothing under {key!r} of records = {keys!r}; there are {there}.")
        data = data[key]
    return data
