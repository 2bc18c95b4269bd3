from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from asc_core import study as study_module
from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Estimate, PartValues, Plan, Scores, Shape

ROOT = Path(__file__).resolve().parents[1]
SHAPE = Shape("bert", hidden=8, head_width=4, heads=(2, 2), neurons=(3, 3), rows=(0, 1))
PLAN = Plan.full(SHAPE).drop(0, head=1)
RECIPE = Recipe.of(PLAN)
ESTIMATE = Estimate("accuracy", 0.75, (0.5, 0.9), "validation", 4, 8, -0.05, (-0.2, 0.1), truncated=1)


def some_scores(method: str = "fisher", offset: float = 0.0, **changes: object) -> Scores:
    heads = tuple(np.arange(2.0) + row + offset for row in range(2))
    scores = Scores(
        method,
        PartValues(heads=heads, layers=np.array([1.0, offset])),
        SHAPE,
        weights="w",
        task="nli",
        split="train",
        examples=16,
        low=PartValues(heads=heads),
        similarity=np.eye(3, dtype=np.float32),
        notes="ä",
    )
    return replace(scores, **changes)  # type: ignore[arg-type]


def same_scores(one: Scores, other: Scores) -> bool:
    mine, theirs = one.to_arrays(), other.to_arrays()
    return mine[1] == theirs[1] and same_arrays(mine[0], theirs[0])


def same_arrays(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name], equal_nan=True)
        for name in mine
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.open(tmp_path / "study")


def files_of(study: Study, folder: str) -> list[Path]:
    return sorted((study.path / folder).iterdir())


# What goes in comes out


def test_scores_come_back_as_they_were_and_newest_first(study: Study) -> None:
    old, new = some_scores("fisher"), some_scores("update", low=None, similarity=None)
    study.save_scores(old)
    study.save_scores(new)
    found = Study.open(study.path).scores()
    assert [s.method for s in found] == ["update", "fisher"]
    assert same_scores(found[0], new)
    assert same_scores(found[1], old)


def test_what_is_newest_does_not_hang_on_the_clock(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    for year in (2031, 2030, 2029):  # a clock that is set back
        monkeypatch.setattr(study_module, "_now", lambda year=year: f"{year}-01-01T00:00:00.000000+00:00")
        study.save_scores(some_scores(seed=year))
        study.save_evaluation(f"w{year}", "r", "nli", "validation", ESTIMATE)
        study.save_plan(PLAN if year > 2029 else PLAN.drop(1, head=0))
        study.save_recipe(RECIPE, str(year))
    assert [scores.seed for scores in study.scores()] == [2029, 2030, 2031]
    assert [row["weights"] for row in study.evaluations()] == ["w2029", "w2030", "w2031"]
    assert study.plans()[0] == PLAN  # of the recipe that was saved last
    assert list(study.pins) == ["2031", "2030", "2029"]


def test_scores_are_found_by_task_method_and_weights(study: Study) -> None:
    for task, method, weights in (("nli", "fisher", "a"), ("qa", "fisher", "a"), ("qa", "update", "b")):
        study.save_scores(some_scores(method, task=task, weights=weights))
    assert [s.task for s in study.scores(method="fisher")] == ["qa", "nli"]
    assert [s.method for s in study.scores(task="qa", weights="b")] == ["update"]
    assert study.scores(task="qa", weights="c") == []


def test_scores_of_the_same_key_are_replaced_and_others_kept(study: Study) -> None:
    study.save_scores(some_scores(offset=1.0))
    study.save_scores(some_scores(offset=2.0))
    for change in ({"examples": 17}, {"seed": 1}, {"labels": "gold"}, {"split": "validation"}):
        study.save_scores(some_scores(**change))
    found = study.scores()
    assert len(found) == 5
    assert [s.values.layers[1] for s in found if s.examples == 16][-1] == 2.0
    assert len(files_of(study, "scores")) == 5


def test_score_index_lists_keys_without_reading_arrays(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.save_scores(some_scores(seed=7, labels="argmax"))
    monkeypatch.setattr(study_module, "read_arrays", None)
    (row,) = study.score_index()
    expected = {"weights": "w", "task": "nli", "method": "fisher", "split": "train", "examples": 16, "seed": 7}
    assert row.items() >= (expected | {"labels": "argmax"}).items()
    assert row["created"].endswith("+00:00")


@given(
    array=numpy_arrays(
        dtype=st.sampled_from([np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_]),
        shape=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    ),
    key=st.text(max_size=20),
    metadata=st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=3),
)
def test_partial_work_comes_back_as_it_was(array: np.ndarray, key: str, metadata: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder))
        study.save_partial(key, {"a": array, "transposed": array.T}, metadata)
        found = study.partial(key)
        assert found is not None
        assert same_arrays(found[0], {"a": array, "transposed": array.T})
        assert found[1] == metadata


