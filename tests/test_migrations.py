"""Studies of earlier versions lose nothing when they are opened.

tests/data/study_1 was written by the last version with schema 1: an original, a cut with every repair, presets, a cell
of a matrix, pins, scores, interrupted work and settings.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from asc_core import migrations
from asc_core.compress import REPAIRS
from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.recipes.stored import pinned_recipes, stored_recipe
from asc_core.study import SCHEMA_VERSION, Study
from asc_core.values import Estimate

OLD = Path(__file__).parent / "data" / "study_1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "study"))


def table(folder: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(folder / "study.sqlite")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def version_of(folder: Path) -> int:
    return table(folder, "PRAGMA user_version")[0][0]


def test_everything_that_an_old_study_held_is_found(folder: Path) -> None:
    assert version_of(folder) == 1
    rows = table(folder, "SELECT weights, recipe_key, task, split, estimate, cost, name, created FROM evaluations")
    arrays = dict(table(folder, "SELECT weights || recipe_key || task, arrays FROM statistics"))
    plans = {key for (key,) in table(folder, "SELECT plan_key FROM plans")}
    pins = [name for (name,) in table(folder, "SELECT name FROM pins ORDER BY created")]
    settings = table(folder, "SELECT key, value FROM settings")
    study = Study.open(folder)
    assert version_of(folder) == SCHEMA_VERSION
    found = {(row["weights"], row["recipe_key"], row["task"], row["split"]): row for row in study.evaluations()}
    assert len(found) == len(rows)
    for weights, key, task, split, estimate, cost, name, created in rows:
        row = found[weights, key, task, split]
        assert row["estimate"] == Estimate.from_json(json.loads(estimate))
        assert row["estimate"].value == json.loads(estimate)["value"]
        assert row["cost"] == (json.loads(cost) if cost is not None else None)
        assert (row["name"], row["created"]) == (name, created)
        assert study.evaluation(weights, key, task, split) == row["estimate"]
        numbers, _ = study.statistics(weights, key, task, split)  # type: ignore[misc]
        assert len(numbers) == row["estimate"].examples
    assert dict(table(folder, "SELECT weights || recipe_key || task, arrays FROM statistics")) == arrays
    assert {plan.key for plan in study.plans()} == plans
    assert list(study.pins) == pins
    assert table(folder, "SELECT key, value FROM settings") == settings
    (scores,) = study.scores()
    assert scores.method == "obs"
    partial = study.partial("sweep")
    assert partial is not None
    assert np.array_equal(partial[0]["a"], [0, 1, 2])


def test_what_is_made_now_is_found_under_what_was_measured_then(folder: Path) -> None:
    study = Study.open(folder)
    (plan,) = [plan for plan in study.plans() if plan.key == study.evaluations()[-2]["recipe_key"]]
    for repair in (None, *(name for name in REPAIRS if name != "shared-weights")):  # which there was not yet
        recipe = Recipe.repaired(plan, repair)
        assert study.evaluation("w0", recipe.key, "nli", "validation") is not None
        kept = stored_recipe(study, recipe.key)
        assert kept is not None
        assert (kept.key, kept.cut, kept.steps[0].repair) == (recipe.key, plan, repair)  # type: ignore[attr-defined]
    assert stored_recipe(study, Recipe.repaired(plan, "sequential", seed=7).key) is not None


def test_the_newest_stay_the_newest(folder: Path) -> None:
    expected = table(folder, "SELECT name FROM evaluations ORDER BY created DESC, rowid DESC")
    study = Study.open(folder)
    assert [(row["name"],) for row in study.evaluations()] == expected
    study.save_evaluation("w", "r", "nli", "validation", Estimate("accuracy", 0.5, (0.4, 0.6), "validation", 4, 4))
    assert study.evaluations()[0]["weights"] == "w"


def test_steps_say_what_was_done(folder: Path) -> None:
    steps = {row["name"]: row["steps"] for row in Study.open(folder).evaluations()}
    assert steps["0.60 obs"] == [{"step": "cut", "repair": None}]
    assert steps["0.60 obs, repaired (bias)"] == [{"step": "cut", "repair": "bias"}]
    assert steps["asc-plus 0.50, 200 steps"] == [
        {"step": "cut-to-budget", "repair": "sequential"},
        {"step": "distil"},
    ]
    assert [step["step"] for step in steps["asc-plus 0.25"]] == ["cut-to-budget"]
    assert steps["by hand"][0]["repair"] == "unknown"
    assert steps["cut for qa"] is None


def test_pins_are_the_recipes_that_they_stood_for(folder: Path) -> None:
    found = {name: recipe.summary for name, recipe in pinned_recipes(Study.open(folder)).items()}
    assert found == {
        "small one": [{"step": "cut", "repair": "sequential"}],
        "as cut": [{"step": "cut", "repair": None}],
        "from elsewhere": [{"step": "cut", "repair": None}],
    }


def test_many_that_open_an_old_study_at_once_migrate_it_once(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: len(Study.open(folder).evaluations()), range(8)))
    assert set(counts) == {len(table(OLD, "SELECT 1 FROM evaluations"))}


def test_a_migration_that_fails_leaves_the_study_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = table(folder, "SELECT * FROM evaluations")

    def breaks(connection: sqlite3.Connection) -> None:
        kept(connection)
        raise sqlite3.OperationalError("broken")

    kept = migrations.MIGRATIONS[1]
    monkeypatch.setitem(migrations.MIGRATIONS, 1, breaks)
    with pytest.raises(UserError, match="broken"):
        Study.open(folder)
    assert version_of(folder) == 1
    assert table(folder, "SELECT * FROM evaluations") == before


@pytest.mark.parametrize("value", ["'{'", "'[1]'", "NULL", "'{\"provenance\": 3}'"])
def test_what_someone_made_up_does_not_stop_a_migration(folder: Path, value: str) -> None:
    with sqlite3.connect(folder / "study.sqlite") as connection:
        connection.execute(f"UPDATE plans SET plan = {value}")
        connection.execute(f"UPDATE settings SET value = {value}")
    connection.close()
    study = Study.open(folder)
    assert len(study.evaluations()) > 10
    with pytest.raises(UserError):
        pinned_recipes(study)


def test_a_program_of_before_cannot_write_what_would_not_be_read(folder: Path) -> None:
    Study.open(folder)
    row = ("w", "r", "nli", "validation", "accuracy", 1, 1, "{}", "{}", "0123456789abcdef", "name", "now")
    with sqlite3.connect(folder / "study.sqlite") as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
