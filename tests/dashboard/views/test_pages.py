"""Every page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.runtime.download_data_util import convert_data_to_bytes_and_infer_mime
from streamlit.testing.v1 import AppTest

from asc_core.compress import Calibrations, calibrations
from asc_core.export import FORMATS
from asc_core.loading import load_encoder
from asc_core.plan import Part
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.stored import pinned_recipes, stored_recipe
from asc_core.recipes.transfer_matrix_store import keep_report, reports
from asc_core.scores import METHODS
from asc_core.study import Study
from asc_core.values import Plan, Scores
from dashboard.background import scoring_jobs
from dashboard.measuring.export_jobs import exports_of, zipped
from dashboard.measuring.measurements import with_known_times
from dashboard.state import applications
from dashboard.state import session as sessions
from dashboard.state.applications import Application
from dashboard.state.cut_settings import Move, recipe_of
from dashboard.state.loaded import Library
from dashboard.state.session import Session
from dashboard.widgets import page
from tests.dashboard.conftest import APP, LABELS, html_of, settled, write_task
from tests.dashboard.synthetic import estimate
from tests.extending.test_a_format import BagOfWords
from tests.tiny import save_checkpoint, tiny

pytestmark = pytest.mark.slow  # whole pages, minutes in all

Open = Callable[..., AppTest]


def session_of(app: AppTest) -> Session:
    return app.session_state[sessions.KEY]


def click(app: AppTest, chart: str, *cells: list) -> AppTest:
    """As if these cells of a chart had been clicked; cells as in `customdata`."""
    key = session_of(app).fresh_key(chart)
    app.session_state[key] = {"selection": {"points": [{"customdata": cell} for cell in cells], "point_indices": []}}
    return settled(app.run())


def control(widgets: Any, key: str) -> Any:
    """One of Tune's controls; behind its name the key carries a generation."""
    (found,) = [widget for widget in widgets if re.split("[.:]", widget.key or "")[0] == key]
    return found


@pytest.mark.parametrize("view", ["overview", "map", "tune", "compare", "export"])
def test_every_page_of_an_empty_study_says_what_to_do_next(view: str, study: Study, open_page: Open) -> None:
    app = open_page(view)
    assert not app.exception
    assert not app.error or view == "tune"
    text = html_of(app) + " ".join(str(e.proto) for e in app.get("page_link"))
    assert {
        "overview": "Next step: score an application",
        "map": "Nothing has been scored",
        "tune": "add one on the Overview page",
        "compare": "No matrix has been measured yet",
        "export": "There is no cut yet",
    }[view] in text