def test_partial_work_is_replaced_and_dropped(study: Study) -> None:
    assert study.partial("sweep") is None
    study.drop_partial("sweep")
    study.save_partial("sweep", {"a": np.zeros(2)}, {"done": 1})
    study.save_partial("sweep", {"a": np.ones(2)}, {"done": 2})
    study.save_partial("other", {}, {})
    assert study.partial("sweep")[1] == {"done": 2}
    study.drop_partial("sweep")
    assert study.partial("sweep") is None
    assert study.partial("other") == ({}, {})


def test_a_key_never_names_a_place_outside_the_study(study: Study) -> None:
    study.save_partial("../../outside", {"a": np.zeros(1)}, {})
    assert not (study.path.parent.parent / "outside").exists()
    assert len(files_of(study, "partial")) == 1


def test_an_evaluation_comes_back_with_its_statistics_and_recipe(study: Study) -> None:
    statistics, numbers = np.array([[1.0], [0.0], [1.0], [1.0]]), np.array([0, 3, 5, 7])
    study.save_evaluation(
        "w", "r", "nli", "validation", ESTIMATE,
        statistics=statistics, numbers=numbers, cost={"flops": 3}, recipe=RECIPE, name="half",
    )  # fmt: skip
    assert study.evaluation("w", "r", "nli", "validation") == ESTIMATE
    found = study.statistics("w", "r", "nli", "validation")
    assert found is not None
    assert np.array_equal(found[0], numbers)
    assert np.array_equal(found[1], statistics)
    (row,) = study.evaluations()
    assert (row["estimate"], row["cost"], row["name"]) == (ESTIMATE, {"flops": 3}, "half")
    assert row["steps"] == [{"step": "cut", "repair": None}]
    assert study.recipe(PLAN.key) == RECIPE.to_json()
    assert study.plan(PLAN.key) == PLAN


def test_what_was_never_evaluated_is_none(study: Study) -> None:
    study.save_evaluation("w", "r", "nli", "validation", ESTIMATE)
    assert study.evaluation("w", "r", "nli", "test") is None
    assert study.statistics("w", "r", "nli", "validation") is None
    assert study.plan("none") is None
    assert study.evaluations()[0]["cost"] is None


def test_an_estimate_on_fewer_examples_never_replaces_one_on_more(study: Study) -> None:
    key = ("w", "r", "nli", "validation")
    study.save_evaluation(*key, ESTIMATE, statistics=np.ones((4, 1)), numbers=np.arange(4), name="mine")
    study.save_evaluation(*key, replace(ESTIMATE, examples=2), statistics=np.ones((2, 1)), numbers=np.arange(2))
    assert study.evaluation(*key) == ESTIMATE
    assert len(study.statistics(*key)[0]) == 4
    study.save_evaluation(*key, replace(ESTIMATE, examples=8))
    assert study.evaluation(*key).complete
    assert study.statistics(*key) is None, "the statistics of the replaced estimate"
    assert study.evaluations()[0]["name"] == "mine"
    study.save_evaluation(*key, replace(ESTIMATE, metric="mcc", examples=1))
    assert study.evaluation(*key).metric == "mcc"


def test_the_same_measured_again_without_its_examples_leaves_them(study: Study) -> None:
    key = ("w", "r", "nli", "validation")
    study.save_evaluation(*key, ESTIMATE, statistics=np.ones((4, 1)), numbers=np.arange(4))
    study.save_evaluation(*key, ESTIMATE, name="from a curve")
    assert len(study.statistics(*key)[0]) == 4
    assert study.evaluations()[0]["name"] == "from a curve"


