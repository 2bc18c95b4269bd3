"""Where rows come from: hub datasets and local files, read only when a split is asked for.

A `Table` is one split as it stands in its source. It remembers where each row stands, so that a complaint about a row
can name the file and the line.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asc_core.errors import UserError, first_line
from asc_core.tasks.base import Row

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Table:
    """The rows of one split.

    origin: file or dataset, for messages. places: where each row stands in it ("line 12"), None = by row number.
    class_names: for columns that hold class indices, the names of the classes.
    """

    rows: Sequence[Row]
    origin: str
    columns: tuple[str, ...]
    places: Sequence[str] | None = None
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def where(self, index: int) -> str:
        return f"{self.origin}, {self.places[index] if self.places is not None else f'row {index + 1}'}"

    def select(self, indices: Sequence[int]) -> Table:
        places = _Picked(self.places, indices) if self.places is not None else _Picked(_RowNumbers(), indices)
        return replace(self, rows=_Picked(self.rows, indices), places=places)

    def column(self, name: str) -> Iterator[Any]:
        """Raises: UserError where there is no such column."""
        if name not in self.columns:
            raise UserError(
                f"{self.origin} has no column {name!r}; its columns are {', '.join(map(repr, self.columns))}. "
                "Name the right one in the task file."
            )
        if hasattr(self.rows, "column_names"):  # a hub dataset reads one column without the others
            return iter(self.rows[name])  # type: ignore[call-overload]
        return (row.get(name) for row in self.rows)


class _RowNumbers(Sequence[str]):
    """Places of a source that has no lines."""

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: Any) -> Any:
        return f"row {index + 1}"


class _Picked(Sequence[Any]):
    """Some entries of a sequence, fetched when they are asked for."""

    def __init__(self, entries: Any, indices: Sequence[int]):
        self._entries, self._indices = entries, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        return self._entries[int(self._indices[index])]


class _Lines(Sequence[str]):
    """Places from line numbers, without a string for each row."""

    def __init__(self, numbers: Sequence[int]):
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return f"line {self._numbers[index]}"


@dataclass(frozen=True)
class FileOptions:
    """How local files are to be read. oos: whether CLINC's out-of-scope texts belong to the splits."""

    quoting: bool = True
    header: bool = True
    columns: tuple[str, ...] | None = None
    oos: bool = False


