"""A cut is measured against the original on the same examples, from the first slice on; scoring waits meanwhile."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from asc_core.bounded_cache import BoundedCache
from asc_core.compress.cut import Cut
from asc_core.errors import UserError
from asc_core.evaluate import estimate, measure
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.stored import stored_recipe
from asc_core.study import Study
from asc_core.tasks import task_from_rows
from asc_core.train.steps import Finetune
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import Jobs
from dashboard.background.scoring_jobs import score_job
from dashboard.measuring.measurements import Measurements
from dashboard.state.application import Application
from dashboard.state.cut_settings import recipe_of
from dashboard.state.loaded import LoadedModels
from tests.evaluate.toy_tasks import encoder_for, toy_task

TASK = toy_task("text-classification", validation=300)
ENCODER = encoder_for(TASK)
APPLICATION = Application(TASK.name, "e", "t")
PLAN = Plan.full(ENCODER.shape).drop(0, head=1).drop(1, head=0)


def models() -> LoadedModels:
    return LoadedModels(lambda name: ENCODER, lambda name: TASK)


def test_the_first_estimate_does_not_wait_for_the_whole_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["asc_core.evaluate.per_example"], "_first_slice", lambda *_: 64)
    study = Study.open(tmp_path / "study")
    measurements = Measurements(models(), study, APPLICATION, task_cost_model(ENCODER, TASK))
    shown: list[tuple[Estimate, bool]] = []
    last = measurements.measured(
        Recipe.of(PLAN),
        "0.60 fisher",
        Progress(),
        lambda found: shown.append((found, measurements.original() is not None)),
    )
    first, original_known = shown[0]
    assert (first.examples, original_known) == (64, False)
    assert first.difference is not None
    assert shown[-1] == (last, True)
    whole = measure(ENCODER.cut(PLAN), TASK)
    expected = estimate(whole, TASK.metric, measure(ENCODER, TASK))
    assert (last.value, last.difference) == pytest.approx((expected.value, expected.difference))
    original = measurements.original()
    assert original is not None
    assert (original.complete, original.valid) == (True, "single")


def test_a_corrected_file_of_the_same_name_is_measured_anew(tmp_path: Path) -> None:
    study, recipe = Study.open(tmp_path / "study"), Recipe.of(PLAN)
    corrected = toy_task("text-classification", validation=300, seed=1)
    assert corrected.name == TASK.name
    values = []
    for task, other in ((TASK, False), (corrected, True), (corrected, False)):  # each in a process of its own
        opened = LoadedModels(lambda name: ENCODER, lambda name, task=task: task)  # type: ignore[misc]
        measurements = Measurements(opened, study, APPLICATION, opened.cost_model(APPLICATION))
        assert measurements.data_changed is other
        assert (measurements.stored(recipe) is None) is (other or not values)
        found = measurements.measured(recipe, "0.60 fisher", Progress())
        expected = estimate(measure(ENCODER.cut(PLAN), task), task.metric, measure(ENCODER, task))
        assert (found.value, found.difference) == pytest.approx((expected.value, expected.difference))
        values.append(found.value)
    assert values[0] != values[1] == values[2]


def test_what_is_measured_while_the_file_is_corrected_is_not_taken_for_the_corrected_ones(tmp_path: Path) -> None:
    """One window measures for long; in another one, or another process, the task is added again."""
    study, recipe = Study.open(tmp_path / "study"), Recipe.of(PLAN)
    corrected = toy_task("text-classification", validation=300, seed=2)
    slow, quick = models(), LoadedModels(lambda name: ENCODER, lambda name: corrected)
    old = Measurements(slow, study, APPLICATION, slow.cost_model(APPLICATION))

    def meanwhile(_: Estimate) -> None:
        assert Measurements(quick, study, APPLICATION, quick.cost_model(APPLICATION)).data_changed

    with pytest.raises(UserError, match="have changed while this was measured"):
        old.measured(recipe, "0.60 fisher", Progress(), meanwhile)
    new = Measurements(quick, study, APPLICATION, quick.cost_model(APPLICATION))
    assert new.stored(recipe) is None
    with pytest.raises(UserError, match="have changed"):
        old.original_outcome(Progress())
    assert new.original() is None


def test_scoring_waits_while_a_cut_is_measured(tmp_path: Path) -> None:
    jobs, study, gate = Jobs(), Study.open(tmp_path / "study"), threading.Event()
    measuring = jobs.start("me", "evaluate", "x", "Evaluating", lambda job: gate.wait(60))
    work = score_job(models(), study, APPLICATION, ["fisher"], 64, jobs)
    mine = jobs.start("me", "score", "y", "Scoring", work)
    assert not mine.wait(1.0)
    assert study.scores(task=TASK.name) == []
    another = jobs.start("you", "load", "y", "Scoring", score_job(models(), study, APPLICATION, ["update"], 64, jobs))
    assert another.wait(60), "another window's measurement is none of its business"
    gate.set()
    assert measuring.wait(60)
    assert mine.wait(60)
    assert mine.result["fisher"].examples == 64
    jobs.shutdown()


def test_scoring_that_waits_can_be_cancelled(tmp_path: Path) -> None:
    jobs, study, gate = Jobs(), Study.open(tmp_path / "study"), threading.Event()
    jobs.start("me", "evaluate", "x", "Evaluating", lambda job: gate.wait(60))
    mine = jobs.start("me", "score", "y", "Scoring", score_job(models(), study, APPLICATION, ["fisher"], 64, jobs))
    while mine.reported[2] != f"scoring {TASK.name}":
        assert not mine.wait(0.01)
    mine.cancel()
    assert mine.wait(60)
    assert mine.state == "cancelled"
    gate.set()
    jobs.shutdown()


def test_hidden_states_of_a_repair_on_other_texts_are_not_taken_for_these() -> None:
    """Two applications with one encoder may have one validation split and different training texts."""
    other, recipe = toy_task("text-classification", validation=300, train=60), recipe_of(PLAN, "sequential")
    assert other.digest("validation") == TASK.digest("validation")
    mine, others = (recipe.made(ENCODER, task).prefix_keys(task) for task in (TASK, other))
    assert mine is not None
    assert others is not None
    assert not set(mine) & set(others)


def test_a_repaired_cut_is_measured_anew_where_training_texts_were_corrected(tmp_path: Path) -> None:
    study, recipe = Study.open(tmp_path / "study"), recipe_of(PLAN, "sequential")
    costs = task_cost_model(ENCODER, TASK)
    Measurements(models(), study, APPLICATION, costs).measured(recipe, "repaired", Progress())
    corrected = toy_task("text-classification", validation=300, train=60)
    measurements = Measurements(LoadedModels(lambda name: ENCODER, lambda name: corrected), study, APPLICATION, costs)
    assert measurements.data_changed
    assert measurements.stored(recipe) is None


def test_a_recipe_of_several_steps_is_measured_kept_and_told_from_a_cut(tmp_path: Path) -> None:
    study = Study.open(tmp_path / "study")
    measurements = Measurements(models(), study, APPLICATION, task_cost_model(ENCODER, TASK))
    train = Finetune(epochs=1, steps=2, batch_size=8, patience=None)
    trained, cut, repaired = (
        Recipe((*recipe_of(PLAN, repair).steps, *then))
        for repair, then in (("bias", (train,)), ("none", ()), ("bias", ()))
    )
    for recipe in (trained, cut, repaired):
        assert measurements.measured(recipe, "a recipe", Progress()) == measurements.stored(recipe)
    ways = {one.key: one.way for one in measurements.all_measured()}
    assert ways == {trained.key: "further", cut.key: "cut", repaired.key: "repaired"}
    assert stored_recipe(study, trained.key) == trained
    steps = {row["recipe_key"]: row["steps"] for row in study.evaluations()}
    assert steps[trained.key] == [{"step": "cut", "repair": "bias"}, {"step": "finetune"}]
    kept = {one.key: one.kept for one in measurements.all_measured()}
    assert kept[trained.key]["parameters"] == kept[cut.key]["parameters"]


def test_texts_that_choose_and_measure_are_said_to_be_the_same(tmp_path: Path) -> None:
    rows = [{"text": f"the cat {number}", "label": str(number % 2)} for number in range(12)]
    fields = {"texts": ["text"], "label": "label"}
    one = task_from_rows("one", "text-classification", fields, {"test": lambda: rows}, split="test")
    loaded = LoadedModels(lambda name: ENCODER, lambda name: one)
    costs = task_cost_model(ENCODER, TASK)
    measurements = Measurements(loaded, Study.open(tmp_path / "study"), Application("one", "e", "t"), costs)
    assert "same texts (the test split)" in measurements.remark
    assert Measurements(models(), Study.open(tmp_path / "study"), APPLICATION, costs).remark == ""


@pytest.mark.parametrize("bound", [1, 50_000])
def test_a_repair_whose_calibration_is_larger_than_the_bound_is_the_same_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    """It was refined for ever: what a larger calibration had was gone before it was looked at."""
    monkeypatch.setattr(sys.modules["asc_core.compress.calibration"], "FIRST_TOKENS", 64)
    opened = LoadedModels(lambda name: ENCODER, lambda name: TASK, BoundedCache(bound))
    study, plan = Study.open(tmp_path / "study"), Plan.full(ENCODER.shape).drop(0, head=1).drop(1, neuron=3)
    recipe = Recipe((Cut(plan=plan, repair="sequential"),))
    measurements = Measurements(opened, study, APPLICATION, opened.cost_model(APPLICATION))
    shown: list[Estimate] = []
    found = measurements.measured(recipe, "x", Progress(), shown.append, quickly=True)
    repaired = measure(recipe.made(ENCODER, TASK).encoder, TASK)
    assert found.value == estimate(repaired, TASK.metric).value
    assert shown[0].provisional
    assert opened.kept.bytes <= bound


def test_what_a_cut_will_take_is_known_once_the_original_was_begun_and_less_once_it_is_calibrated(
    tmp_path: Path,
) -> None:
    measurements = Measurements(models(), Study.open(tmp_path / "study"), APPLICATION, task_cost_model(ENCODER, TASK))
    recipe = Recipe((Cut(plan=PLAN, repair="sequential", until_settled=True),))
    assert measurements.seconds_ahead(recipe) is None
    measurements.begin(Progress())
    before = measurements.seconds_ahead(recipe)
    assert before is not None
    assert min(before.calibrating, before.repairing, before.evaluating) > 0
    assert measurements.seconds_ahead(Recipe.of(PLAN)) is None  # nothing is repaired
    measurements.prepare(Progress())
    after = measurements.seconds_ahead(recipe)
    assert after is not None
    assert after.calibrating == 0
