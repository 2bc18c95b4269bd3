"""What of a study is damaged, and how the rest goes on without it.

Whatever is written holds a digest of itself (`seals`), so that each file and each row can be asked whether it is what
was written. What is not is set aside into a folder of the study, from where a person may still save something.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asc_core.atomic_file import write_whole
from asc_core.checkpoint.digests import DIGESTS_FILE, check_digests
from asc_core.errors import UserError
from asc_core.json_files import read_json
from asc_core.seals import KEY, check_file, row_digest
from asc_core.stored_arrays import storage_error
from asc_core.study import DATABASE, TABLES, make_tables

ASIDE = "damaged"  # the study's folder for what was set aside
ROWS = "rows.jsonl"


@dataclass(frozen=True)
class Damage:
    """place: a file, a folder, or a row of a table (rowid). what: is wrong with it."""

    place: Path
    what: str
    table: str | None = None
    rowid: int | None = None

    def __str__(self) -> str:
        return f"{self.place}{f', {self.table} {self.rowid}' if self.table else ''}: {self.what}"


@dataclass(frozen=True)
class Health:
    """files, rows: that were looked at. damages: those of them that are not what was written."""

    files: int
    rows: int
    damages: tuple[Damage, ...]


def examine(study: str | Path) -> Health:
    """Looks at everything that a study holds and changes nothing. Raises: UserError where there is no study."""
    folder = _study_folder(study)
    files = sorted(_files(folder))
    found = [damage for path in files if (damage := _of_file(path)) is not None]
    found += [damage for path in _written_folders(folder) if (damage := _of_folder(path)) is not None]
    structure = _of_structure(folder / DATABASE)
    rows, of_rows = _of_rows(folder / DATABASE)
    return Health(len(files) + 1, rows, (*structure, *of_rows, *found))


def set_aside(study: str | Path) -> Health:
    """Moves what is damaged into STUDY/damaged and keeps the rest; what was set aside is then computed again.

    Nobody else should use the study meanwhile. Returns what was found. Raises: UserError.
    """
    folder = _study_folder(study)
    health = examine(folder)
    aside = folder / ASIDE
    try:
        for damage in health.damages:
            if damage.table is None and damage.place.name != DATABASE:
                _move(damage.place, folder, aside)
        if any(damage.place.name == DATABASE for damage in health.damages):
            _keep_whole_rows(folder, aside)
    except OSError as error:
        raise storage_error(folder, error) from error
    return health


# Looking


def _study_folder(study: str | Path) -> Path:
    folder = Path(study)
    if not (folder / DATABASE).is_file():
        raise UserError(f"There is no study at {folder}: it would hold a {DATABASE}.")
    return folder


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        if inside[0] != ASIDE and path.suffix in (".safetensors", ".json") and path.is_file():
            yield path


def _of_file(path: Path) -> Damage | None:
    try:
        if path.suffix == ".json":
            read_json(path)
        else:
            check_file(path)
    except (UserError, ValueError, OSError) as error:
        return Damage(path, str(error).removeprefix(f"{path} "))
    return None


def _written_folders(folder: Path) -> list[Path]:
    found = (path.parent for path in folder.rglob(DIGESTS_FILE))
    return sorted(path for path in found if path.relative_to(folder).parts[:1] != (ASIDE,))


def _of_folder(path: Path) -> Damage | None:
    try:
        check_digests(path)
    except UserError as error:
        return Damage(path, str(error))
    return None


def _of_structure(database: Path) -> list[Damage]:
    try:
        with closing(_opened(database)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (sqlite3.Error, UnicodeDecodeError) as error:
        found, tables = str(error), set(TABLES)
    if found == "ok" and tables >= {*TABLES}:
        return []
    return [Damage(database, " ".join(found.split()) if found != "ok" else "a table is missing")]


def _of_rows(database: Path) -> tuple[int, list[Damage]]:
    """(how many there are, those that are not what was written)"""
    count, found = 0, []
    for table, row in _rows(database):
        count += 1
        if not _whole(table, row):
            found.append(Damage(database, "does not hold what was written", table, row["rowid"]))
    return count, found


def _rows(database: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row with its rowid) of all that can be read; past a broken page from the other end."""
    for table in TABLES:
        seen: set[int] = set()
        for order in ("ASC", "DESC"):
            try:
                with closing(_opened(database)) as connection:
                    query = f"SELECT rowid AS rowid, * FROM {table} NOT INDEXED ORDER BY rowid {order}"
                    for row in map(dict, connection.execute(query)):
                        if row["rowid"] not in seen:
                            seen.add(row["rowid"])
                            yield table, row
                    break
            except (sqlite3.Error, UnicodeDecodeError, KeyError):
                continue


def _opened(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")
    return connection


def _whole(table: str, row: dict[str, Any]) -> bool:
    written = {name: value for name, value in row.items() if name != "rowid"}
    return row_digest(table, written) == row.get(KEY)


# Setting aside


def _move(place: Path, folder: Path, aside: Path) -> None:
    if not place.exists():  # it went with the folder that it lay in
        return
    target = aside / place.relative_to(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(place, _free(target))


def _free(target: Path) -> Path:
    number, free = 1, target
    while free.exists():
        number, free = number + 1, target.with_name(f"{target.name}.{number}")
    return free


def _keep_whole_rows(folder: Path, aside: Path) -> None:
    """A new database of the rows that are whole takes the old one's place; the others are written out beside it."""
    aside.mkdir(exist_ok=True)
    made = aside / f"{DATABASE}.new"
    made.unlink(missing_ok=True)  # of one that was killed
    broken: list[dict[str, Any]] = []
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        make_tables(connection)
        for table, row in _rows(folder / DATABASE):
            if not _whole(table, row):
                broken.append({"table": table} | {name: _shown(value) for name, value in row.items()})
                continue
            written = {name: value for name, value in row.items() if name != "rowid"}
            columns, places = ", ".join(written), ", ".join("?" * len(written))
            connection.execute(f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places})", tuple(written.values()))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    if broken:
        write_whole(_free(aside / ROWS), "".join(json.dumps(row) + "\n" for row in broken).encode())
    for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):  # else they would be taken for the new one's
        if (folder / name).exists():
            os.rename(folder / name, _free(aside / name))
    shutil.copy2(folder / DATABASE, _free(aside / DATABASE))
    os.replace(made, folder / DATABASE)


def _shown(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
