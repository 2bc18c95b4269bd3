"""A study on disk: what was scored, evaluated, planned and pinned, safe against crashes and a second writer.

A study is a folder. `study.sqlite` holds the tables and, beside each estimate, the statistics of its examples, so that
the two never come apart; `scores/` and `partial/` hold larger arrays, one safetensors file each. A file is written
under another name, synced and renamed, and only then its row is committed: whoever is killed in between leaves what
was there before. Each file and each row holds a digest of itself, and each row the number of its turn, so that what is
newest does not hang on a clock. Nothing stays open between two calls, so that a Study is no more than a path: any
thread and any process may use it at the same time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from asc_core.errors import UserError
from asc_core.migrations import migrate
from asc_core.seals import KEY, row_digest
from asc_core.stored_arrays import (
    arrays_from_bytes,
    arrays_to_bytes,
    damaged,
    parsed,
    read_arrays,
    storage_error,
    write_arrays,
)
from asc_core.values import Estimate, Plan, Scores
from asc_core.values.shown import html_table, html_titled, percent

if TYPE_CHECKING:
    import pandas

Value = TypeVar("Value")

APPLICATION_ID = 0x41534353  # "ASCS" in the database's header
SCHEMA_VERSION = 3
SCHEMA = """
CREATE TABLE scores (
    weights TEXT, task TEXT, method TEXT, split TEXT, examples INTEGER, seed INTEGER, labels TEXT, created TEXT,
    turn INTEGER, digest TEXT,
    PRIMARY KEY (weights, task, method, split, examples, seed, labels)
);
CREATE TABLE evaluations (
    weights TEXT, recipe_key TEXT, task TEXT, split TEXT, metric TEXT, examples INTEGER, total INTEGER,
    estimate TEXT, cost TEXT, steps TEXT CHECK (steps IS NULL OR json_valid(steps)), name TEXT, created TEXT,
    turn INTEGER, digest TEXT,
    PRIMARY KEY (weights, recipe_key, task, split)
);
CREATE TABLE statistics (
    weights TEXT, recipe_key TEXT, task TEXT, split TEXT, arrays BLOB, turn INTEGER, digest TEXT,
    PRIMARY KEY (weights, recipe_key, task, split)
);
CREATE TABLE plans (plan_key TEXT PRIMARY KEY, plan TEXT, created TEXT, turn INTEGER, digest TEXT);
CREATE TABLE recipes (recipe_key TEXT PRIMARY KEY, recipe TEXT, created TEXT, turn INTEGER, digest TEXT);
CREATE TABLE pins (name TEXT PRIMARY KEY, recipe_key TEXT, created TEXT, turn INTEGER, digest TEXT);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT, turn INTEGER, digest TEXT);
"""
TABLES = ("scores", "evaluations", "statistics", "plans", "recipes", "pins", "settings")
DATABASE = "study.sqlite"
TABLES_OF_ALL_VERSIONS = {"scores", "evaluations", "statistics", "pins", "settings"}
SECONDS_TO_WAIT_FOR_ANOTHER_WRITER = 30.0
SECONDS_BETWEEN_SAVES = 10.0  # of what interrupted work goes on from
SECONDS_AFTER_WHICH_A_TEMPORARY_FILE_IS_ABANDONED = 3600.0
SHOWN = 20  # lines of each table in a notebook
_NO_RESULTS = ("task", "split", "name", "steps", "metric", "value", "recipe_key", "weights", "created")


class KeptRecipe(Protocol):
    """What a study keeps of a recipe. key: what results are stored under. summary: a few facts about each step.

    cut: the plan of the cut among its steps, if there is one.
    """

    @property
    def key(self) -> str: ...
    @property
    def summary(self) -> list[dict[str, Any]]: ...
    @property
    def cut(self) -> Plan | None: ...
    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Study:
    """Results on disk. Use `Study.open`; every method may raise UserError (damaged file, full disk, folder locked).

    >>> import tempfile
    >>> study = Study.open(tempfile.mkdtemp())
    >>> study.set("theme", "dark")
    >>> study.get("theme")
    'dark'
    """

    path: Path

    @staticmethod
    def open(path: str | Path) -> Study:
        """The study in this folder, or a new one. Raises: UserError if the folder holds other things."""
        if not isinstance(path, str | Path):
            raise UserError(f"A study is a folder: give its path, not {type(path).__name__}.")
        study = Study(Path(path))
        try:
            if study.is_read_only:
                return study._looked_at()
            _refuse_foreign_folder(study.path)
            study.path.mkdir(parents=True, exist_ok=True)
            _remove_abandoned_files(study.path)
        except OSError as error:
            raise storage_error(study.path, error) from error
        with study._connection() as connection:
            _prepare(connection, study._database)
            _check_structure(connection, study._database)
        return study

    def _looked_at(self) -> Study:
        """Where nothing can be written, what is there can be read all the same."""
        with self._connection() as connection:
            _prepare(connection, self._database)
            _check_structure(connection, self._database)
        return self

    @property
    def is_read_only(self) -> bool:
        """Whether there is a study and its folder cannot be written."""
        return self._database.is_file() and not os.access(self.path, os.W_OK)

    # Scores

    def save_scores(self, scores: Scores) -> None:
        """Replaces scores of the same weights, task, method, split, examples, seed and labels."""
        arrays, metadata = scores.to_arrays()
        key = (scores.weights, scores.task, scores.method, scores.split, scores.examples, scores.seed, scores.labels)
        write_arrays(self._scores_file(key), arrays, metadata)
        with self._writing() as connection:
            _put(connection, "scores", dict(zip(_SCORES_KEY, key, strict=True)) | {"created": _now()})

    def scores(self, task: str | None = None, method: str | None = None, weights: str | None = None) -> list[Scores]:
        """Those that match what is given, newest first."""
        wanted = {"task": task, "method": method, "weights": weights}
        rows = [row for row in self.score_index() if all(v in (None, row[name]) for name, v in wanted.items())]
        found = [self._read_scores(_score_key(row)) for row in rows]
        return [scores for scores in found if scores is not None]

    def _read_scores(self, key: tuple[Any, ...]) -> Scores | None:
        file = self._scores_file(key)
        content = read_arrays(file)
        if content is None:
            return None
        scores = parsed(file, lambda: Scores.from_arrays(*content))
        if tuple(getattr(scores, name) for name in _SCORES_KEY) != key:
            raise damaged(file, ValueError("it holds other scores than its name says"))
        return scores

    def score_index(self) -> list[dict[str, Any]]:
        """Newest first: weights, task, method, split, examples, seed, labels, created and turn (a number that grows
        with each that is saved) of each. Reads no arrays."""
        rows = self._rows("scores", _NEWEST_FIRST)
        return [row for row in rows if self._scores_file(_score_key(row)).exists()]

    # Interrupted work

    def save_partial(self, key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
        """What interrupted work needs to go on. metadata: anything that JSON can hold."""
        write_arrays(self._partial_file(key), arrays, {"key": key, "metadata": json.dumps(metadata)})

    def partial(self, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """(arrays, metadata) of the last `save_partial` under this key; None if there is none."""
        file = self._partial_file(key)
        content = read_arrays(file)
        if content is None:
            return None
        arrays, metadata = content
        if metadata.get("key", key) != key:
            raise damaged(file, ValueError("it holds other work than its name says"))
        return arrays, parsed(file, lambda: json.loads(metadata["metadata"]))

    def drop_partial(self, key: str) -> None:
        self._partial_file(key).unlink(missing_ok=True)

    # Evaluations

    def save_evaluation(
        self,
        weights: str,
        recipe_key: str,
        task: str,
        split: str,
        estimate: Estimate,
        *,
        statistics: np.ndarray | None = None,
        numbers: np.ndarray | None = None,
        cost: Mapping[str, Any] | None = None,
        recipe: KeptRecipe | None = None,
        name: str | None = None,
        data: str | None = None,
    ) -> None:
        """Keep a measured metric; an estimate on fewer examples of the same set never replaces one on more, and a
        provisional one none of the final model.

        recipe_key: the key of the recipe (or plan) that made the model from the original with these weights. recipe:
        that recipe, to be kept with it, and its plan.
        statistics, numbers: (n, k) and (n,), the statistics of each example and its place in the split; both or none.
        None leaves those of an earlier measurement on as many examples.
        data: `Task.data` of the examples that it was measured on. Raises: UserError where `set_aside_other_data` was
        told of others since: a long measurement of what a file held before would be taken for one of what it holds now.
        """
        if (statistics is None) != (numbers is None):
            raise ValueError("Statistics of examples need the examples' numbers, and the other way round.")
        if statistics is not None and numbers is not None and len(statistics) != len(numbers):
            raise ValueError(f"{len(statistics)} rows of statistics, but {len(numbers)} example numbers.")
        key = {"weights": weights, "recipe_key": recipe_key, "task": task, "split": split}
        row = key | {
            "metric": estimate.metric,
            "examples": estimate.examples if not estimate.provisional else 0,
            "total": estimate.total,
            "estimate": json.dumps(estimate.to_json()),
            "cost": json.dumps(cost) if cost is not None else None,
            "steps": json.dumps(recipe.summary) if recipe is not None else None,
            "name": name,
            "created": _now(),
        }
        with self._writing() as connection:
            if data is not None and self._setting(connection, _data_key(task, split)) not in (None, data):
                raise UserError(
                    f"The examples of {task} ({split}) or those that it is cut by have changed while this was "
                    "measured, so it is not kept: measure again."
                )
            if recipe is not None:
                _insert_recipe(connection, recipe)
            before = _known_evaluation(connection, key)
            if before is not None and not _replaces(row, before):
                return
            _put(connection, "evaluations", row if before is None else _with_what_was_known(row, before))
            if statistics is None and before is not None and _same_size(row, before):
                return  # the same again: what is known of each example still holds
            connection.execute(f"DELETE FROM statistics WHERE {_EVALUATION}", tuple(key.values()))
            if statistics is not None and numbers is not None:
                blob = arrays_to_bytes({"statistics": statistics, "numbers": numbers})
                _put(connection, "statistics", key | {"arrays": blob})

    def set_aside_other_data(self, task: str, split: str, digest: str) -> bool:
        """Results belong to the examples that they were measured on, so say which these are before asking for any.

        digest: `Task.data`. Where it is another one than before (a file was corrected under its old name), what
        was measured of this task on this split is kept as of a task "NAME before DATE". Returns whether that was so.
        """
        key = _data_key(task, split)
        if self.get(key) == digest:
            return False
        with self._writing() as connection:
            before = self._setting(connection, key)  # another process may have been quicker
            if before == digest:
                return False
            if before is not None:
                aside = f"{task} before {_now()}"
                for table in ("evaluations", "statistics"):
                    _rename_task(connection, table, task, split, aside)
            _put(connection, "settings", {"key": key, "value": json.dumps(digest)})
        return before is not None

    def evaluation(self, weights: str, recipe_key: str, task: str, split: str) -> Estimate | None:
        key = (weights, recipe_key, task, split)
        rows = self._rows("evaluations", f"WHERE {_EVALUATION}", key)
        return self._from_json(rows[0]["estimate"], Estimate.from_json) if rows else None

    def statistics(self, weights: str, recipe_key: str, task: str, split: str) -> tuple[np.ndarray, np.ndarray] | None:
        """(numbers (n,), statistics (n, k)) behind `evaluation`, as they were saved; what differences are paired by."""
        key = (weights, recipe_key, task, split)
        rows = self._rows("statistics", f"WHERE {_EVALUATION}", key)
        if not rows:
            return None
        arrays = parsed(self._database, lambda: arrays_from_bytes(rows[0]["arrays"]))
        return parsed(self._database, lambda: (arrays["numbers"], arrays["statistics"]))

    def evaluations(self) -> list[dict[str, Any]]:
        """The table of results, newest first.

        Each has weights, recipe_key (for `recipe`), task, split, estimate (Estimate), cost (dict or None), steps (a few
        facts about each, None where they are not known), name and created.
        """
        names = ("weights", "recipe_key", "task", "split", "estimate", "cost", "steps", "name", "created")
        rows = [{name: row[name] for name in names} for row in self._rows("evaluations", _NEWEST_FIRST)]
        for row in rows:
            row["estimate"] = self._from_json(row["estimate"], Estimate.from_json)
            row["cost"] = self._from_json(row["cost"], dict) if row["cost"] is not None else None
            row["steps"] = self._from_json(row["steps"], _summary) if row["steps"] is not None else None
        return rows

    def to_frame(self) -> pandas.DataFrame:
        """The table of results as a pandas DataFrame, newest first: one row for each model, task and split.

        Columns: task, split, name, steps (in words), what `Estimate.row` has, cost.NAME for each count that is known,
        recipe_key (for `recipe`), weights, created.
        """
        import pandas

        rows = []
        for found in self.evaluations():
            steps = None if found["steps"] is None else " + ".join(step["step"] for step in found["steps"])
            cost = {f"cost.{name}": value for name, value in (found["cost"] or {}).items()}
            first = {"task": found["task"], "split": found["split"], "name": found["name"], "steps": steps}
            last = {name: found[name] for name in ("recipe_key", "weights", "created")}
            rows.append(first | found["estimate"].row() | cost | last)
        return pandas.DataFrame(rows, columns=None if rows else list(_NO_RESULTS))

    def _repr_html_(self) -> str:
        index, results = self.score_index(), self.evaluations()
        scored = html_table(
            ("scores", "task", "examples", "split"),
            [(row["method"], row["task"], row["examples"], row["split"]) for row in index[:SHOWN]],
        )
        measured = html_table(
            ("measured", "task", "split", "value", "examples"),
            [
                (
                    r["name"] or r["recipe_key"],
                    r["task"],
                    r["split"],
                    percent(r["estimate"].value),
                    r["estimate"].examples,
                )
                for r in results[:SHOWN]
            ],
        )
        title = f"{self.path}: {len(index)} scores, {len(results)} results"
        return html_titled(title, *([scored] if index else []), *([measured] if results else []))

    # Plans

    def save_plan(self, plan: Plan) -> None:
        with self._writing() as connection:
            _insert_plan(connection, plan)

    def plan(self, plan_key: str) -> Plan | None:
        rows = self._rows("plans", "WHERE plan_key = ?", (plan_key,))
        return self._from_json(rows[0]["plan"], Plan.from_json) if rows else None

    def plans(self) -> list[Plan]:
        """Newest first."""
        return [self._from_json(row["plan"], Plan.from_json) for row in self._rows("plans", _NEWEST_FIRST)]

    # Recipes

    def save_recipe(self, recipe: KeptRecipe, name: str | None = None) -> None:
        """Keep a recipe; with a name, pin it as a candidate (a name that is taken moves to this recipe)."""
        with self._writing() as connection:
            _insert_recipe(connection, recipe)
            if name is not None:
                _put(connection, "pins", {"name": name, "recipe_key": recipe.key, "created": _now()})

    def recipe(self, recipe_key: str) -> dict[str, Any] | None:
        """As JSON, for `recipes.stored`."""
        rows = self._rows("recipes", "WHERE recipe_key = ?", (recipe_key,))
        return self._from_json(rows[0]["recipe"], dict) if rows else None

    def recipe_keys(self) -> list[str]:
        """Newest first."""
        return [row["recipe_key"] for row in self._rows("recipes", _NEWEST_FIRST)]

    @property
    def pins(self) -> dict[str, str]:
        """Name -> recipe_key of the named candidates, in the order in which they were pinned."""
        rows = self._rows("pins", "JOIN recipes USING (recipe_key) ORDER BY pins.turn")
        return {row["name"]: row["recipe_key"] for row in rows}

    def unpin(self, name: str) -> None:
        """The recipe and its evaluations stay."""
        with self._writing() as connection:
            connection.execute("DELETE FROM pins WHERE name = ?", (name,))

    # Settings

    def get(self, key: str, default: Any = None) -> Any:
        rows = self._rows("settings", "WHERE key = ?", (key,))
        return self._from_json(rows[0]["value"], lambda value: value) if rows else default

    def set(self, key: str, value: Any) -> None:
        """value: anything that JSON can hold."""
        self.change(key, lambda before: value)

    def change(self, key: str, how: Callable[[Any], Any]) -> None:
        """Replace what stands under a key by what becomes of it (None: nothing yet); nobody writes in between."""
        with self._writing() as connection:
            value = how(self._setting(connection, key))
            _put(connection, "settings", {"key": key, "value": json.dumps(value)})

    def _setting(self, connection: sqlite3.Connection, key: str) -> Any:
        rows = self._checked(connection, "settings", "WHERE key = ?", (key,))
        return self._from_json(rows[0]["value"], lambda value: value) if rows else None

    # On disk

    @property
    def _database(self) -> Path:
        return self.path / DATABASE

    @property
    def _address_to_read(self) -> str:
        """For SQLite, which otherwise makes files beside a database; those of a living writer are read, too."""
        alone = not self._database.with_name(f"{DATABASE}-wal").exists()
        return f"{self._database.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"

    def _scores_file(self, key: tuple[Any, ...]) -> Path:
        return self.path / "scores" / f"{_digest(key)}.safetensors"

    def _partial_file(self, key: str) -> Path:
        return self.path / "partial" / f"{_digest(key)}.safetensors"

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            read_only = self.is_read_only  # then SQLite must not want to write beside it, either
            place = self._address_to_read if read_only else self._database
            connection = sqlite3.connect(
                place, timeout=SECONDS_TO_WAIT_FOR_ANOTHER_WRITER, isolation_level=None, uri=read_only
            )
            connection.row_factory = sqlite3.Row
            yield connection
        except sqlite3.DatabaseError as error:
            raise _database_error(self._database, error) from error
        except UnicodeDecodeError as error:  # an SQLite message that quotes what is damaged
            raise damaged(self._database, error) from error
        finally:
            if connection is not None:
                connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. What fails or is killed inside it has never happened."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _rows(self, table: str, rest: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        with self._connection() as connection:
            return self._checked(connection, table, rest, values)

    def _checked(
        self, connection: sqlite3.Connection, table: str, rest: str, values: tuple[Any, ...]
    ) -> list[dict[str, Any]]:
        """Rows as they were written, without their digests. Raises: UserError for one that is not."""
        found = [dict(row) for row in connection.execute(f"SELECT {table}.* FROM {table} {rest}", values)]
        for row in found:
            if row_digest(table, row) != row.pop(KEY, None):
                raise damaged(self._database, ValueError(f"a row of {table} does not hold what was written"))
        return found

    def _from_json(self, text: Any, make: Callable[[Any], Value]) -> Value:
        return parsed(self._database, lambda: make(json.loads(text)))


_EVALUATION = "weights = ? AND recipe_key = ? AND task = ? AND split = ?"
_NEWEST_FIRST = "ORDER BY turn DESC"
_SCORES_KEY = ("weights", "task", "method", "split", "examples", "seed", "labels")


def _put(connection: sqlite3.Connection, table: str, row: Mapping[str, Any], turn: int | None = None) -> None:
    """Insert or replace a row, with its digest and, unless it keeps an earlier one, the next turn."""
    if turn is None:
        (turn,) = connection.execute(f"SELECT coalesce(max(turn), 0) + 1 FROM {table}").fetchone()
    whole = dict(row) | {"turn": turn}
    whole[KEY] = row_digest(table, whole)
    columns, places = ", ".join(whole), ", ".join("?" * len(whole))
    connection.execute(f"REPLACE INTO {table} ({columns}) VALUES ({places})", tuple(whole.values()))


def _known_evaluation(connection: sqlite3.Connection, key: Mapping[str, Any]) -> dict[str, Any] | None:
    """None also for a damaged one: a new measurement may take its place."""
    found = connection.execute(f"SELECT * FROM evaluations WHERE {_EVALUATION}", tuple(key.values())).fetchone()
    return dict(found) if found is not None and row_digest("evaluations", dict(found)) == found[KEY] else None


def _replaces(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    other = row["total"] != before["total"] or row["metric"] != before["metric"]
    return other or row["examples"] >= before["examples"]


def _same_size(row: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(row[name] == before[name] for name in ("metric", "examples", "total"))


def _with_what_was_known(row: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return row | {name: before[name] for name in ("cost", "steps", "name") if row[name] is None}


def _rename_task(connection: sqlite3.Connection, table: str, task: str, split: str, new: str) -> None:
    """In their order; a damaged row stays a damaged one."""
    rows = connection.execute(f"SELECT * FROM {table} WHERE task = ? AND split = ?", (task, split)).fetchall()
    for row in map(dict, rows):
        renamed = row | {"task": new}
        whole = row_digest(table, row) == row[KEY]
        renamed[KEY] = row_digest(table, renamed) if whole else row[KEY]
        key = (row["weights"], row["recipe_key"], task, split)
        connection.execute(f"UPDATE {table} SET task = ?, {KEY} = ? WHERE {_EVALUATION}", (new, renamed[KEY], *key))


@cache
def columns_of(table: str) -> set[str]:
    """As SCHEMA has them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def _data_key(task: str, split: str) -> str:
    return f"data:{task}:{split}"


