"""The Map page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asc_core.compress.matrix_scan import least_kept
from asc_core.progress import Progress
from asc_core.scores.first_look import Unsettled
from asc_core.study import Study
from asc_core.values import Scores
from dashboard.background import scoring_jobs, trust_jobs
from dashboard.measuring.matrix_scans import scan_of
from dashboard.panels.matrices import what_it_shows, what_stays
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.widgets import page
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.views.windows import Open, add_another, click, session_of

pytestmark = pytest.mark.slow  # whole pages, minutes in all


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


def test_scores_are_looked_at_in_every_window_while_they_settle_and_cut_by_when_they_have(
    study: Study, added: Application, scores: list[Scores], open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, go_on = threading.Event(), threading.Event()

    def slow_sweep(*_: Any, show: Callable[[Unsettled], None], study: Study, **__: Any) -> None:
        show(Unsettled({one.method: replace(one, examples=20) for one in scores}, 32))
        shown.set()
        assert go_on.wait(60)
        for one in scores:
            study.save_scores(one)

    monkeypatch.setattr(scoring_jobs, "sweep", slow_sweep)
    app = open_page("overview")
    app.button(key="score-words").click()
    app.run()
    try:
        assert shown.wait(60)
        app.run()
        assert "fisher · 20 of 32 examples, refining" in html_of(app)
        assert "tune-words" not in [button.key for button in app.button]
        app.switch_page("views/map.py").run()
        other = open_page("map")
        for window in (app, other):
            assert not window.exception
            assert "words: 20 of 32 examples, refining" in html_of(window)
            assert "20 of 32 examples, refining" in window.get("plotly_chart")[0].proto.spec
            assert "once these scores are settled" in html_of(window)
        other.switch_page("views/tune.py").run()
        assert "is being scored. Cuts go by settled scores only." in html_of(other)
        assert not study.score_index()
    finally:
        go_on.set()
    settled(app)
    assert not app.exception
    assert "refining" not in html_of(app)
    assert "refining" not in app.get("plotly_chart")[0].proto.spec
    assert "Which method to believe" in str(app.segmented_control(key="map-panel").options)
    other.switch_page("views/map.py").run()
    assert "refining" not in html_of(other)
    assert len(other.get("plotly_chart")) == 1


def test_who_scores_again_sees_the_old_scores_until_the_new_ones_are_settled(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, go_on = threading.Event(), threading.Event()
    known = scored.scores(method="fisher")[0]

    def slow_sweep(*_: Any, show: Callable[[Unsettled], None], **__: Any) -> None:
        show(Unsettled({"fisher": replace(known, examples=20)}, 48))
        shown.set()
        assert go_on.wait(60)

    monkeypatch.setattr(scoring_jobs, "sweep", slow_sweep)
    app = open_page("overview")
    app.button(key="score-words").click()
    app.run()
    try:
        assert shown.wait(60)
        app.switch_page("views/map.py").run()
        assert not app.exception
        assert "train, 32 examples" in html_of(app)
        assert "refining" not in html_of(app)
    finally:
        go_on.set()
    settled(app)


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
    monkeypatch.setattr(trust_jobs, "faithfulness_in_study", never_ends)
    app.button(key="trust-measure-words").click()
    app.run()
    assert "Being measured" in html_of(app)
    (job,) = page.all_jobs().of(session_of(app).id, "score")
    next(b for b in app.button if b.label == "Cancel").click()
    settled(app.run())
    assert job.state == "cancelled"
    assert app.button(key="trust-measure-words").label.startswith("Resume measuring")
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


def test_matrices_in_int8_are_measured_on_demand_kept_and_drawn(scored: Study, open_page: Open) -> None:
    app = open_page("map")
    app.segmented_control(key="map-panel").set_value("matrices")
    app.run()
    assert "Which matrices can be int8?" in html_of(app)
    charts = len(app.get("plotly_chart"))
    app.button(key="matrices-measure").click()
    settled(app.run())
    assert not app.exception
    assert len(app.get("plotly_chart")) == charts + 1
    (application,) = applications_of(scored)
    found = scan_of(scored, application, "dynamic")
    assert found is not None
    assert len(found.names) == 3 * 6 + 1
    assert what_it_shows(found) in html_of(app)
    app.slider(key="matrices-limit").set_value(0.0).run()
    assert what_stays(found, least_kept(found, 0.0), 0.0) in html_of(app)
    again = open_page("map")
    again.segmented_control(key="map-panel").set_value("matrices")
    again.run()
    assert what_it_shows(found) in html_of(again)  # nothing is measured twice
    again.segmented_control(key="matrices-activations").set_value("none").run()
    assert "Which matrices can be int8?" in html_of(again)
