"""Studies of earlier versions, brought up to date when they are opened; nothing that is in them is lost.

What a migration writes is as the version that it leads to had it, whatever later versions do: it imports nothing that
changes, and it is not changed either.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Up to `version`, in one transaction: who is killed in between leaves the study as it was."""
    connection.execute("BEGIN IMMEDIATE")
    found = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been quicker
    while found < version:
        MIGRATIONS[found](connection)
        found += 1
        connection.execute(f"PRAGMA user_version = {found}")
    connection.execute("COMMIT")


def _recipes_beside_plans(connection: sqlite3.Connection) -> None:
    """Version 1 -> 2: evaluations say which steps they are of, and pins are recipes.

    Version 1 kept the plan of a cut beside its evaluation and no recipe. Which repair it had is found by its key, for
    that is a digest of what decides the recipe.
    """
    connection.execute("CREATE TABLE recipes (recipe_key TEXT PRIMARY KEY, recipe TEXT, created TEXT)")
    plans = {key: (plan, created) for key, plan, created in connection.execute("SELECT * FROM plans ORDER BY rowid")}
    _evaluations(connection, plans)
    _pins(connection, plans)


def _evaluations(connection: sqlite3.Connection, plans: dict[str, tuple[str, str]]) -> None:
    connection.execute("ALTER TABLE evaluations RENAME TO evaluations_1")
    connection.execute(
        "CREATE TABLE evaluations ("
        "weights TEXT, recipe_key TEXT, task TEXT, split TEXT, metric TEXT, examples INTEGER, total INTEGER, "
        "estimate TEXT, cost TEXT, steps TEXT CHECK (steps IS NULL OR json_valid(steps)), name TEXT, created TEXT, "
        "PRIMARY KEY (weights, recipe_key, task, split))"
    )
    rows = connection.execute(
        "SELECT weights, recipe_key, task, split, metric, examples, total, estimate, cost, plan_key, name, created "
        "FROM evaluations_1 ORDER BY rowid"
    ).fetchall()
    for weights, key, *middle, cost, plan_key, name, created in rows:
        steps: list[dict[str, Any]] | None
        if plan_key is None:
            steps = _PRESETS.get(_preset_of(name)) if cost is not None else None
        else:
            settings = _settings_of(plan_key, key)
            if settings is None:
                steps = [{"step": "cut", "repair": "unknown", "plan": plan_key}]
            else:
                steps = [{"step": "cut", "repair": settings["repair"]}]
            if settings is not None and plan_key in plans:
                plan, planned = plans[plan_key]
                _keep_recipe(connection, key, plan, settings, planned, weights)
        written = None if steps is None else json.dumps(steps)
        row = (weights, key, *middle, cost, written, name, created)
        connection.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.execute("DROP TABLE evaluations_1")


def _pins(connection: sqlite3.Connection, plans: dict[str, tuple[str, str]]) -> None:
    """A pin was a plan; what was done to it is in the position of the sliders that was kept with it."""
    pins = connection.execute("SELECT name, plan_key, created FROM pins ORDER BY rowid").fetchall()
    connection.execute("DROP TABLE pins")
    connection.execute("CREATE TABLE pins (name TEXT PRIMARY KEY, recipe_key TEXT, created TEXT)")
    for name, plan_key, created in pins:
        repair, transfer = _move_of_pin(connection, name, plan_key)
        settings = _settings(repair) | {"transfer": transfer}
        key = _key(plan_key, settings)
        if plan_key in plans:
            _keep_recipe(connection, key, plans[plan_key][0], settings, plans[plan_key][1])
        connection.execute("INSERT INTO pins VALUES (?, ?, ?)", (name, key, created))


def _move_of_pin(connection: sqlite3.Connection, name: str, plan_key: str) -> tuple[str | None, bool]:
    """(repair, transfer)"""
    row = connection.execute("SELECT value FROM settings WHERE key = ?", (f"pin-move:{name}",)).fetchone()
    kept = _parsed(row[0]) if row is not None else {}
    move = kept.get("move")
    if kept.get("plan") != plan_key or not isinstance(move, dict):
        return None, False
    repair = move.get("repair")
    return (repair if repair in _KINDS else None), move.get("transfer") is True


