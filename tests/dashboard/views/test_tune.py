"""The Tune page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from asc_core.compress import Calibrations
from asc_core.plan import Part
from asc_core.progress import CALIBRATING, Progress
from asc_core.recipes.stored import pinned_recipes, stored_recipe
from asc_core.scores import METHODS
from asc_core.study import Study
from asc_core.values import Plan, Scores
from dashboard.background.jobs import Job
from dashboard.measuring.latency import with_known_times
from dashboard.state import applications
from dashboard.state.application import Application
from dashboard.state.cut_settings import recipe_of
from dashboard.state.loaded import LoadedModels
from dashboard.widgets import page
from tests.dashboard.conftest import APP, html_of, settled, write_task
from tests.dashboard.views.windows import Open, click, control, current_plan, session_of

calibration: Any = sys.modules["asc_core.compress.calibration"]

pytestmark = pytest.mark.slow  # whole pages, minutes in all


def test_a_cut_is_measured_and_every_number_names_its_split(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    assert not app.exception
    text = html_of(app)
    for said in (
        "accuracy · validation split",
        "n = 150 of 150 · complete",
        "to the original's",
        "in turns on this machine",
    ):
        assert said in text
    plan = current_plan(app, scored)
    weights = scored.scores(method="fisher")[0].weights
    stored = scored.evaluation(weights, recipe_of(plan, "sequential").key, "words", "validation")
    assert stored is not None
    assert stored.complete
    assert stored.difference is not None
    assert scored.evaluation(weights, plan.key, "words", "validation") is None


def test_moving_the_budget_cuts_more_and_undo_brings_it_back(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    before = current_plan(app, scored)
    control(app.slider, "tune-keep").set_value(45)
    settled(app.run())
    after = current_plan(app, scored)
    assert sum(map(len, after.neurons)) + sum(map(len, after.heads)) < sum(map(len, before.neurons)) + sum(
        map(len, before.heads)
    )
    app.button(key="tune-undo").click()
    settled(app.run())
    assert control(app.slider, "tune-keep").value == 60
    assert current_plan(app, scored) == before
    app.button(key="tune-redo").click()
    settled(app.run())
    assert (control(app.slider, "tune-keep").value, current_plan(app, scored)) == (45, after)


def test_every_rule_and_method_gives_a_measured_cut(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    for method, rule in (("fisher", "threshold"), ("update", "share"), ("asc-b", "threshold"), ("asc-b", "budget")):
        control(app.selectbox, "tune-method").set_value(method)
        settled(app.run())
        control(app.segmented_control, "tune-rule").set_value(rule)
        settled(app.run())
        assert not app.exception
        assert "complete" in html_of(app)
        assert session_of(app).settings.rule == rule  # type: ignore[union-attr]


def test_a_click_cuts_a_head_by_hand_and_the_slider_respects_it(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    head = current_plan(app, scored).heads[0][0]
    app = click(app, "tune-map", [0, "heads", 0, head])
    assert not app.exception
    assert head not in current_plan(app, scored).heads[0]
    assert app.button(key="tune-release").label == "Clear 1 manual edit"
    control(app.slider, "tune-keep").set_value(90)
    settled(app.run())
    assert head not in current_plan(app, scored).heads[0]
    app.button(key="tune-release").click()
    settled(app.run())
    assert session_of(app).settings.forced == 0  # type: ignore[union-attr]


def test_a_box_drawn_over_cells_changes_all_of_them(scored: Study, open_page: Open) -> None:
    app = click(open_page("tune"), "tune-map", [0, "heads", 0, 0], [0, "heads", 0, 1], [0, "layers", 2, None])
    settings = session_of(app).settings
    assert settings is not None
    assert settings.kept | settings.cut == {Part("heads", 0, 0), Part("heads", 0, 1), Part("layers", 2)}


def test_a_link_shows_the_same_view_in_another_window(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.slider, "tune-keep").set_value(70)
    settled(app.run())
    link = dict(app.query_params)
    assert link.keys() == {"study", "task", "method", "plan", "repair"}
    other = open_page("tune", **link)
    assert control(other.slider, "tune-keep").value == 70
    assert current_plan(other, scored) == current_plan(app, scored)
    assert session_of(other).id != session_of(app).id


def test_two_windows_do_not_disturb_each_other(scored: Study, open_page: Open) -> None:
    first, second = open_page("tune"), open_page("tune")
    control(first.slider, "tune-keep").set_value(50)
    settled(first.run())
    second.run()
    assert (control(first.slider, "tune-keep").value, control(second.slider, "tune-keep").value) == (50, 60)
    assert session_of(second).history != session_of(first).history


def test_a_pinned_cut_comes_back(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    plan = current_plan(app, scored)
    app.text_input(key="tune-pin-name").set_value("small one")
    app.run()
    app.button(key="tune-pin-save").click()
    app.run()
    assert {name: recipe.cut for name, recipe in pinned_recipes(scored).items()} == {"small one": plan}
    control(app.segmented_control, "tune-repair").set_value("none")
    settled(app.run())
    app.button(key="tune-pinned-0").click()
    settled(app.run())
    settings = session_of(app).settings
    assert settings is not None
    assert (current_plan(app, scored), settings.repair) == (plan, "sequential")


def plan_key_of(study: Study, row: dict[str, Any]) -> str | None:
    recipe = stored_recipe(study, row["recipe_key"])
    return recipe.cut.key if recipe is not None and recipe.cut is not None else None


def test_every_repair_is_measured_for_itself_and_undone(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    plan = current_plan(app, scored)
    for repair in ("one-shot", "none"):
        control(app.segmented_control, "tune-repair").set_value(repair)
        settled(app.run())
        assert not app.exception
        assert app.query_params["repair"] == repair
        assert current_plan(app, scored) == plan
        assert "complete" in html_of(app)
    rows = {row["recipe_key"]: row["name"] for row in scored.evaluations() if plan_key_of(scored, row) == plan.key}
    assert rows == {
        recipe_of(plan, "sequential").key: "0.60 fisher, repaired (sequential)",
        recipe_of(plan, "one-shot").key: "0.60 fisher, repaired (one-shot)",
        plan.key: "0.60 fisher",
    }
    app.button(key="tune-undo").click()
    settled(app.run())
    assert control(app.segmented_control, "tune-repair").value == "one-shot"
    link = dict(app.query_params)
    assert control(open_page("tune", **link).segmented_control, "tune-repair").value == "one-shot"


def test_what_cannot_be_repaired_is_measured_as_it_is(
    study: Study, open_page: Open, tmp_path: Path, checkpoint: Path
) -> None:
    """A task without a train split."""
    from asc_core.scores import sweep
    from dashboard.state import applications

    path = write_task(tmp_path, "words")
    path.write_text(path.read_text().replace('train = "train.tsv"\n', ""))
    application = applications.add(study, str(checkpoint), str(path), "words")
    models = page.models()
    sweep(models.encoder(application), models.task(application), ["fisher"], split="validation", study=study)
    app = open_page("tune")
    assert not app.exception
    repair = control(app.segmented_control, "tune-repair")
    assert (repair.value, repair.disabled) == ("none", True)
    assert "complete" in html_of(app)


def test_a_quick_repair_is_shown_while_the_right_one_is_computed_and_is_replaced(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch, shared_models: LoadedModels
) -> None:
    held, real = threading.Event(), calibration.GrowingCalibration.grow

    def slow(self: Any, progress: Progress | None = None) -> Any:
        if self.latest is not None:
            while not held.wait(0.01):
                assert progress is not None
                progress.step(1, 10, "calibrating on words", CALIBRATING)
        return real(self, progress)

    monkeypatch.setattr(calibration, "FIRST_TOKENS", 100)
    monkeypatch.setattr(calibration.GrowingCalibration, "grow", slow)
    shared_models.calibrations = Calibrations()
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    app.switch_page("views/tune.py").run()
    for _ in range(200):
        app.run()
        if "refining: calibrating" in html_of(app):
            break
    assert re.search(r"n = \d+ of 150 · repaired \(one-shot\) on \d+ tokens, refining: calibrating", html_of(app))
    assert not any(row["estimate"].complete for row in scored.evaluations() if row["name"] != "original")
    control(app.slider, "tune-keep").set_value(50)
    app.run()
    held.set()
    settled(app.run())
    assert "complete" in html_of(app)
    assert "refining" not in html_of(app)
    (row,) = [row for row in scored.evaluations() if row["estimate"].complete and row["name"] != "original"]
    assert not row["estimate"].provisional


def test_a_whole_frontier_is_measured_and_drawn(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    app.button(key="tune-whole").click()
    settled(app.run())
    assert not app.exception
    names = [row["name"] for row in scored.evaluations() if row["name"] != "original"]
    assert len(names) in (9, 10)
    assert all(name.endswith("repaired (sequential)") for name in names)
    figure = json.loads(app.get("plotly_chart")[-1].proto.spec)
    assert sum(len(trace.get("customdata", [])) for trace in figure["data"]) == len(names) + 1
    assert any(trace.get("fill") == "tonexty" for trace in figure["data"]), "what lies between them is predicted"


@pytest.mark.parametrize(("points", "qualifies"), [(100.0, True), (0.0, False)])
def test_auto_finds_the_smallest_that_loses_little_or_says_that_there_is_none(
    points: float, qualifies: bool, scored: Study, open_page: Open
) -> None:
    app = open_page("tune")
    before = session_of(app).settings
    app.number_input(key="tune-auto-lost").set_value(points)
    app.run()
    app.button(key="tune-auto-find").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    settings = session_of(app).settings
    assert settings is not None
    if qualifies:
        assert control(app.slider, "tune-keep").value == control(app.slider, "tune-keep").min
        assert "Smallest that drops by at most 100 pp (by the whole 95 % interval of the difference)" in text
        assert "complete" in text
        app.button(key="tune-undo").click()
        settled(app.run())
        assert session_of(app).settings == before, "what was found is taken once"
    else:
        assert "No cut with this method and repair drops by at most 0 pp (by the whole 95 % interval" in text
        assert "The nearest, shown now" in text
        assert f"{100 * settings.keep:.0f} % kept" in text


def test_tune_prefers_scores_that_foresee_the_repair(scored: Study, added: Application, open_page: Open) -> None:
    from asc_core.scores import sweep

    models = page.models()
    sweep(models.encoder(added), models.task(added), ["obs"], samples=16, study=scored)
    app = open_page("tune")
    assert not app.exception
    assert control(app.selectbox, "tune-method").value == "obs"
    assert "complete" in html_of(app)


def test_a_plan_from_other_weights_is_used_only_when_asked(scored: Study, open_page: Open) -> None:
    from dataclasses import replace

    from asc_core.values import Provenance

    made = scored.scores(method="fisher")[0]
    foreign = replace(Plan.full(made.shape).drop(0, head=1), provenance=Provenance(weights="others", task="words"))
    scored.save_plan(foreign)
    app = open_page("tune", plan=foreign.key, task="words")
    assert "made from other weights" in html_of(app)
    control(app.toggle, "tune-transfer").set_value(True)
    settled(app.run())
    assert not app.exception
    assert current_plan(app, scored) == foreign


def test_a_budget_of_latency_measures_this_machine_once_and_cuts_by_it(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.selectbox, "tune-budget").set_value("latency")
    app = settled(app.run())
    assert not app.exception
    assert control(app.slider, "tune-keep").label == "latency kept"
    (application,) = applications.applications_of(scored)
    costs = with_known_times(page.models(), scored, application, page.models().cost_model(application))
    assert costs is not None
    session = session_of(app)
    (row,) = [r for r in scored.evaluations() if plan_key_of(scored, r) == session.plan_key]
    assert costs.dense.latency is not None
    assert session.settings is not None
    assert row["cost"]["latency"] <= session.settings.keep * costs.dense.latency + 1e-8  # what is within reach here
    again = open_page("tune")
    control(again.selectbox, "tune-budget").set_value("latency")
    assert not any("how long layers take" in job.title for job in page.all_jobs().of(session_of(again).id))


def test_who_does_not_want_to_wait_for_times_of_layers_goes_back_to_another_budget(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forever(*_: object) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            while True:
                job.progress.step(0, 1, "timing layers")
                time.sleep(0.01)

        return work

    monkeypatch.setattr("dashboard.measuring.latency.layer_times_job", forever)
    app = open_page("tune")
    control(app.selectbox, "tune-budget").set_value("latency")
    app = app.run()
    assert not app.exception
    (job,) = [one for one in page.all_jobs().of(session_of(app).id) if "how long layers take" in one.title]
    assert job.active
    app.button(key="tune-times-flops").click()
    app = settled(app.run())
    assert not app.exception
    assert job.progress.cancel.is_set()
    assert control(app.selectbox, "tune-budget").value == "flops"


def test_a_budget_of_latency_can_be_for_another_runtime(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.selectbox, "tune-budget").set_value("latency")
    app = settled(app.run())
    assert control(app.selectbox, "tune-runtime").value == "torch"
    control(app.selectbox, "tune-runtime").set_value("onnxruntime")
    app = settled(app.run())
    assert not app.exception
    (application,) = applications.applications_of(scored)
    counted = page.models().cost_model(application)
    costs = with_known_times(page.models(), scored, application, counted, "onnxruntime")
    assert costs is not None
    assert costs.latency is not None
    assert costs.latency.runtime == "onnxruntime"
    assert "in onnxruntime" in current_plan(app, scored).provenance.rule


def test_scores_of_texts_that_have_changed_are_said_to_be(scored: Study, scores: list[Scores], open_page: Open) -> None:
    said = "have changed since it was scored"
    assert not any(said in warning.value for warning in open_page("tune").warning)
    scored.save_scores(replace(scores[0], texts="32:another"))
    (warning,) = [one.value for one in open_page("tune").warning if said in one.value]
    assert METHODS[scores[0].method].title in warning