def test_a_study_that_cannot_be_opened_is_said_in_the_page(
    study: Study, monkeypatch: pytest.MonkeyPatch, open_page: Open, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    monkeypatch.setenv(sessions.FOLDER_VARIABLE, str(tmp_path / "notes.txt"))
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    assert not app.exception
    assert "notes.txt is a file; a study is a folder" in app.error[0].value


# Overview


def test_overview_shows_an_application_with_its_data(added: Application, open_page: Open) -> None:
    text = html_of(open_page("overview"))
    for said in ("words", "text classification", "train <b>48</b>", "validation <b>150</b>", "not scored yet"):
        assert said in text


def test_scoring_from_the_page_ends_in_scores_and_a_next_step(
    study: Study, added: Application, open_page: Open
) -> None:
    app = open_page("overview")
    app.multiselect(key="score-methods").set_value(["update", "random"])
    app.selectbox(key="score-samples").set_value(128)
    app.button(key="score-words").click()
    settled(app.run())
    assert not app.exception
    assert {(s["method"], s["task"]) for s in study.score_index()} == {("update", "words"), ("random", "words")}
    assert "update · 48" in html_of(app)
    assert "tune-words" in [b.key for b in app.button]


def test_scoring_may_stop_when_settled_and_go_on_later(study: Study, added: Application, open_page: Open) -> None:
    """With 48 examples in one slice the sweep cannot stop early; a stop is made by hand, as the engine writes it."""
    from dataclasses import replace

    app = open_page("overview")
    app.multiselect(key="score-methods").set_value(["update"])
    app.toggle(key="score-settled").set_value(True)
    app.run()
    app.button(key="score-words").click()
    settled(app.run())
    assert not app.exception
    assert study.get("watched:words") == {"methods": ["update"], "samples": 512}
    (made,) = study.scores(method="update")
    assert "stability.heads" in made.details
    assert "further-words" not in [b.key for b in app.button]
    study.save_scores(replace(made, examples=24, notes="Stopped after 24 of 48 examples, because it had settled."))
    app.run()
    assert "update · 24 of 48" in html_of(app)
    app.button(key="further-words").click()
    settled(app.run())
    assert not app.exception
    assert "update · 48<" in html_of(app)
    assert "further-words" not in [b.key for b in app.button]


def test_adding_an_application_checks_that_encoder_and_task_fit(
    study: Study, checkpoint: Path, task_file: Path, open_page: Open, tmp_path: Path
) -> None:
    wrong = save_checkpoint(tiny("bert", head="question-answering"), tmp_path / "qa")
    app = open_page("overview")
    for encoder, task, said in (
        (checkpoint, tmp_path / "none.toml", "There is no task file"),
        (tmp_path / "nothing", task_file, "is not a folder with a checkpoint"),
        (wrong, task_file, "has a head for question-answering"),
        (checkpoint, task_file, "words is added"),
        (checkpoint, task_file, "already an application words"),
    ):
        app.text_input(key="add-encoder").set_value(str(encoder))
        app.text_input(key="add-task").set_value(str(task))
        next(b for b in app.button if b.label == "Add").click()
        settled(app.run())
        assert not app.exception
        assert said in html_of(app)
    assert [a["name"] for a in study.get("applications")] == ["words"]


def test_removing_an_application_keeps_its_scores(scored: Study, open_page: Open) -> None:
    app = open_page("overview")
    app.button(key="remove-words").click()
    app.run()
    assert scored.get("applications") == []
    assert scored.score_index()


# Map


def test_a_click_on_the_map_shows_scores_with_intervals_and_savings(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    assert "Click a cell" in html_of(app)
    app = click(app, "map-chart", [0, "heads", 1, 2])
    assert not app.exception
    text = html_of(app)
    made = next(s for s in scored.scores(method="fisher"))
    assert made.values.heads is not None
    for said in ("Layer 2, head 3", f"{made.values.heads[1][2]:.4g}", "Cutting it alone saves", "FLOPs"):
        assert said in text


def test_the_map_says_which_labels_a_method_used(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    assert "uses gold labels" in html_of(app)
    app.selectbox(key="map-method").set_value("update")
    app.run()
    assert "label-free" in html_of(app)
    assert session_of(app).method == "update"
    assert app.query_params["method"] == "update"


def test_two_applications_can_be_compared(scored: Study, checkpoint: Path, open_page: Open, tmp_path: Path) -> None:
    add_another(scored, checkpoint, tmp_path)
    app = open_page("map")
    app.segmented_control(key="map-view").set_value("difference")
    app.run()
    assert not app.exception
    assert app.selectbox(key="map-first").options == ["words", "others"]
    app.segmented_control(key="map-view").set_value("shared")
    app.run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 2


def test_the_map_marks_undecided_parts_at_the_share_that_would_go(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    assert "undecided at the lowest 30 %" in html_of(app)
    app.slider(key="map-low").set_value(60)
    app.run()
    assert not app.exception
    assert "undecided at the lowest 60 %" in html_of(app)


def test_the_map_marks_undecided_parts_at_tunes_cut_where_there_is_one(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    app.switch_page("views/map.py").run()
    settled(app)
    assert "undecided at Tune's cut" in html_of(app)


def test_all_parts_stand_in_a_table_that_can_be_taken_away(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    app.segmented_control(key="map-panel").set_value("parts")
    app.run()
    assert not app.exception
    table = app.dataframe[0].value
    assert table["kind"].value_counts()["head"] == 12
    assert "neuron" not in set(table["kind"])
    app.toggle(key="parts-undecided").set_value(True)
    app.run()
    undecided = app.dataframe[0].value if len(app.dataframe) else table[table["undecided"].fillna(False)]
    assert len(undecided) == table["undecided"].fillna(False).sum()
    assert len(app.get("download_button")) == 1


def test_trust_is_measured_from_the_page_and_then_shown(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    button = app.button(key="trust-measure-words")
    assert "Measure it: less than a minute" in button.label
    app.selectbox(key="trust-examples-words").set_value(64)
    app.run()
    app.button(key="trust-measure-words").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    for said in ("Fisher information", "Ceiling of the truth", "is the truth here", "one part switched off at a time"):
        assert said in text
    assert scored.get("judging:words") is None
    app.segmented_control(key="trust-kind").set_value("ffn")
    app.run()
    assert not app.exception
    assert "ablation" in {entry["method"] for entry in scored.score_index()}
    app = click(app, "map-chart", [0, "heads", 1, 2])
    assert "Switched off alone, the loss on words changes by" in html_of(app)


def test_trust_that_was_cancelled_can_go_on(scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def never_ends(*_: Any, progress: Progress, **__: Any) -> None:
        while True:
            progress.step(1, 10, "ablating words")
            progress.cancel.wait(0.01)

    app = open_page("map")
    app.selectbox(key="trust-examples-words").set_value(64)
    app.run()
    monkeypatch.setattr(scoring_jobs, "faithfulness_in_study", never_ends)
    app.button(key="trust-measure-words").click()
    app.run()
    assert "Being measured" in html_of(app)
    (job,) = page.all_jobs().of(session_of(app).id, "score")
    next(b for b in app.button if b.label == "Cancel").click()
    settled(app.run())
    assert job.state == "cancelled"
    assert app.button(key="trust-measure-words").label.startswith("Go on measuring")
    assert app.selectbox(key="trust-examples-words").value == 64
    monkeypatch.undo()


def test_work_that_waits_for_its_turn_takes_one_line_and_can_be_cancelled_together(
    scored: Study, open_page: Open
) -> None:
    app, gate = open_page("map"), threading.Event()
    jobs, mine = page.all_jobs(), session_of(app).id
    first, *others = [
        jobs.start(mine, "score", name, f"Scoring {name}", lambda job: gate.wait(60)) for name in ("a", "b", "c")
    ]
    while first.state == "waiting":
        time.sleep(0.01)
    app.run()
    assert [b.label for b in app.button].count("Cancel") == 2
    assert any(caption.value == "Then: Scoring b, Scoring c" for caption in app.caption)
    app.button(key="cancel-waiting").click().run()
    assert all(job.cancelling for job in others)
    assert not first.cancelling
    assert "cancel-waiting" not in [b.key for b in app.button]
    gate.set()
    assert all(job.wait(60) for job in others)
    assert [job.state for job in (first, *others)] == ["done", "cancelled", "cancelled"]


def test_how_many_examples_are_enough_is_said_for_the_method_in_view(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    app.segmented_control(key="map-panel").set_value("examples")
    app.run()
    assert not app.exception
    assert "The ranking of heads by <b>Fisher information</b>" in html_of(app)


def test_two_applications_are_compared_part_by_part_and_tested(
    scored: Study, checkpoint: Path, open_page: Open, tmp_path: Path
) -> None:
    add_another(scored, checkpoint, tmp_path)
    app = open_page("map")
    app.segmented_control(key="map-panel").set_value("across")
    settled(app.run())
    text = html_of(app)
    for said in ("Redundant for both", "Only <b>words</b> needs", "Only <b>others</b> needs"):
        assert said in text
    app.button(key="across-test").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "beyond" in text
    assert "all heads together" in text
    assert re.search(r"It matters [^.]*than to others \(p ", html_of(click(app, "map-chart", [0, "heads", 1, 2])))


def add_another(study: Study, checkpoint: Path, folder: Path) -> Application:
    """A second application on the same encoder, scored by fisher."""
    from asc_core.scores import sweep
    from dashboard.state import applications

    (folder / "other").mkdir()
    other = applications.add(study, str(checkpoint), str(write_task(folder / "other", "others")), "others")
    library = page.library()
    sweep(library.encoder(other), library.task(other), ["fisher"], samples=16, seed=1, study=study)
    return other


# Tune


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


def current_plan(app: AppTest, study: Study) -> Plan:
    plan = study.plan(session_of(app).plan_key or "")
    assert plan is not None
    return plan


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
        assert session_of(app).move.rule == rule  # type: ignore[union-attr]


def test_a_click_cuts_a_head_by_hand_and_the_slider_respects_it(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    head = current_plan(app, scored).heads[0][0]
    app = click(app, "tune-map", [0, "heads", 0, head])
    assert not app.exception
    assert head not in current_plan(app, scored).heads[0]
    assert app.button(key="tune-release").label == "Release 1"
    control(app.slider, "tune-keep").set_value(90)
    settled(app.run())
    assert head not in current_plan(app, scored).heads[0]
    app.button(key="tune-release").click()
    settled(app.run())
    assert session_of(app).move.forced == 0  # type: ignore[union-attr]


def test_a_box_drawn_over_cells_changes_all_of_them(scored: Study, open_page: Open) -> None:
    app = click(open_page("tune"), "tune-map", [0, "heads", 0, 0], [0, "heads", 0, 1], [0, "layers", 2, None])
    move = session_of(app).move
    assert move is not None
    assert move.kept | move.cut == {Part("heads", 0, 0), Part("heads", 0, 1), Part("layers", 2)}


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
    move = session_of(app).move
    assert move is not None
    assert (current_plan(app, scored), move.repair) == (plan, "sequential")


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
    library = page.library()
    sweep(library.encoder(application), library.task(application), ["fisher"], split="validation", study=study)
    app = open_page("tune")
    assert not app.exception
    repair = control(app.segmented_control, "tune-repair")
    assert (repair.value, repair.disabled) == ("none", True)
    assert "complete" in html_of(app)


def test_calibrating_can_be_stopped_and_begun_again(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch, shared_library: Library
) -> None:
    def never_ends(*_: Any, progress: Progress, **__: Any) -> None:
        while True:
            progress.step(1, 10, "calibrating on words")
            progress.cancel.wait(0.01)

    shared_library.calibrations = Calibrations()
    app = AppTest.from_file(str(APP), default_timeout=60).run()
    monkeypatch.setattr(calibrations, "calibrate", never_ends)
    app.switch_page("views/tune.py").run()
    for _ in range(200):
        app.run()
        if any(b.key == "tune-calibrating-stop" for b in app.button):
            break
    time.sleep(0.05)
    app.run()
    assert "calibrating the repair, once for all cuts" in html_of(app)
    control(app.slider, "tune-keep").set_value(50)
    app.run()
    jobs = page.all_jobs().of(session_of(app).id)
    assert [job.lane for job in jobs if job.active] == ["calibrate"], "a newer move waits for the same calibration"
    app.button(key="tune-calibrating-stop").click()
    settled(app.run())
    assert "Calibration was stopped" in html_of(app)
    monkeypatch.undo()
    app.button(key="tune-calibrate").click()
    settled(app.run())
    assert "complete" in html_of(app)


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
    assert any(trace.get("fill") == "tonexty" for trace in figure["data"]), "what lies between them is foretold"


@pytest.mark.parametrize(("points", "qualifies"), [(100.0, True), (0.0, False)])
def test_auto_finds_the_smallest_that_loses_little_or_says_that_there_is_none(
    points: float, qualifies: bool, scored: Study, open_page: Open
) -> None:
    app = open_page("tune")
    before = session_of(app).move
    app.number_input(key="tune-auto-lost").set_value(points)
    app.run()
    app.button(key="tune-auto-find").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    move = session_of(app).move
    assert move is not None
    if qualifies:
        assert control(app.slider, "tune-keep").value == control(app.slider, "tune-keep").min
        assert "Smallest that is sure to lose at most 100 points" in text
        assert "complete" in text
        app.button(key="tune-undo").click()
        settled(app.run())
        assert session_of(app).move == before, "what was found is taken once"
    else:
        assert "No cut with this method and repair is sure to lose at most 0 points" in text
        assert move == before


def test_tune_prefers_scores_that_foresee_the_repair(scored: Study, added: Application, open_page: Open) -> None:
    from asc_core.scores import sweep

    library = page.library()
    sweep(library.encoder(added), library.task(added), ["obs"], samples=16, study=scored)
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


# Export


@pytest.mark.slow
def test_a_cut_is_exported_checked_and_packed(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    plan = current_plan(app, scored)
    app.switch_page("views/export.py").run()
    name = next(i for i in app.text_input if (i.key or "").startswith("export-name"))
    name.set_value("half")
    app.run()
    app.button(key="export-start").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    for said in ("Exported and checked", "fresh process", "asc compress", "readouts refitted (sequential)"):
        assert said in text
    (folder,) = exports_of(scored)
    recipe = Recipe.load(folder / "recipe.json")
    assert recipe.key == recipe_of(plan, "sequential").key
    (application,) = applications.applications_of(scored)
    assert (recipe.original, recipe.task) == (Path(application.encoder).name, Path(application.task).name)
    library = page.library()
    again = recipe.apply(library.encoder(application), library.task(application)).model.state_dict()
    exported = load_encoder(str(folder)).model.state_dict()
    assert all(torch.allclose(exported[name], again[name], atol=1e-5) for name in again)
    assert folder.name == "half"
    assert Plan.load(folder / "plan.json") == plan
    packed, mime = convert_data_to_bytes_and_infer_mime(
        zipped(folder), RuntimeError("not a kind that can be downloaded")
    )
    assert mime == "application/octet-stream"
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        assert file.testzip() is None
        assert {"half/config.json", "half/model.safetensors", "half/README.md", "half/recipe.json"} <= set(
            file.namelist()
        )


def test_the_page_offers_every_format(
    scored: Study, open_page: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "bag", BagOfWords(tmp_path / "with_numpy.py"))
    app = open_page("tune")
    app.switch_page("views/export.py").run()
    offered = app.radio(key="export-format").options
    assert offered == [f"{form.title}: {form.about}" for form in FORMATS.values()]
    assert "Bag of words: the mean of word vectors, for who needs nothing better" in offered
    app.radio(key="export-format").set_value("onnx").run()
    packings = next(group for group in app.button_group if group.key == "export-packing-onnx")
    assert packings.options == ["float32"]


def test_an_export_needs_a_plain_name(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    app.switch_page("views/export.py").run()
    name = next(i for i in app.text_input if (i.key or "").startswith("export-name"))
    name.set_value("../outside")
    app.run()
    app.button(key="export-start").click()
    app.run()
    assert "A name has letters" in html_of(app)
    assert exports_of(scored) == []


# Compare


@pytest.fixture
def two(scored: Study, task_file: Path, tmp_path: Path) -> Study:
    """A second application: another model of the same shape."""
    folder = tmp_path / "second"
    folder.mkdir()
    other = save_checkpoint(tiny("bert", seed=4, labels=LABELS), tmp_path / "other")
    applications.add(scored, str(other), str(write_task(folder, "second")), "second")
    return scored


def test_a_matrix_is_measured_shown_and_kept(two: Study, open_page: Open) -> None:
    app = open_page("compare")
    app.multiselect(key="compare-applications").set_value(["words", "second"])
    app.run()
    app.slider(key="compare-keep").set_value(0.6)
    app.button(key="compare-measure").click()
    app = settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "The price of agnosticism" in text
    (report,) = reports(two)
    assert report["columns"] == ["words", "second"]
    assert len(report["cells"]) == 2 * len(report["rows"])
    assert report["settings"]["keep"] == 0.6
    again = open_page("compare")  # another window reads it
    assert "The price of agnosticism" in html_of(again)
    assert again.selectbox(key="compare-report").options == ["words, second: 60 % by obs, sequential repair"]


def test_the_price_says_which_way_it_points(two: Study, open_page: Open) -> None:
    cell = {"row": "a", "column": "a", "estimate": estimate(0.9, difference=-0.1).to_json()}
    for ends, said in (((0.01, 0.02), None), ((-0.01, 0.02), "contains zero"), ((-0.02, -0.01), "does better")):
        price = {"row": "all mixed", "value": sum(ends) / 2, "interval": list(ends)}
        asked = {"keep": 0.5, "method": "obs", "repair": None}
        made = {"settings": asked, "columns": ["a"], "rows": ["a"], "agnostic": [], "trained": [], "cells": [cell]}
        keep_report(two, made | {"prices": [price]})
        text = html_of(open_page("compare"))
        assert "The price of agnosticism" in text
        assert [phrase for phrase in ("contains zero", "does better") if phrase in text] == ([said] if said else [])


def test_one_application_is_not_enough_for_a_matrix(scored: Study, open_page: Open) -> None:
    app = open_page("compare")
    assert app.button(key="compare-measure").disabled
    assert "two applications or more" in html_of(app)


def test_recipes_are_measured_side_by_side_and_stand_among_the_candidates(scored: Study, open_page: Open) -> None:
    app = open_page("compare")
    app.multiselect(key="contest-recipes").set_value(["asc-plus", "top-layers"])
    app.slider(key="contest-keep").set_value(0.7)
    app.button(key="contest-measure").click()
    app = settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "asc-plus" in text
    assert "paired 95 % intervals" in text
    names = {row["name"] for row in scored.evaluations()}
    assert {"asc-plus 0.70", "top-layers 0.70"} <= names
    assert "asc-plus 0.70" in text  # the table of candidates
    assert not any("not measured yet" in caption.value for caption in app.caption)


def test_a_pin_that_was_not_measured_is_named_beside_the_candidates(scored: Study, open_page: Open) -> None:
    settled(open_page("tune"))  # measures a cut that has no name
    assert "Pin a cut on Tune" in html_of(open_page("compare"))
    (application,) = applications.applications_of(scored)
    move = Move(application.name, "fisher")
    sessions.pin(scored, "in haste", Plan.full(page.library().encoder(application).shape).drop(0, head=0), move)
    app = open_page("compare")
    assert not app.exception
    assert any("not measured yet: in haste" in caption.value for caption in app.caption)


def test_a_size_out_of_reach_is_said_and_what_was_measured_stays(scored: Study, open_page: Open) -> None:
    app = open_page("compare")
    app.multiselect(key="contest-recipes").set_value(["asc-plus", "top-layers"])
    app.slider(key="contest-keep").set_value(0.1)
    app.button(key="contest-measure").click()
    app = settled(app.run())
    assert not app.exception
    assert any("One layer alone" in error.value or "out of reach" in error.value for error in app.error)


def test_a_budget_of_latency_measures_this_machine_once_and_cuts_by_it(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    control(app.selectbox, "tune-budget").set_value("latency")
    app = settled(app.run())
    assert not app.exception
    assert control(app.slider, "tune-keep").label == "latency kept"
    (application,) = applications.applications_of(scored)
    costs = with_known_times(page.library(), scored, application, page.library().cost_model(application))
    assert costs is not None
    session = session_of(app)
    (row,) = [r for r in scored.evaluations() if plan_key_of(scored, r) == session.plan_key]
    assert costs.dense.latency is not None
    assert session.move is not None
    assert row["cost"]["latency"] <= session.move.keep * costs.dense.latency + 1e-8  # what is within reach here
    again = open_page("tune")
    control(again.selectbox, "tune-budget").set_value("latency")
    assert not any("how long layers take" in job.title for job in page.all_jobs().of(session_of(again).id))


def test_scores_of_texts_that_have_changed_are_said_to_be(scored: Study, scores: list[Scores], open_page: Open) -> None:
    said = "have changed since it was scored"
    assert not any(said in warning.value for warning in open_page("tune").warning)
    scored.save_scores(replace(scores[0], texts="32:another"))
    (warning,) = [one.value for one in open_page("tune").warning if said in one.value]
    assert METHODS[scores[0].method].title in warning
