"""A study on disk: what was scored, evaluated, planned and pinned, safe against crashes and a second writer.

A study is a folder. `study.sqlite` holds the tables and, beside each estimate, the statistics of its examples, so that
the two never come apart; `scores/` and `partial/` hold larger arrays, one safetensors file each. A file is written
under another name, synced and renamed, and only then its row is committed: whoever is killed in between leaves what
was there before. Nothing stays open between two calls, so that a Study is no more than a path: any thread and any
process may use it at the same time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from asc_core.errors import UserError
from asc_core.migrations import migrate
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
SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE scores (
    weights TEXT, task TEXT, method TEXT, split TEXT, examples INTEGER, seed INTEGER, labels TEXT, created TEXT,
    PRIMARY KEY (weights, task, method, split, examples, seed, labels)
);
CREATE TABLE evaluations (
    weights TEXT, recipe_key TEXT, task TEXT, split TEXT, metric TEXT, examples INTEGER, total INTEGER,
    estimate TEXT, cost TEXT, steps TEXT CHECK (steps IS NULL OR json_valid(steps)), name TEXT, created TEXT,
    PRIMARY KEY (weights, recipe_key, task, split)
);
CREATE TABLE statistics (
    weights TEXT, recipe_key TEXT, task TEXT, split TEXT, arrays BLOB,
    PRIMARY KEY (weights, recipe_key, task, split)
);
CREATE TABLE plans (plan_key TEXT PRIMARY KEY, plan TEXT, created TEXT);
CREATE TABLE recipes (recipe_key TEXT PRIMARY KEY, recipe TEXT, created TEXT);
CREATE TABLE pins (name TEXT PRIMARY KEY, recipe_key TEXT, created TEXT);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT);
"""
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
            _refuse_foreign_folder(study.path)
            study.path.mkdir(parents=True, exist_ok=True)
            _remove_abandoned_files(study.path)
        except OSError as error:
            raise storage_error(study.path, error) from error
        with study._connection() as connection:
            _prepare(connection, study._database)
        return study

    # Scores

    def save_scores(self, scores: Scores) -> None:
        """Replaces scores of the same weights, task, method, split, examples, seed and labels."""
        arrays, metadata = scores.to_arrays()
        key = (scores.weights, scores.task, scores.method, scores.split, scores.examples, scores.seed, scores.labels)
        write_arrays(self._scores_file(key), arrays, metadata)
        with self._writing() as connection:
            connection.execute("REPLACE INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*key, _now()))

    def scores(self, task: str | None = None, method: str | None = None, weights: str | None = None) -> list[Scores]:
        """Those that match what is given, newest first."""
        wanted = {"task": task, "method": method, "weights": weights}
        rows = [row for row in self.score_index() if all(v in (None, row[name]) for name, v in wanted.items())]
        found = [self._read_scores(self._scores_file(_score_key(row))) for row in rows]
        return [scores for scores in found if scores is not None]

    @staticmethod
    def _read_scores(file: Path) -> Scores | None:
        content = read_arrays(file)
        return parsed(file, lambda: Scores.from_arrays(*content)) if content is not None else None

    def score_index(self) -> list[dict[str, Any]]:
        """Newest first: weights, task, method, split, examples, seed, labels and created of each. Reads no arrays."""
        rows = self._rows("SELECT * FROM scores ORDER BY created DESC, rowid DESC")
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
        key = (weights, recipe_key, task, split)
        row = (
            *key,
            estimate.metric,
            estimate.examples if not estimate.provisional else 0,
            estimate.total,
            json.dumps(estimate.to_json()),
            json.dumps(cost) if cost is not None else None,
            json.dumps(recipe.summary) if recipe is not None else None,
            name,
            _now(),
        )
        with self._writing() as connection:
            if data is not None and self._setting(connection, _data_key(task, split)) not in (None, data):
                raise UserError(
                    f"The examples of {task} ({split}) or those that it is cut by have changed while this was "
                    "measured, so it is not kept: measure again."
                )
            if recipe is not None:
                _insert_recipe(connection, recipe)
            known = f"SELECT metric, examples, total FROM evaluations WHERE {_EVALUATION}"
            before = tuple(connection.execute(known, key).fetchone() or ())
            written = connection.execute(_KEEP_EVALUATION, row)
            if not written.rowcount:
                return
            if statistics is None and before == row[4:7]:
                return  # the same again: what is known of each example still holds
            connection.execute(f"DELETE FROM statistics WHERE {_EVALUATION}", key)
            if statistics is not None and numbers is not None:
                blob = arrays_to_bytes({"statistics": statistics, "numbers": numbers})
                connection.execute("INSERT INTO statistics VALUES (?, ?, ?, ?, ?)", (*key, blob))

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
                    query = f"UPDATE {table} SET task = ? WHERE task = ? AND split = ?"
                    connection.execute(query, (aside, task, split))
            connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(digest)))
        return before is not None

    def evaluation(self, weights: str, recipe_key: str, task: str, split: str) -> Estimate | None:
        key = (weights, recipe_key, task, split)
        rows = self._rows(f"SELECT estimate FROM evaluations WHERE {_EVALUATION}", key)
        return self._from_json(rows[0]["estimate"], Estimate.from_json) if rows else None

    def statistics(self, weights: str, recipe_key: str, task: str, split: str) -> tuple[np.ndarray, np.ndarray] | None:
        """(numbers (n,), statistics (n, k)) behind `evaluation`, as they were saved; what differences are paired by."""
        key = (weights, recipe_key, task, split)
        rows = self._rows(f"SELECT arrays FROM statistics WHERE {_EVALUATION}", key)
        if not rows:
            return None
        arrays = parsed(self._database, lambda: arrays_from_bytes(rows[0]["arrays"]))
        return parsed(self._database, lambda: (arrays["numbers"], arrays["statistics"]))

    def evaluations(self) -> list[dict[str, Any]]:
        """The table of results, newest first.

        Each has weights, recipe_key (for `recipe`), task, split, estimate (Estimate), cost (dict or None), steps (a few
        facts about each, None where they are not known), name and created.
        """
        rows = self._rows(
            "SELECT weights, recipe_key, task, split, estimate, cost, steps, name, created FROM evaluations "
            "ORDER BY created DESC, rowid DESC"
        )
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
        rows = self._rows("SELECT plan FROM plans WHERE plan_key = ?", (plan_key,))
        return self._from_json(rows[0]["plan"], Plan.from_json) if rows else None

    def plans(self) -> list[Plan]:
        """Newest first."""
        rows = self._rows("SELECT plan FROM plans ORDER BY created DESC, rowid DESC")
        return [self._from_json(row["plan"], Plan.from_json) for row in rows]

    # Recipes

    def save_recipe(self, recipe: KeptRecipe, name: str | None = None) -> None:
        """Keep a recipe; with a name, pin it as a candidate (a name that is taken moves to this recipe)."""
        with self._writing() as connection:
            _insert_recipe(connection, recipe)
            if name is not None:
                connection.execute("REPLACE INTO pins VALUES (?, ?, ?)", (name, recipe.key, _now()))

    def recipe(self, recipe_key: str) -> dict[str, Any] | None:
        """As JSON, for `recipes.stored`."""
        rows = self._rows("SELECT recipe FROM recipes WHERE recipe_key = ?", (recipe_key,))
        return self._from_json(rows[0]["recipe"], dict) if rows else None

    def recipe_keys(self) -> list[str]:
        """Newest first."""
        return [
            row["recipe_key"] for row in self._rows("SELECT recipe_key FROM recipes ORDER BY created DESC, rowid DESC")
        ]

    @property
    def pins(self) -> dict[str, str]:
        """Name -> recipe_key of the named candidates, in the order in which they were pinned."""
        query = "SELECT name, recipe_key FROM pins JOIN recipes USING (recipe_key) ORDER BY pins.created, pins.rowid"
        return {row["name"]: row["recipe_key"] for row in self._rows(query)}

    def unpin(self, name: str) -> None:
        """The recipe and its evaluations stay."""
        with self._writing() as connection:
            connection.execute("DELETE FROM pins WHERE name = ?", (name,))

    # Settings

    def get(self, key: str, default: Any = None) -> Any:
        rows = self._rows("SELECT value FROM settings WHERE key = ?", (key,))
        return self._from_json(rows[0]["value"], lambda value: value) if rows else default

    def set(self, key: str, value: Any) -> None:
        """value: anything that JSON can hold."""
        self.change(key, lambda before: value)

    def change(self, key: str, how: Callable[[Any], Any]) -> None:
        """Replace what stands under a key by what becomes of it (None: nothing yet); nobody writes in between."""
        with self._writing() as connection:
            value = how(self._setting(connection, key))
            connection.execute("REPLACE INTO settings VALUES (?, ?)", (key, json.dumps(value)))

    def _setting(self, connection: sqlite3.Connection, key: str) -> Any:
        row = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
        return None if row is None else self._from_json(row[0], lambda value: value)

    # On disk

    @property
    def _database(self) -> Path:
        return self.path / DATABASE

    def _scores_file(self, key: tuple[Any, ...]) -> Path:
        return self.path / "scores" / f"{_digest(key)}.safetensors"

    def _partial_file(self, key: str) -> Path:
        return self.path / "partial" / f"{_digest(key)}.safetensors"

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            connection = sqlite3.connect(
                self._database, timeout=SECONDS_TO_WAIT_FOR_ANOTHER_WRITER, isolation_level=None
            )
            connection.row_factory = sqlite3.Row
            yield connection
        except sqlite3.DatabaseError as error:
            raise _database_error(self._database, error) from error
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

    def _rows(self, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        with self._connection() as connection:
            return [dict(row) for row in connection.execute(query, values)]

    def _from_json(self, text: Any, make: Callable[[Any], Value]) -> Value:
        return parsed(self._database, lambda: make(json.loads(text)))


_EVALUATION = "weights = ? AND recipe_key = ? AND task = ? AND split = ?"
_KEEP_EVALUATION = """
INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (weights, recipe_key, task, split) DO UPDATE SET
    metric = excluded.metric, examples = excluded.examples, total = excluded.total, estimate = excluded.estimate,
    cost = coalesce(excluded.cost, cost), steps = coalesce(excluded.steps, steps),
    name = coalesce(excluded.name, name), created = excluded.created
WHERE excluded.examples >= examples OR excluded.total <> total OR excluded.metric <> metric
"""


def _data_key(task: str, split: str) -> str:
    return f"data:{task}:{split}"


def _score_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("weights", "task", "method", "split", "examples", "seed", "labels"))


def _insert_plan(connection: sqlite3.Connection, plan: Plan) -> None:
    connection.execute("REPLACE INTO plans VALUES (?, ?, ?)", (plan.key, json.dumps(plan.to_json()), _now()))


def _insert_recipe(connection: sqlite3.Connection, recipe: KeptRecipe) -> None:
    row = (recipe.key, json.dumps(recipe.to_json()), _now())
    connection.execute("REPLACE INTO recipes VALUES (?, ?, ?)", row)
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
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
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
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(database, error)
        case _:
            return error
