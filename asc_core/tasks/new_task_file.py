"""A task file written for data that has none: what is not said is guessed, and each guess stands in the file."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asc_core.atomic_file import write_whole
from asc_core.errors import UserError
from asc_core.tasks.base import Task
from asc_core.tasks.cells import unpacked
from asc_core.tasks.column_profile import Column, columns_of
from asc_core.tasks.guess import Given, Guess, guess
from asc_core.tasks.labels import as_text, is_scalar
from asc_core.tasks.sources import SPLIT_NAMES, SPLITS, FileOptions, Table, read_file, splits_inside
from asc_core.tasks.sources.columns import looks_like_columns
from asc_core.tasks.sources.decoding import format_of, text_of
from asc_core.tasks.task_file import task_from_content

COUNTED = 20  # classes that are listed
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DELIMITED = (".csv", ".tsv")


@dataclass(frozen=True)
class NewTaskFile:
    """content: as `task_from_content` takes it. notes: what was guessed, and what the data is like, in sentences."""

    content: dict[str, Any]
    notes: tuple[str, ...]

    def task(self, path: Path) -> Task:
        """As the file at `path` would say it. Raises: UserError where the data does not fit."""
        return task_from_content(self.content, path.stem, str(path), path.parent)

    def text(self) -> str:
        """As TOML, the notes before it as comments."""
        comments = "".join(f"# {_printable(note)}\n" for note in self.notes)
        plain = {key: value for key, value in self.content.items() if not isinstance(value, Mapping)}
        tables = {key: value for key, value in self.content.items() if isinstance(value, Mapping)}
        lines = [f"{_key(key)} = {_toml(value)}" for key, value in plain.items()]
        for name, table in tables.items():
            lines += ["", f"[{name}]", *(f"{_key(key)} = {_toml(value)}" for key, value in table.items())]
        return comments + "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, self.text().encode())
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None


def new_task_file(
    files: Mapping[str, Path],
    out: Path,
    given: Given = Given(),
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> NewTaskFile:
    """The task file for data in files. files: split -> file; what is in one file alone may hold all splits.

    out: where it will stand, since its paths are relative to it. options: how the files are read, as under [data].
    names: the file's values -> names of classes.
    Raises: UserError where a file cannot be read, or nothing in it can be the text.
    """
    first = "train" if "train" in files else next(iter(files))
    table, data, notes = _read(files[first], first, {**(options or {})})
    inside = _splits_of(files, table, data)
    if "split_column" in data:
        notes.append(f"The column {data['split_column']!r} says which split a row belongs to.")
        table = replace(table, columns=tuple(c for c in table.columns if c != data["split_column"]))
    found = guess(table, given)
    notes += [*table.notes, *found.notes]
    hidden = [split for split, path in files.items() if split != first and _hides_labels(path, split, found, data)]
    notes += [f"{files[split]} has no labels (-1 or nothing in every row), so there is no {split}." for split in hidden]
    files = {split: path for split, path in files.items() if split not in hidden}
    drop, dropped = _drop(found, table)
    notes += dropped
    content: dict[str, Any] = {"kind": found.kind, "texts": list(found.texts)}
    if found.label is not None:
        content["label"] = list(found.label) if isinstance(found.label, tuple) else found.label
        notes += _counted(found, table)
    content |= {name: value for name in ("slots", "separator") if (value := getattr(found, name)) is not None}
    if names:
        content["labels"] = dict(names)
    paths = {split: _relative(path, out.parent) for split, path in files.items()}
    content["data"] = {**paths, **data, **({"drop": drop} if drop else {})}
    notes.append(_about_splits([*files, *(s for s in inside if s not in files)]))
    return NewTaskFile(content, tuple(dict.fromkeys(notes)))


def _read(path: Path, split: str, options: dict[str, Any]) -> tuple[Table, dict[str, Any], list[str]]:
    """(the table, what [data] is to say of how it is read, notes)"""
    if format_of(path) in (".txt", ".tsv") and path.is_file():
        lines = text_of(path, options.get("encoding"))[0].splitlines()
        if any(not line.strip() for line in lines) and looks_like_columns(lines):
            return read_file(path, split, _file_options(options, words=True)), options, []
    inside = _first_inside(path, split, options)
    table, options, notes = _quoted(path, inside, options)
    headless = format_of(path) in _DELIMITED and "columns" not in options and options.get("header", True)
    if headless and _is_a_row(table):
        first = ", ".join(f"{name[:30]!r}" for name in table.columns[:4])
        notes.append(f"The first line ({first}) looks like a row, not like names.")
        options = options | {"header": False}
    if options.get("header") is False and "columns" not in options:
        options = options | {"columns": [f"column{place + 1}" for place in range(len(table.columns))]}
        notes.append(f"The columns have no names, and were called {', '.join(options['columns'][:4])}, ...")
        table = read_file(path, inside, _file_options(options))
    return table, options, notes


def _quoted(path: Path, split: str, options: dict[str, Any]) -> tuple[Table, dict[str, Any], list[str]]:
    """With quotation marks as plain text where they make no sense otherwise."""
    with_names = {name: value for name, value in options.items() if name != "header"}
    try:
        return read_file(path, split, _file_options(with_names)), options, []
    except UserError as error:
        if format_of(path) not in _DELIMITED or "quoting" in options:
            raise
        try:
            table = read_file(path, split, _file_options(with_names | {"quoting": False}))
        except UserError:
            raise error from None
        said = f"Quotation marks are read as plain text (quoting), since otherwise: {str(error).partition(';')[0]}."
        return table, options | {"quoting": False}, [said]


def _hides_labels(path: Path, split: str, found: Guess, data: Mapping[str, Any]) -> bool:
    """As test splits of benchmarks are published."""
    if not isinstance(found.label, str) or found.kind not in ("text-classification", "pair-classification"):
        return False
    table = read_file(path, split, _file_options(data)).reaching([found.label])
    return found.label not in table.columns or {*map(as_text, table.column(found.label))} <= {"", "-1"}


def _first_inside(path: Path, split: str, options: Mapping[str, Any]) -> str:
    there = splits_inside(path, options.get("encoding")) if path.exists() else ()
    return there[0] if there and split not in there else split


def _is_a_row(table: Table) -> bool:
    """Whether what was read as names of columns is a row: one of them is a whole sentence, a number, or a class."""
    for column in columns_of(table):
        if len(column.name.split()) > 5 or (column.form == "number" and re.fullmatch(r"-?[\d.]+", column.name)):
            return True
        if column.is_class and column.counts[as_text(column.name)] and column.form == "text":
            return True
    return False


def _splits_of(files: Mapping[str, Path], table: Table, data: dict[str, Any]) -> Sequence[str]:
    """The splits that one file holds all of; a column that names them is added to `data`."""
    if len(files) > 1:
        return ()
    (path,) = files.values()
    inside = splits_inside(path, data.get("encoding"))
    column = data.get("split_column") or next((c.name for c in columns_of(table) if c.names_splits), None)
    if inside or column is None:
        return inside
    data["split_column"] = column
    there = {as_text(value).casefold() for value in table.column(column)}
    return [split for split in SPLITS if there & {*SPLIT_NAMES[split]}]


def _drop(found: Guess, table: Table) -> tuple[dict[str, list[str]], list[str]]:
    """Rows without a text or without a class are left out, and it is said how many."""
    columns = list(found.texts) if found.kind not in ("tagging", "intent-slots") else []
    if isinstance(found.label, str) and found.kind not in ("multi-label", "question-answering", "tagging"):
        columns.append(found.label)
    whole = table.reaching(columns)
    drop, notes = {}, []
    for column in columns:
        empty = sum(is_scalar(value) and as_text(value) == "" for value in whole.column(column))
        if empty:
            drop[column] = [""]
            notes.append(f"{empty:,} of {len(table):,} rows have no {column!r} and are left out (drop).")
    return drop, notes


def _counted(found: Guess, table: Table) -> list[str]:
    """How often each class occurs, where there are few enough to be listed."""
    if not isinstance(found.label, str) or found.kind not in ("text-classification", "pair-classification"):
        return []
    names = table.class_names.get(found.label, ())
    values = [unpacked(value) for value in table.reaching([found.label]).column(found.label)]
    counts = Counter(as_text(value) for value in values if is_scalar(value) and as_text(value))
    known = {str(number): name for number, name in enumerate(names)}
    shown = ", ".join(f"{known.get(value, value)} ({n:,})" for value, n in counts.most_common(COUNTED))
    more = f", ... ({len(counts)} in all)" if len(counts) > COUNTED else ""
    said = [f"Labels: {shown}{more}."]
    if Column(found.label, tuple(counts)).form == "number" and not names:
        said.append(
            'The labels are numbers: with [labels], 0 = "name" and so on, they get names, by which they are matched to '
            "a model's; without, they are taken for the positions of its outputs."
        )
    return said


def _about_splits(splits: Sequence[str]) -> str:
    said = f"Splits: {', '.join(splits)}"
    if "train" in splits and "validation" not in splits:
        said += "; validation is cut from train, a tenth of it"
    if "train" not in splits:
        said += "; there is no train split, so nothing can be trained, and scores need --split"
    elif "test" not in splits:
        said += "; there is no test split, so no figure is on texts that were never looked at"
    return said + "."


def _file_options(options: Mapping[str, Any], words: bool = False) -> FileOptions:
    known = {name: value for name, value in options.items() if name in FileOptions.__dataclass_fields__}
    if "columns" in known:
        known["columns"] = tuple(known["columns"])
    return FileOptions(**known, words=words)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return str(path.resolve())


def _printable(note: str) -> str:
    """In one line, without the control characters that a name may hold and a comment may not."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in note)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
