"""Task files: a short TOML text that says what an application is.

A task file comes from somewhere else, so all of it is checked; whatever is wrong is said in one sentence that names
the file and the field.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from asc_core.errors import UserError, first_line
from asc_core.tasks import sources
from asc_core.tasks.base import Task
from asc_core.tasks.kinds import OTHER_LABELS, USUAL_LABEL, USUAL_SLOTS, USUAL_TEXTS, make_task
from asc_core.tasks.labels import as_text
from asc_core.tasks.reach import checked_dataset, reached
from asc_core.tasks.sources import SPLIT_NAMES, SPLITS, FileOptions, Table
from asc_core.tasks.table_task import Setup

Kind = Literal[
    "text-classification",
    "pair-classification",
    "multi-label",
    "regression",
    "question-answering",
    "tagging",
    "intent-slots",
    "sentence-similarity",
]


VALIDATION = SPLIT_NAMES["validation"]


class Data(BaseModel):
    """The table [data]. train, validation, test: files or folders beside the task file, or splits of the hub dataset.

    dev, val and valid are other names of validation. drop: rows to leave out, by column and value, such as
    { label = [-1] }. split_column: for one file with all splits, the column that names the split of each row. The other
    fields are those of `FileOptions`.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    train: str | None = None
    validation: str | None = Field(default=None, validation_alias=AliasChoices(*VALIDATION))
    test: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    quoting: bool = True
    header: bool = True
    columns: list[str] | None = None
    oos: bool = False
    encoding: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    sheet: str | None = None
    records: str | None = None
    split_column: str | None = None
    drop: dict[str, list[str | int]] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_name(cls, given: Any) -> Any:
        names = [name for name in VALIDATION if isinstance(given, Mapping) and name in given]
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} are names of one split; give one of them")
        return given


class TaskFile(BaseModel):
    """A whole task file. The fields are those of `Setup`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    kind: Kind
    name: str | None = Field(default=None, min_length=1, max_length=60, pattern=r"^[\w.+-]+$")
    texts: list[str] | None = Field(default=None, min_length=1)
    label: str | list[str] | None = None
    slots: str | None = None
    labels: dict[str, str] | list[str] | None = None
    slot_labels: dict[str, str] | list[str] | None = None
    metric: str | None = None
    positive: str | None = None
    max_length: int | None = Field(default=None, ge=8)
    stride: int | None = Field(default=None, ge=0)
    no_answer: bool | None = None
    answer_tokens: int | None = Field(default=None, ge=1)
    separator: str = Field(default=",", min_length=1)
    words: Literal["joined", "apart"] | None = None
    data: Data


def load_task_file(path: str | Path, split_seed: int = 0, split: str | None = None) -> Task:
    """Raises: UserError that names the file and the field."""
    path = Path(path)
    return task_from_content(_content(path), path.stem, str(path), path.parent, split_seed, split)


def name_in_task_file(path: str | Path) -> str:
    """The task's name, its data unread. Raises: UserError as `load_task_file` does."""
    path = Path(path)
    return checked_content(_content(path), str(path)).name or path.stem


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first.") from None
    except RecursionError:
        raise UserError(f"{path} is not valid TOML: it is nested too deeply.") from None
    except ValueError as error:  # also for numbers of thousands of digits, which Python refuses to read
        raise UserError(f"{path} is not valid TOML: {first_line(error)}.") from None


def task_from_content(
    content: Mapping[str, Any],
    name: str,
    origin: str,
    folder: Path,
    split_seed: int = 0,
    split: str | None = None,
) -> Task:
    """A task from the content of a task file. folder: what its paths are relative to."""
    file = checked_content(content, origin)
    loaders = _loaders(file.data, origin, folder, USUAL_TEXTS.get(file.kind) == ("tokens",))
    task = make_task(setup_of(file, name, origin, _label(file, loaders)), loaders, split_seed, split)
    task.definition = content
    return task


def setup_of(file: TaskFile, name: str, origin: str, label: str | list[str] | None) -> Setup:
    """Raises: UserError where no column is named as the text."""
    setup = Setup(
        name=file.name or name,
        kind=file.kind,
        origin=origin,
        texts=tuple(file.texts or USUAL_TEXTS.get(file.kind, ())),
        label=tuple(label) if isinstance(label, list) else label,
        slots=(file.slots or USUAL_SLOTS) if file.kind == "intent-slots" else None,
        labels=file.labels,
        slot_labels=file.slot_labels,
        metric=file.metric,
        positive=file.positive,
        max_length=file.max_length,
        stride=file.stride,
        no_answer=file.no_answer,
        answer_tokens=file.answer_tokens,
        separator=file.separator,
        words=file.words,
    )
    if not setup.texts:
        raise UserError(f"{origin}: texts is missing; name the column(s) that hold the text, texts = [...].")
    return setup


