"""What is damaged in a study is said, and the rest goes on."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.doctor import ASIDE, ROWS, examine, set_aside
from asc_core.errors import UserError
from asc_core.study import TABLES, Study
from tests.test_study import ESTIMATE, PLAN, RECIPE, some_scores

FLIPS = int(os.environ.get("FLIPS", "150"))  # bits of the database


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study.open(tmp_path / "study")
    for number in range(6):
        study.save_scores(some_scores(seed=number))
        study.set(f"setting {number}", {"number": number, "text": "ä" * number})
        study.save_evaluation(
            f"w{number}",
            RECIPE.key,
            "nli",
            "validation",
            replace(ESTIMATE, value=number / 7),
            statistics=np.full((4, 2), number),
            numbers=np.arange(4),
            cost={"flops": 1.5},
            recipe=RECIPE,
            name=f"number {number}",
        )
    study.save_recipe(RECIPE, "pinned")
    study.save_plan(PLAN)
    study.save_partial("sweep", {"a": np.arange(9.0)}, {"done": 1})
    return study


def everything(study: Study) -> dict[str, Any]:
    """By what it is asked for: what there is of it."""
    return {
        **{f"setting {number}": study.get(f"setting {number}") for number in range(6)},
        **{f"scores {scores.seed}": repr(scores.to_arrays()[0]["value.layers"]) for scores in study.scores()},
        **{f"evaluation {row['weights']}": repr(row) for row in study.evaluations()},
        **{
            f"statistics {number}": repr(study.statistics(f"w{number}", RECIPE.key, "nli", "validation"))
            for number in range(6)
        },
        "newest": [row["seed"] for row in study.score_index()],
        "recipe": study.recipe(RECIPE.key),
        "keys": study.recipe_keys(),
        "plans": [plan.to_json() for plan in study.plans()],
        "pins": study.pins,
    }


def test_a_whole_study_is_whole(study: Study) -> None:
    health = examine(study.path)
    assert health.damages == ()
    assert (health.files, health.rows) == (1 + 6 + 1, 6 + 6 + 6 + 6 + 1 + 1 + 1)


def test_no_bit_of_the_database_changes_in_silence_and_what_is_whole_is_kept(study: Study, tmp_path: Path) -> None:
    expected = everything(study)
    content = (study.path / "study.sqlite").read_bytes()
    random = np.random.default_rng(7)
    said = kept = 0
    for number, bit in enumerate(random.choice(len(content) * 8, FLIPS, replace=False).tolist()):
        folder = Path(shutil.copytree(study.path, tmp_path / "broken", dirs_exist_ok=True))
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        (folder / "study.sqlite").write_bytes(broken)
        try:
            assert everything(Study.open(folder)) == expected, f"bit {bit} changes what is read and is not said"
        except UserError as error:
            said += 1
            assert "\n" not in str(error)  # noqa: PT017
            if number % 5 == 0:
                assert examine(folder).damages
                set_aside(folder)
                assert examine(folder).damages == ()
                found = everything(Study.open(folder))
                kept += sum(found.get(name) == value for name, value in expected.items()) / len(expected)
                assert all(found[name] in (expected[name], None, "None") for name in found if name.startswith("s"))
        shutil.rmtree(folder)
    assert said > FLIPS / 20, "most of a small database is empty"
    assert kept > 0


def damaged_row(study: Study) -> None:
    with closing(sqlite3.connect(study.path / "study.sqlite")) as connection:
        connection.execute("UPDATE evaluations SET estimate = replace(estimate, '0.5', '0.6') WHERE weights = 'w3'")
        connection.commit()


def test_a_damaged_row_is_named_set_aside_and_measured_again(study: Study) -> None:
    before = everything(study)
    damaged_row(study)
    with pytest.raises(UserError, match=r"a row of evaluations .*asc doctor .*--set-aside"):
        study.evaluations()
    (damage,) = examine(study.path).damages
    assert "evaluations 4: does not hold" in str(damage)
    set_aside(study.path)
    assert examine(study.path).damages == ()
    after = everything(study)
    assert {name for name in before if before[name] != after.get(name)} == {"evaluation w3"}
    (row,) = map(json.loads, (study.path / ASIDE / ROWS).read_text().splitlines())
    assert row["weights"] == "w3"
    study.save_evaluation("w3", RECIPE.key, "nli", "validation", ESTIMATE)
    assert len(study.evaluations()) == 6


def test_a_damaged_row_is_replaced_by_a_new_measurement_and_stays_damaged_when_it_is_set_aside(study: Study) -> None:
    damaged_row(study)
    study.set_aside_other_data("nli", "validation", "old")
    study.set_aside_other_data("nli", "validation", "new")
    with pytest.raises(UserError, match="a row of evaluations"):
        study.evaluations()
    set_aside(study.path)
    damaged_row(study)
    assert {row["task"][:10] for row in study.evaluations()} == {"nli before"}


def test_damaged_files_are_set_aside_and_the_rest_is_found(study: Study) -> None:
    scores = sorted((study.path / "scores").iterdir())
    partial = next((study.path / "partial").iterdir())
    for file in (scores[0], partial):
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    assert {damage.place for damage in examine(study.path).damages} == {scores[0], partial}
    set_aside(study.path)
    assert examine(study.path).damages == ()
    assert len(study.scores()) == 5
    assert study.partial("sweep") is None
    assert (study.path / ASIDE / "scores" / scores[0].name).exists()


def test_scores_under_another_ones_name_are_not_taken_for_them(study: Study) -> None:
    one, other = sorted((study.path / "scores").iterdir())[:2]
    shutil.copy(one, other)
    with pytest.raises(UserError, match="other scores than its name says"):
        study.scores()


def test_the_command_says_what_is_damaged(study: Study) -> None:
    runner = CliRunner()
    whole = runner.invoke(app, ["doctor", str(study.path)])
    assert whole.exit_code == 0
    assert "are what was written" in whole.output
    damaged_row(study)
    found = runner.invoke(app, ["doctor", str(study.path), "--json"])
    assert found.exit_code == 3
    assert len(json.loads(found.stdout)["damaged"]) == 1
    assert "--set-aside" in found.stderr
    assert runner.invoke(app, ["doctor", str(study.path), "--set-aside"]).exit_code == 0
    assert runner.invoke(app, ["doctor", str(study.path)]).exit_code == 0
    assert runner.invoke(app, ["doctor", str(study.path / "scores")]).exit_code == 2


def test_all_tables_are_looked_at(study: Study) -> None:
    with closing(sqlite3.connect(study.path / "study.sqlite")) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert there == set(TABLES)
        for table in TABLES:
            connection.execute(f"UPDATE {table} SET turn = 77")
        connection.commit()
    assert {damage.table for damage in examine(study.path).damages} == set(TABLES)
