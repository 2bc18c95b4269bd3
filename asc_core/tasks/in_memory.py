"""Rows that are in memory already: pandas DataFrames, datasets of the hub's library, lists of rows."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row, Task
from asc_core.tasks.guess import Given, guess
from asc_core.tasks.kinds import make_task
from asc_core.tasks.sources import SPLIT_NAMES, Table
from asc_core.tasks.sources.hub import hub_table
from asc_core.tasks.task_file import checked_content, setup_of

ACCEPTED = (
    "a pandas DataFrame, a datasets.Dataset or DatasetDict, a list of rows (dictionaries), or a dictionary of such by "
    "split, {'train': ..., 'test': ...}"
)


MOST_BITS = 4096  # Python refuses to write whole numbers of thousands of digits


def is_table(source: Any) -> bool:
    """Whether it may hold rows, rather than name a task."""
    return isinstance(source, Mapping | list | tuple) or _is(source, "pandas", "DataFrame") or _is_dataset(source)


def task_in_memory(
    source: Any, fields: Mapping[str, Any], name: str, split_seed: int = 0, split: str | None = None
) -> Task:
    """A task from rows in memory. What `fields` (those of a task file) does not say is guessed, and noted.

    A single table is the train split. Raises: UserError where it holds no rows, or no text can be found in them.
    """
    tables = tables_of(source, name)
    empty = next((table.origin for table in tables.values() if not len(table)), None)
    if empty is not None:
        raise UserError(f"{empty} has no rows.")
    first = next(iter(tables.values()))
    said = {key: _plain(key, value) for key, value in fields.items() if value is not None}
    for field in ("texts", "label", "slots"):
        if not _names_columns(said.get(field, "")):
            raise UserError(f"{name}: {field} is a column's name or a list of them, not {said[field]!r:.60}.")
    label = said.get("label")
    given = Given(
        said.get("kind"),
        tuple(said.get("texts", ())),
        tuple(label) if isinstance(label, list) else label,
        said.get("slots"),
        unlabelled="label" in fields and fields["label"] is None,
    )
    if given.kind is None or not given.texts or (given.label is None and not given.unlabelled):
        found = guess(first, given)
        chosen = found.label
        guessed = {
            "kind": found.kind,
            "texts": list(found.texts),
            "label": list(chosen) if isinstance(chosen, tuple) else chosen,
            "slots": found.slots,
            "separator": found.separator,
        }
        said = {key: value for key, value in guessed.items() if value is not None} | said
        tables = {s: replace(table, notes=(*table.notes, " ".join(found.notes))) for s, table in tables.items()}
    file = checked_content({**said, "data": {}}, name)
    setup = setup_of(file, name, name, file.label)
    return make_task(setup, {s: (lambda table=table: table) for s, table in tables.items()}, split_seed, split)  # type: ignore[misc]


def tables_of(source: Any, name: str) -> dict[str, Table]:
    """split -> table; splits under our names for them. Raises: UserError that says what is accepted."""
    if isinstance(source, Mapping) and not _is_columns(source):
        if not source:
            raise UserError("The task has no data: give at least one split.")
        ours = {alias: ours for ours, aliases in SPLIT_NAMES.items() for alias in aliases}
        splits = [ours.get(str(split).casefold(), str(split)) for split in source]
        twice = next((split for split in splits if splits.count(split) > 1), None)
        if twice is not None:
            raise UserError(
                f"Two of {', '.join(map(repr, source))} are names of the split {twice!r}; give one of them."
            )
        parts = zip(splits, source.values(), strict=True)
        return {split: _table(part, f"{name} ({split})") for split, part in parts}
    return {"train": _table(source, name)}


def _table(source: Any, origin: str) -> Table:
    if _is_dataset(source):
        return hub_table(source, origin)
    if _is(source, "pandas", "DataFrame"):
        return _of_frame(source, origin)
    if isinstance(source, Mapping) and _is_columns(source):
        if len({len(values) for values in source.values()}) != 1:
            lengths = ", ".join(f"{column!r}: {len(values)}" for column, values in source.items())
            raise UserError(f"{origin}: the columns are not equally long ({lengths}).")
        return _of_rows([dict(zip(source, cells, strict=True)) for cells in zip(*source.values(), strict=True)], origin)
    if isinstance(source, list | tuple):
        return _of_rows(source, origin)
    raise UserError(f"{origin}: rows are {ACCEPTED}, not {_kind_of(source)}{_instead(source)}.")


def _of_rows(rows: Sequence[Any], origin: str) -> Table:
    columns: dict[str, None] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or not all(isinstance(key, str) for key in row):
            what = "has a column whose name is no text" if isinstance(row, Mapping) else f"is {_kind_of(row)}"
            raise UserError(
                f"{origin}, row {index + 1} {what}: a row is a dictionary of named fields, "
                '{"text": ..., "label": ...}.'
            )
        columns |= dict.fromkeys(row)
    return Table([_whole(row) for row in rows], origin, tuple(columns))


def _of_frame(frame: Any, origin: str) -> Table:
    import pandas

    if isinstance(frame.columns, pandas.MultiIndex):
        raise UserError(f"{origin}: the DataFrame's columns have several levels; name each column by one text.")
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{origin}: the DataFrame has several columns {twice!r}; rename one of them.")
    cells = [list(frame.iloc[:, place]) for place in range(len(names))]
    rows = [_whole(dict(zip(names, row, strict=True))) for row in zip(*cells, strict=True)]
    return Table(rows, origin, tuple(names))


def _whole(row: Mapping[str, Any]) -> Row:
    """With None for each of pandas' marks of what is missing, and plain values for NumPy's."""
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise UserError("A row holds a whole number of more than a thousand digits: give it as text.")
    if value is None or isinstance(value, str | int | list | dict):
        return value
    if isinstance(value, float):
        return None if value != value else value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a number of NumPy's
        return _cell(value.item())
    return value


def _plain(field: str, value: Any) -> Any:
    """As a task file would have it."""
    if field == "texts" and isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return list(value)
    return {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else value


def _names_columns(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) for name in names)


def _is_columns(source: Mapping[Any, Any]) -> bool:
    """{"text": [...], "label": [...]}, rather than splits."""
    lists = all(isinstance(values, list) for values in source.values())
    return bool(source) and lists and not any(isinstance(row, Mapping) for values in source.values() for row in values)


def _is_dataset(source: Any) -> bool:
    return _is(source, "datasets", "Dataset")


def _is(source: Any, module: str, name: str) -> bool:
    """Whether it is of a class of a library, which is loaded if it is."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(source, kind)


def _kind_of(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}.{kind.__name__}"


def _instead(source: Any) -> str:
    if type(source).__name__.startswith("Iterable"):
        return "; take as many rows of the stream as are wanted, list(stream.take(10_000))"
    return "; take the columns that are wanted, frame[[...]]" if type(source).__name__ == "Series" else ""