def test_results_on_other_examples_are_set_aside_and_kept(study: Study) -> None:
    whole = Estimate("accuracy", 0.9, (0.8, 1.0), "validation", 4, 4)
    rows, numbers = np.ones((4, 1)), np.arange(4)
    assert not study.set_aside_other_data("nli", "validation", "aa"), "there was nothing before"
    for task, split in (("nli", "validation"), ("nli", "test"), ("qa", "validation")):
        study.save_evaluation("w", "r", task, split, whole, statistics=rows, numbers=numbers)
    assert not study.set_aside_other_data("nli", "validation", "aa")
    assert study.evaluation("w", "r", "nli", "validation") == whole
    assert study.set_aside_other_data("nli", "validation", "bb")
    assert study.evaluation("w", "r", "nli", "validation") is None
    assert study.statistics("w", "r", "nli", "validation") is None
    assert study.evaluation("w", "r", "nli", "test") == study.evaluation("w", "r", "qa", "validation") == whole
    (aside,) = [row["task"] for row in study.evaluations() if row["task"] not in ("nli", "qa")]
    assert aside.startswith("nli before 20")
    assert study.statistics("w", "r", aside, "validation") is not None
    assert not study.set_aside_other_data("nli", "validation", "bb")


def test_plans_are_kept_once(study: Study) -> None:
    other = Plan.full(SHAPE)
    for plan in (PLAN, PLAN, other):
        study.save_plan(plan)
    assert study.plans() == [other, PLAN]


def test_recipes_are_kept_once_and_pins_name_them(study: Study) -> None:
    other = Recipe.of(Plan.full(SHAPE))
    study.save_recipe(RECIPE)
    study.save_recipe(RECIPE, name="half")
    study.save_recipe(other, name="original")
    assert study.recipe_keys() == [other.key, RECIPE.key]
    assert study.pins == {"half": RECIPE.key, "original": other.key}
    assert study.plan(PLAN.key) == PLAN
    study.save_recipe(other, name="half")
    assert study.pins == {"original": other.key, "half": other.key}
    study.unpin("half")
    assert list(study.pins) == ["original"]
    assert len(study.recipe_keys()) == 2


def test_settings_hold_json(study: Study) -> None:
    assert study.get("tasks") is None
    assert study.get("tasks", []) == []
    study.set("tasks", ["nli", {"a": None}])
    study.set("tasks", ["nli", {"a": 1.5}])
    assert Study.open(study.path).get("tasks") == ["nli", {"a": 1.5}]


# Two writers


def write_200_rows(path: Path, name: str) -> None:
    study = Study.open(path)
    for number in range(200):
        study.set(f"{name}-{number}", number)
        if number % 10 == 0:
            study.save_scores(some_scores(seed=number, weights=name))
            study.save_scores(some_scores(seed=number, weights="both"))
            study.save_evaluation(name, f"r{number}", "nli", "validation", ESTIMATE, recipe=RECIPE)


@pytest.mark.slow
def test_two_processes_write_200_rows_each_and_none_is_lost(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_200_rows, args=(tmp_path / "study", name)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    study = Study.open(tmp_path / "study")
    for name in ("a", "b"):
        assert [study.get(f"{name}-{number}") for number in range(200)] == list(range(200))
        assert len(study.scores(weights=name)) == 20
    assert len(study.scores(weights="both")) == 20
    assert len(study.evaluations()) == 40


def test_many_threads_open_the_same_new_study_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        start = threading.Barrier(8)

        def use(number: int, path: Path = tmp_path / f"study{attempt}", start: threading.Barrier = start) -> None:
            start.wait()
            Study.open(path).set(str(number), number)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(use, range(8)))
        study = Study.open(tmp_path / f"study{attempt}")
        assert [study.get(str(number)) for number in range(8)] == list(range(8))