def read_file(path: Path, split: str, options: FileOptions = FileOptions()) -> Table:
    """One split from a file or folder; the format follows from its name.

    Raises: UserError that names the file, and the line where there is one.
    """
    if path.is_dir():
        return _read_bio(path)
    if not path.exists():
        raise UserError(f"There is no file {path}; the paths in a task file are relative to it.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"{path} has the ending {path.suffix!r}, which is not known: use {', '.join(_READERS)} "
            "or a folder with seq.in, seq.out and label."
        )
    try:
        return reader(path, split, options)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def clinc_splits(path: Path) -> tuple[str, ...]:
    """The splits inside a CLINC file, () for every other file: one such file has all splits."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return ()
    data = _load_json(path)
    return tuple(s for s in SPLITS if _CLINC_KEYS[s] in data) if _is_clinc(data) else ()


def _read_delimited(path: Path, split: str, options: FileOptions) -> Table:
    tabs = path.suffix.lower() == ".tsv"
    csv.field_size_limit(1 << 30)
    names = options.columns
    rows: list[Row] = []
    lines: list[int] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(
            file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_MINIMAL if options.quoting else csv.QUOTE_NONE
        )
        header_due = options.header
        start = 1
        try:
            for cells in reader:
                line, start = start, reader.line_num + 1
                if not cells:
                    continue
                if header_due:
                    header_due = False
                    names = names or tuple(cells)
                    continue
                if names is None:
                    raise UserError(f"{path} is read without a header: name its columns with `columns = [...]`.")
                if len(cells) != len(names):
                    hint = "; where quotation marks are plain text, set `quoting = false`" if options.quoting else ""
                    raise UserError(f"{path}, line {line} has {len(cells)} fields, not {len(names)}{hint}.")
                rows.append(dict(zip(names, cells, strict=True)))
                lines.append(line)
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num} is not readable: {error}.") from None
    return Table(rows, str(path), tuple(names or ()), _Lines(lines))


def _read_json_lines(path: Path, split: str, options: FileOptions) -> Table:
    rows: list[Row] = []
    lines: list[int] = []
    columns: dict[str, None] = {}
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is not valid JSON: {error}.") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is not a JSON object with named fields.")
            columns |= dict.fromkeys(row)
            rows.append(row)
            lines.append(number)
    return Table(rows, str(path), tuple(columns), _Lines(lines))


def _read_text(path: Path, split: str, options: FileOptions) -> Table:
    with path.open(encoding="utf-8-sig") as file:
        lines = [(number, line.rstrip("\r\n")) for number, line in enumerate(file, 1)]
    kept = [(number, line) for number, line in lines if line.strip()]
    return Table([{"text": line} for _, line in kept], str(path), ("text",), _Lines([number for number, _ in kept]))


def _read_parquet(path: Path, split: str, options: FileOptions) -> Table:
    import datasets
    import pyarrow.parquet

    try:
        arrow = pyarrow.parquet.read_table(path, memory_map=True)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is not a readable Parquet file: {first_line(error)}.") from None
    return _hub_table(datasets.Dataset(arrow), str(path))


def _read_json(path: Path, split: str, options: FileOptions) -> Table:
    data = _load_json(path)
    if _is_clinc(data):
        return _clinc_table(path, data, split, options.oos)
    if isinstance(data, dict) and isinstance(data.get("data"), list):
        return _squad_table(path, data["data"])
    if isinstance(data, list) and all(isinstance(row, dict) for row in data):
        return Table(data, str(path), tuple(dict.fromkeys(key for row in data for key in row)))
    raise UserError(f"{path} is neither SQuAD nor CLINC JSON, nor a list of objects; use JSONL, one object a line.")


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON: {error}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from None


_CLINC_KEYS = {"train": "train", "validation": "val", "test": "test"}


def _is_clinc(data: Any) -> bool:
    return isinstance(data, dict) and any(isinstance(data.get(key), list) for key in _CLINC_KEYS.values())


def _clinc_table(path: Path, data: dict[str, Any], split: str, oos: bool) -> Table:
    key = _CLINC_KEYS.get(split, split)
    if not isinstance(data.get(key), list):
        raise UserError(f"{path} has no {key!r} list; it has {', '.join(data)}.")
    rows: list[Row] = []
    places: list[str] = []
    for part in (key, f"oos_{key}") if oos else (key,):
        for index, entry in enumerate(data.get(part, [])):
            place = f"{part}[{index}]"
            if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry)):
                raise UserError(f"{path}, {place} is not a pair [text, intent].")
            if entry[1] == "oos" and not oos:
                continue
            rows.append({"text": entry[0], "intent": entry[1], "label": entry[1]})
            places.append(place)
    return Table(rows, str(path), ("text", "intent", "label"), places)


def _squad_table(path: Path, articles: list[Any]) -> Table:
    rows: list[Row] = []
    places: list[str] = []
    columns = ["id", "title", "context", "question"]
    for a, article in enumerate(articles):
        for p, paragraph in enumerate(_list(path, article, "paragraphs", f"data[{a}]")):
            here = f"data[{a}].paragraphs[{p}]"
            context = _field(path, paragraph, "context", here)
            for q, entry in enumerate(_list(path, paragraph, "qas", here)):
                row = {
                    "id": str(entry.get("id", len(rows))) if isinstance(entry, dict) else "",
                    "title": article.get("title", ""),
                    "context": context,
                    "question": _field(path, entry, "question", f"{here}.qas[{q}]"),
                }
                if "answers" in entry:
                    row["answers"] = entry["answers"]
                rows.append(row)
                places.append(f"question {row['id']}")
    if any("answers" in row for row in rows):
        columns.append("answers")
    return Table(rows, str(path), tuple(columns), places)


def _field(path: Path, entry: Any, name: str, place: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise UserError(f"{path}, {place} has no {name!r}: it is not SQuAD JSON.")
    return entry[name]


def _list(path: Path, entry: Any, name: str, place: str) -> list[Any]:
    found = _field(path, entry, name, place)
    if not isinstance(found, list):
        raise UserError(f"{path}, {name!r} of {place} is no list: it is not SQuAD JSON.")
    return found


def _read_bio(folder: Path) -> Table:
    """A folder with seq.in (words), seq.out (tags) and label (intent), one text a line; the last two may be absent."""
    if not (folder / "seq.in").exists():
        raise UserError(f"{folder} has no file seq.in: a folder must hold seq.in, seq.out and label.")
    parts: dict[str, list[str]] = {}
    for column, name in (("tokens", "seq.in"), ("tags", "seq.out"), ("intent", "label")):
        if (folder / name).exists():
            try:
                parts[column] = (folder / name).read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
            except UnicodeDecodeError as error:
                raise UserError(f"{folder / name} is not UTF-8 text ({error.reason}); convert it first.") from None
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
    return Table(rows, str(folder / "seq.in"), tuple(rows[0]) if rows else (), _Lines(range(1, len(rows) + 1)))


_READERS: dict[str, Callable[[Path, str, FileOptions], Table]] = {
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".txt": _read_text,
}


def read_hub(name: str, config: str | None, split: str, revision: str | None = None) -> Table:
    """One split of a hub dataset, memory-mapped. Raises: UserError where it cannot be had."""
    import datasets

    with _hub_errors(name, config):
        return _hub_table(
            datasets.load_dataset(name, config, split=split, revision=revision),
            f"{name}{f'/{config}' if config else ''} ({split})",
        )


def hub_splits(name: str, config: str | None, revision: str | None = None) -> tuple[str, ...]:
    """Names of the splits of a hub dataset."""
    import datasets

    with _hub_errors(name, config):
        return tuple(datasets.get_dataset_split_names(name, config, revision=revision))


class _hub_errors:
    """Whatever the hub's libraries raise becomes one sentence: there is no closed list of their exceptions."""

    def __init__(self, name: str, config: str | None):
        self._title = f"{name} (config {config})" if config else name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception):
            raise UserError(
                f"The dataset {self._title} could not be loaded from the hub ({type(error).__name__}: "
                f"{first_line(error)}); check the name and the network, or give local files under [data]."
            ) from None


def _hub_table(dataset: Any, origin: str) -> Table:
    names: dict[str, tuple[str, ...]] = {}
    for column, feature in dataset.features.items():
        feature = getattr(feature, "feature", feature)  # a list of classes
        if getattr(feature, "names", None):
            names[column] = tuple(feature.names)
    return Table(dataset, origin, tuple(dataset.column_names), None, names)