def _score_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SCORES_KEY)


def _insert_plan(connection: sqlite3.Connection, plan: Plan) -> None:
    row = {"plan_key": plan.key, "plan": json.dumps(plan.to_json()), "created": _now()}
    _put(connection, "plans", row)


def _insert_recipe(connection: sqlite3.Connection, recipe: KeptRecipe) -> None:
    row = {"recipe_key": recipe.key, "recipe": json.dumps(recipe.to_json()), "created": _now()}
    _put(connection, "recipes", row)
    plan = recipe.cut
    if plan is not None:
        _insert_plan(connection, plan)


def _summary(steps: Any) -> list[dict[str, Any]]:
    if not isinstance(steps, list) or not all(isinstance(s, dict) and isinstance(s.get("step"), str) for s in steps):
        raise ValueError("the steps of a recipe are objects, each with its kind")
    return steps


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _digest(key: Any) -> str:
    """A file name for a key: never a name that came from outside."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _refuse_foreign_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; a study is a folder: name another one.")
    if path.is_dir() and not (path / DATABASE).exists():
        others = sorted(p.name for p in path.iterdir() if not p.name.startswith((".", DATABASE)))
        if others:
            raise UserError(
                f"{path} is not a study: it holds {', '.join(others[:3])}{', ...' if len(others) > 3 else ''} and no "
                f"{DATABASE}. Name an empty or a new folder."
            )


def _remove_abandoned_files(path: Path) -> None:
    """Temporary files of writers that were killed."""
    for file in path.glob("*/*.tmp"):
        if time.time() - file.stat().st_mtime > SECONDS_AFTER_WHICH_A_TEMPORARY_FILE_IS_ABANDONED:
            file.unlink(missing_ok=True)


def _prepare(connection: sqlite3.Connection, database: Path) -> None:
    """Create the tables in a new database, bring those of an earlier version up to date; refuse one that is not a
    study's, or is of a later version."""

    def pragma(name: str) -> int:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    def tables() -> set[str]:
        return {row["name"] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    if pragma("user_version") == 0 and not tables():
        _write_ahead(connection)
        connection.execute("BEGIN IMMEDIATE")
        if not tables():
            make_tables(connection)
        connection.execute("COMMIT")
    if pragma("application_id") != APPLICATION_ID or not tables() >= TABLES_OF_ALL_VERSIONS:
        raise UserError(f"{database} is a database of something else, not a study. Name another folder.")
    version = pragma("user_version")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{database} was written by a newer ASC Studio (format {version}, this one reads {SCHEMA_VERSION}). "
            "Update, or name another folder."
        )
    if version < SCHEMA_VERSION:
        migrate(connection, SCHEMA_VERSION)
    for table in TABLES:
        found = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
        if found != columns_of(table):
            raise damaged(database, ValueError(f"{table} has not the columns that it was made with"))


def make_tables(connection: sqlite3.Connection) -> None:
    """Those of an empty study."""
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_structure(connection: sqlite3.Connection, database: Path) -> None:
    """A row's digest says nothing of rows that are no longer found."""
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise damaged(database, ValueError(" ".join(str(found).split())))


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Of many that open a new database at once SQLite turns some away from the change of mode without any waiting."""
    end = time.monotonic() + SECONDS_TO_WAIT_FOR_ANOTHER_WRITER
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _database_error(database: Path, error: sqlite3.DatabaseError) -> Exception:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return storage_error(database, OSError(errno.ENOSPC, "disk full"))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return UserError(
                f"{database} is locked by another program for more than {SECONDS_TO_WAIT_FOR_ANOTHER_WRITER:.0f} "
                "seconds. Wait for it or close it, then try again."
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return UserError(f"{database} cannot be used: {error}. Check the folder, its permissions and the disk.")
        case _ if isinstance(error, (sqlite3.ProgrammingError, sqlite3.IntegrityError)):
            return error  # our mistake
        case _:  # a bit in a table's description or a text is enough for many more than SQLITE_CORRUPT
            return damaged(database, error)