def test_a_study_locked_for_too_long_is_said(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "SECONDS_TO_WAIT_FOR_ANOTHER_WRITER", 0.1)
    other = sqlite3.connect(study.path / "study.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="locked by another program"):
        study.set("a", 1)
    assert study.get("a") is None, "readers do not wait"
    other.execute("ROLLBACK")
    other.close()
    study.set("a", 1)


# Crashes

WRITE_UNTIL_KILLED = """
import sys
import numpy as np
from asc_core.recipes import Recipe
from asc_core.study import Study
from tests_of_study import some_scores, ESTIMATE
from dataclasses import replace
study = Study.open(sys.argv[1])
for number in range(1, 100_000):
    big = np.full(20_000, float(number))
    study.save_partial("sweep", {"a": big}, {"number": number})
    study.save_scores(some_scores(offset=float(number)))
    study.save_evaluation("w", "r", "nli", "validation", replace(ESTIMATE, value=float(number)),
                          statistics=big[:, None], numbers=np.arange(20_000))
    study.set("number", number)
    print(number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_after_kill_9_everything_that_was_acknowledged_is_there_and_whole(tmp_path: Path, seed: int) -> None:
    shutil.copy(__file__, tmp_path / "tests_of_study.py")
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, tmp_path / "study"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "1\n"
    with pytest.raises(subprocess.TimeoutExpired):
        writer.wait(random.Random(seed).uniform(0.02, 0.3))
    writer.kill()
    acknowledged = int((writer.stdout.read().splitlines() or ["1"])[-1])
    writer.wait()

    study = Study.open(tmp_path / "study")
    arrays, metadata = study.partial("sweep")
    assert metadata["number"] in (acknowledged, acknowledged + 1)
    assert (arrays["a"] == metadata["number"]).all()
    (scores,) = study.scores()
    assert scores.values.layers[1] in (acknowledged, acknowledged + 1)
    estimate = study.evaluation("w", "r", "nli", "validation")
    assert estimate.value in (acknowledged, acknowledged + 1)
    _, statistics = study.statistics("w", "r", "nli", "validation")
    assert (statistics == estimate.value).all(), "an estimate and its statistics belong together"
    assert study.get("number") in (acknowledged, acknowledged + 1)
    study.set("number", -1)
    assert study.get("number") == -1


def test_temporary_files_of_the_dead_are_removed_and_those_of_the_living_kept(study: Study) -> None:
    study.save_partial("sweep", {"a": np.ones(1)}, {})
    dead, living = study.path / "partial" / "x.dead.tmp", study.path / "partial" / "x.living.tmp"
    for file in (dead, living):
        file.write_bytes(b"half")
    os.utime(dead, (0, 0))
    Study.open(study.path)
    assert not dead.exists()
    assert living.exists()
    assert study.partial("sweep") is not None


# What is damaged, foreign or full


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[: len(content) // 2], id="cut short"),
        pytest.param(lambda content: b"\xff" * len(content), id="noise"),
        pytest.param(lambda content: b"\x02\0\0\0\0\0\0\0{}", id="without metadata"),
    ],
)
def test_a_damaged_array_file_is_named_and_deleting_it_is_the_way_out(study: Study, damage) -> None:  # type: ignore[no-untyped-def]
    study.save_scores(some_scores())
    study.save_partial("sweep", {"a": np.ones(9)}, {"done": 1})
    for folder, read in (("scores", study.scores), ("partial", lambda: study.partial("sweep"))):
        (file,) = files_of(study, folder)
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(UserError, match=f"(?s){file.name}.*Delete this one file"):
            read()
        file.unlink()
        assert not read()
    assert study.score_index() == []


def test_a_damaged_database_is_named(study: Study) -> None:
    study.set("a", 1)
    (study.path / "study.sqlite").write_bytes(b"this is not a database" * 500)
    with pytest.raises(UserError, match=r"study\.sqlite is damaged"):
        Study.open(study.path)
    with pytest.raises(UserError, match=r"study\.sqlite is damaged"):
        study.get("a")


def test_a_database_cut_short_is_named(study: Study) -> None:
    for number in range(50):
        study.set(str(number), "x" * 1000)
    file = study.path / "study.sqlite"
    file.write_bytes(file.read_bytes()[:8192])
    with pytest.raises(UserError, match=r"study\.sqlite is damaged"):
        [Study.open(study.path).get(str(number)) for number in range(50)]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE settings SET value = '{'", lambda study: study.get("a")),
        ("UPDATE settings SET value = x'ff00'", lambda study: study.get("a")),
        ("UPDATE settings SET value = NULL", lambda study: study.get("a")),
        ("UPDATE evaluations SET estimate = '[1]'", lambda study: study.evaluations()),
        ("UPDATE evaluations SET estimate = '{\"metric\": 1}'", lambda study: study.evaluation("w", "r", "t", "s")),
        ("UPDATE evaluations SET cost = '7'", lambda study: study.evaluations()),
        ("UPDATE statistics SET arrays = x'00'", lambda study: study.statistics("w", "r", "t", "s")),
        ("UPDATE statistics SET arrays = 'a'", lambda study: study.statistics("w", "r", "t", "s")),
        ("UPDATE plans SET plan = '{\"heads\": 0}'", lambda study: study.plans()),
        ("UPDATE recipes SET recipe = '3'", lambda study: study.recipe(PLAN.key)),
        ("UPDATE evaluations SET steps = '[1]'", lambda study: study.evaluations()),
    ],
)
def test_rows_that_someone_else_made_up_are_refused(study: Study, change: str, read) -> None:  # type: ignore[no-untyped-def]
    study.set("a", 1)
    study.save_evaluation(
        "w", "r", "t", "s", ESTIMATE, statistics=np.ones((4, 1)), numbers=np.arange(4), cost={}, recipe=RECIPE
    )
    with sqlite3.connect(study.path / "study.sqlite") as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(UserError, match=r"study\.sqlite is damaged"):
        read(study)


def test_a_folder_with_other_things_is_no_study_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("a")
    with pytest.raises(UserError, match=r"holds train\.tsv and no study\.sqlite"):
        Study.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["train.tsv"]


def test_a_file_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="a study is a folder"):
        Study.open(tmp_path / "plan.json")
    with pytest.raises(UserError, match="cannot be used"):
        Study.open(tmp_path / "plan.json" / "study")


def test_an_empty_or_hidden_only_folder_becomes_a_study(tmp_path: Path) -> None:
    (tmp_path / ".gitkeep").touch()
    Study.open(tmp_path).set("a", 1)
    assert Study.open(tmp_path).get("a") == 1


def test_a_database_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "study.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE scores (a)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(UserError, match="database of something else"):
        Study.open(tmp_path)
    assert file.read_bytes() == before


def test_a_study_of_a_later_version_is_refused(study: Study) -> None:
    with sqlite3.connect(study.path / "study.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(UserError, match="newer ASC Studio"):
        Study.open(study.path)


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_keeps_what_was_there_and_leaves_no_debris(
    study: Study, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.save_partial("sweep", {"a": np.zeros(2)}, {"done": 1})
    study.save_scores(some_scores(offset=1.0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        for write in (
            lambda: study.save_partial("sweep", {"a": np.ones(2)}, {"done": 2}),
            lambda: study.save_scores(some_scores(offset=2.0)),
        ):
            with pytest.raises(UserError, match="The disk is full"):
                write()
    assert study.partial("sweep")[1] == {"done": 1}
    assert study.scores()[0].values.layers[1] == 1.0
    assert len(files_of(study, "partial") + files_of(study, "scores")) == 2


def test_a_full_database_keeps_what_was_there(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.set("a", 1)
    connect = sqlite3.connect

    def small(*arguments, **options):  # type: ignore[no-untyped-def]
        connection = connect(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 1")  # the size that it has now
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(UserError, match="The disk is full"):
        study.set("a", "x" * 100_000)
    assert study.get("a") == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("a disk of one megabyte can only be mounted by root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.faults
def test_a_disk_that_really_fills_up_loses_nothing(small_disk: Path) -> None:
    study = Study.open(small_disk / "study")
    study.save_partial("sweep", {"a": np.arange(1000.0)}, {"done": 1})
    study.save_evaluation("w", "r", "nli", "validation", ESTIMATE)
    kept: list[int] = []

    def fill() -> None:
        for number in range(10_000):
            study.set(f"key {number}", "x" * 5_000)
            kept.append(number)

    with pytest.raises(UserError, match="disk"):
        fill()
    with pytest.raises(UserError, match="The disk is full"):
        study.save_partial("sweep", {"a": np.zeros(200_000)}, {"done": 2})
    reopened = Study.open(small_disk / "study")
    assert reopened.partial("sweep")[1] == {"done": 1}
    assert reopened.evaluation("w", "r", "nli", "validation") == ESTIMATE
    assert kept
    assert all(reopened.get(f"key {number}") == "x" * 5_000 for number in kept)
    assert [p.suffix for p in files_of(reopened, "partial")] == [".safetensors"]


@pytest.mark.soak
def test_a_minute_of_replacing_the_same_results_does_not_let_the_folder_grow(study: Study) -> None:
    def replace_everything(seconds: float) -> int:
        rounds, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            study.save_partial("sweep", {"a": np.full(10_000, float(rounds))}, {"done": rounds})
            study.save_scores(some_scores(offset=float(rounds)))
            statistics = np.full((1_000, 3), float(rounds))
            study.save_evaluation(
                "w", "r", "nli", "validation", ESTIMATE, statistics=statistics, numbers=np.arange(1_000), recipe=RECIPE
            )
            study.set("rounds", rounds)
            rounds += 1
        return rounds

    def size() -> int:
        return sum(file.stat().st_size for file in study.path.rglob("*") if file.is_file())

    replace_everything(3)
    files, before = sorted(study.path.rglob("*")), size()
    assert replace_everything(60) > 100
    assert sorted(study.path.rglob("*")) == files
    assert size() <= 1.5 * before


def test_no_pickle_is_written(study: Study) -> None:
    with pytest.raises(Exception, match=r"(?i)object|dtype|O"):
        study.save_partial("sweep", {"a": np.array([{"a": 1}], dtype=object)}, {})
    with pytest.raises(TypeError, match="JSON"):
        study.set("a", {1, 2})
    assert json.dumps(study.get("a")) == "null"


def test_what_is_changed_at_once_from_two_sides_is_changed_twice(study: Study) -> None:
    def add(number: int) -> None:
        for one in range(20):
            study.change("list", lambda before, one=one: [*(before or []), (number, one)])

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(study.get("list")) == 80


def test_results_that_another_process_has_just_measured_anew_are_not_set_aside(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Estimate("accuracy", 0.9, (0.8, 1.0), "validation", 4, 4)
    study.set_aside_other_data("nli", "validation", "old")
    get = Study.get

    def late(self: Study, key: str, default: object = None) -> object:
        found = get(self, key, default)
        monkeypatch.setattr(Study, "get", get)
        study.set_aside_other_data("nli", "validation", "new")  # the other process, between the look and the write
        study.save_evaluation("w", "r", "nli", "validation", whole)
        return found

    monkeypatch.setattr(Study, "get", late)
    assert not study.set_aside_other_data("nli", "validation", "new")
    assert study.evaluation("w", "r", "nli", "validation") == whole


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount")
@pytest.mark.faults
def test_a_study_that_cannot_be_written_can_be_looked_at_really(study: Study) -> None:
    study.save_scores(some_scores())
    subprocess.run(["mount", "--bind", study.path, study.path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", study.path], check=True)
        looks_and_cannot_write(study.path)
    finally:
        subprocess.run(["umount", study.path], check=True)


def test_a_study_that_cannot_be_written_can_be_looked_at(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study.save_scores(some_scores())
    study.set("a", 1)
    monkeypatch.setattr(study_module.os, "access", lambda path, mode: False)
    monkeypatch.setattr(study_module, "write_arrays", lambda *_: None)
    looks_and_cannot_write(study.path)


def looks_and_cannot_write(path: Path) -> None:
    before = sorted((file.name, file.stat().st_mtime_ns) for file in path.rglob("*"))
    again = Study.open(path)
    assert again.is_read_only
    assert [scores.method for scores in again.scores()] == ["fisher"]
    with pytest.raises(UserError, match="permissions"):
        again.set("a", 2)
    assert sorted((file.name, file.stat().st_mtime_ns) for file in path.rglob("*")) == before
