"""The Overview page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asc_core.study import Study
from dashboard.state.application import Application
from dashboard.text import numbers
from dashboard.widgets import page
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.views.windows import Open
from tests.modeling.test_bilstm import bilstm
from tests.tiny import save_checkpoint, tiny

pytestmark = pytest.mark.slow  # whole pages, minutes in all


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
    recurrent = save_checkpoint(bilstm("sequence-classification"), tmp_path / "bilstm")
    app = open_page("overview")
    for encoder, task, said in (
        (checkpoint, tmp_path / "none.toml", "There is no task file"),
        (tmp_path / "nothing", task_file, "is not a folder with a checkpoint"),
        (wrong, task_file, "has a head for question-answering"),
        (recurrent, task_file, "has no heads or neurons to score or to cut"),
        (checkpoint, task_file, "words is added"),
        (checkpoint, task_file, "it is the application words"),
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


def test_what_is_kept_for_speed_is_shown_and_freed(added: Application, open_page: Open) -> None:
    kept = page.models().kept
    page.models().encoder(added)
    app = open_page("overview")
    text = html_of(app)
    assert f"Kept for speed: {numbers.size(kept.bytes)} of {numbers.size(kept.most_bytes)} (" in text
    assert "encoders" in text
    app.button(key="free-memory").click().run()
    assert not app.exception
    assert kept.shelf("encoders").bytes == 0
    assert "Kept for speed: " in html_of(app)