def checked_content(content: Mapping[str, Any], origin: str) -> TaskFile:
    """Raises: UserError with the first field that is wrong."""
    try:
        return TaskFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        here, *below = map(str, first["loc"])  # below the field's name pydantic names types, too
        places = [here, *(p for p in below if not (p in ("str", "int") or p.startswith(("dict[", "list["))))]
        field, message = ".".join(places), first["msg"]
        if first["type"] == "missing":
            message = "is missing"
        elif first["type"] == "extra_forbidden":
            known = Data.model_fields if places[0] == "data" and len(places) > 1 else TaskFile.model_fields
            close = difflib.get_close_matches(places[-1], known, 1)
            message = f"is not known; {f'did you mean {close[0]!r}' if close else 'known are ' + ', '.join(known)}"
        else:
            message = f"{message[0].lower()}{message[1:]} (it is {str(first['input'])[:60]!r})"
        raise UserError(f"{origin}: {field}: {message}.") from None


def _loaders(data: Data, origin: str, folder: Path, words: bool) -> dict[str, Callable[[], Table]]:
    given = {split: getattr(data, split) for split in SPLITS if getattr(data, split) is not None}
    if data.hub is not None:
        return _hub_loaders(data, given, folder, origin)
    if data.config is not None or data.revision is not None:
        raise UserError(f"{origin}: data.config and data.revision belong to a hub dataset; set data.hub too.")
    if not given:
        raise UserError(f"{origin}: data: give train, validation or test files, or a hub dataset (hub = ...).")
    options = FileOptions(
        data.quoting,
        data.header,
        tuple(data.columns) if data.columns else None,
        data.oos,
        data.encoding,
        data.delimiter,
        data.sheet,
        data.records,
        words,
    )
    paths = {split: reached(folder, name, origin) for split, name in given.items()}
    if data.split_column is not None:
        return _by_column(paths, data.split_column, origin, options, data.drop)
    if len(paths) == 1:
        (path,) = paths.values()
        paths |= dict.fromkeys(_splits_inside(path, data.encoding), path)
    return {
        split: _dropping(lambda path=path, split=split: sources.read_file(path, split, options), data.drop)  # type: ignore[misc]
        for split, path in paths.items()
    }


def _by_column(
    paths: Mapping[str, Path], column: str, origin: str, options: FileOptions, drop: Mapping[str, list[str | int]]
) -> dict[str, Callable[[], Table]]:
    """The splits of one file that names them in a column, whatever they are called there."""
    if len({*paths.values()}) != 1:
        raise UserError(f"{origin}: data.split_column is for one file; leave it out where every split has its own.")
    (split, path), *_ = paths.items()
    whole = sources.read_file(path, split, options)
    names = {value: as_text(value).casefold() for value in {*map(as_text, whole.column(column))}}
    ours = {alias: ours for ours, aliases in SPLIT_NAMES.items() for alias in aliases}
    found = {ours.get(name, value): None for value, name in names.items() if name}

    def rows_of(wanted: str) -> Callable[[], Table]:
        def load() -> Table:
            values = (as_text(value) for value in whole.column(column))
            return whole.select([i for i, v in enumerate(values) if ours.get(v.casefold(), v) == wanted])

        return load

    order = [*(s for s in SPLITS if s in found), *sorted(s for s in found if s not in SPLITS)]
    return {split: _dropping(rows_of(split), drop) for split in order}


def _splits_inside(path: Path, encoding: str | None) -> tuple[str, ...]:
    try:
        return sources.splits_inside(path, encoding)
    except OSError:  # whoever reads the file will be told
        return ()


def _hub_loaders(data: Data, given: Mapping[str, str], folder: Path, origin: str) -> dict[str, Callable[[], Table]]:
    name = checked_dataset(folder, str(data.hub), origin)
    if not given:
        there = sources.hub_splits(name, data.config, data.revision)
        named = {split: next((n for n in SPLIT_NAMES[split] if n in there), None) for split in SPLITS}
        given = {split: found for split, found in named.items() if found is not None}
    return {
        split: _dropping(
            lambda theirs=theirs: sources.read_hub(name, data.config, theirs, data.revision),  # type: ignore[misc]
            data.drop,
        )
        for split, theirs in given.items()
    }


def _dropping(load: Callable[[], Table], drop: Mapping[str, list[str | int]]) -> Callable[[], Table]:
    """The same rows without those that have one of the values."""
    if not drop:
        return load

    def dropped() -> Table:
        table = load()
        kept = set(range(len(table)))
        for column, values in drop.items():
            unwanted = set(map(as_text, values))
            kept -= {i for i, value in enumerate(table.column(column)) if as_text(value) in unwanted}
        return table if len(kept) == len(table) else table.select(sorted(kept))

    return dropped


def _label(file: TaskFile, loaders: Mapping[str, Callable[[], Table]]) -> str | list[str] | None:
    """The label's column; for the kinds whose formats name it themselves, that name where the data has it."""
    if file.label is not None or file.kind not in USUAL_LABEL or file.data.hub is not None:
        return file.label
    there = next(iter(loaders.values()))().columns
    return next((name for name in (USUAL_LABEL[file.kind], *OTHER_LABELS.get(file.kind, ())) if name in there), None)