def _keep_recipe(
    connection: sqlite3.Connection,
    key: str,
    plan: str,
    settings: dict[str, Any],
    created: str,
    weights: str | None = None,
) -> None:
    """weights: that the plan has been applied to; other ones than it was made for are only allowed where it says so."""
    content = _parsed(plan)
    made_for = content.get("provenance")
    made_for = made_for if isinstance(made_for, dict) else {}
    foreign = None not in (weights, made_for.get("weights")) and weights != made_for.get("weights")
    settings = settings | ({"transfer": True} if foreign else {})
    recipe = {
        "format": "asc-recipe/1",
        "original": made_for.get("model"),
        "task": made_for.get("task"),
        "steps": [{"step": "cut", "plan": content, **settings}],
    }
    known = connection.execute("SELECT recipe FROM recipes WHERE recipe_key = ?", (key,)).fetchone()
    if known is None or foreign:
        connection.execute("REPLACE INTO recipes VALUES (?, ?, ?)", (key, json.dumps(recipe), created))


def _parsed(text: Any) -> dict[str, Any]:
    """A study may come from anyone: what is no JSON object is an empty one."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


_KINDS = {
    "sequential": "plan and refit",
    "one-shot": "plan and refit",
    "mask-tuning": "plan and mask tuning",
    "reconstruction": "plan and reconstruction",
    "bias": "plan and bias",
}
_SEEDS = range(100)  # that are tried


def _settings(repair: str | None, seed: int = 0, norms: bool = True) -> dict[str, Any]:
    return {"repair": repair, "samples": 1024, "tokens": 65536, "seed": seed, "transfer": False, "norms": norms}


def _settings_of(plan_key: str, recipe_key: str) -> dict[str, Any] | None:
    """How a recipe of version 1 repaired its cut, by its key; None where that was in some unusual way."""
    return next((settings for settings in _usual() if _key(plan_key, settings) == recipe_key), None)


def _usual() -> Iterator[dict[str, Any]]:
    yield _settings(None)
    for seed in _SEEDS:
        for repair, kind in _KINDS.items():
            yield _settings(repair, seed)
            if kind == "plan and refit":
                yield _settings(repair, seed, norms=False)


def _key(plan_key: str, settings: dict[str, Any]) -> str:
    """Of a plan's recipe in version 1."""
    repair = settings["repair"]
    if repair is None:
        return plan_key
    kind = _KINDS[repair]
    decides = [plan_key, repair, settings["samples"], settings["tokens"], settings["seed"]]
    if kind == "plan and refit":
        decides.append(settings["norms"] and repair == "sequential")
    return hashlib.sha256(json.dumps([[kind, decides]], sort_keys=True).encode()).hexdigest()[:20]


def _preset_of(name: Any) -> tuple[str, bool]:
    """(name, whether it trains) of a measured preset: "asc-plus 0.50, 200 steps"."""
    found = re.fullmatch(r"([a-z-]+) \d\.\d\d(, \d+ steps)?", str(name))
    return (found[1], found[2] is not None) if found else ("", False)


def _preset(repair: str | None, training: str) -> dict[bool, list[dict[str, Any]]]:
    cut = [{"step": "cut-to-budget", "repair": repair}]
    return {True: [*cut, {"step": training}], False: cut}


_PRESETS: dict[tuple[str, bool], list[dict[str, Any]]] = {
    (name, trains): steps
    for name, both in {
        "asc-to-size": _preset(None, "finetune"),
        "asc-plus": _preset("sequential", "distil"),
        "top-layers": _preset(None, "finetune"),
        "greedy": _preset(None, "finetune"),
        "random": _preset(None, "finetune"),
    }.items()
    for trains, steps in both.items()
}


def _digests_and_turns(connection: sqlite3.Connection) -> None:
    """Version 2 -> 3: each row says what it holds, and which came after which.

    What is there is taken as it is; what was the newest by the clock stays the newest.
    """
    for table in ("scores", "evaluations", "statistics", "plans", "recipes", "pins", "settings"):
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        connection.execute(f"ALTER TABLE {table} ADD COLUMN turn INTEGER")
        connection.execute(f"ALTER TABLE {table} ADD COLUMN digest TEXT")
        order = "created, rowid" if "created" in columns else "rowid"
        rows = connection.execute(f"SELECT rowid FROM {table} ORDER BY {order}").fetchall()
        for turn, (rowid,) in enumerate(rows, start=1):
            row = f"SELECT {', '.join(columns)} FROM {table} WHERE rowid = ?"
            values = dict(zip(columns, connection.execute(row, (rowid,)).fetchone(), strict=True))
            digest = _row_digest(table, values | {"turn": turn})
            connection.execute(f"UPDATE {table} SET turn = ?, digest = ? WHERE rowid = ?", (turn, digest, rowid))


def _row_digest(table: str, row: dict[str, Any]) -> str:
    digest = hashlib.blake2b(table.encode(), digest_size=16)
    for name in sorted(row):
        value = row[name]
        content = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        digest.update(f"|{name}|{type(value).__name__}|{len(content)}|".encode())
        digest.update(content)
    return digest.hexdigest()


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _recipes_beside_plans, 2: _digests_and_turns}
