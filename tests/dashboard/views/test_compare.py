"""The Compare page, drawn by streamlit without a browser, on a real study with a tiny encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asc_core.recipes import on_device
from asc_core.recipes.budget_presets import fastest_runtime
from asc_core.recipes.deployment import Figure, Limits, Option
from asc_core.recipes.stored import stored_recipe
from asc_core.recipes.transfer_matrix_store import keep_report, reports
from asc_core.scores import sweep
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.measuring.deployment import Asked, Ranking
from dashboard.panels.deployment import options_table
from dashboard.state import applications, kept
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings
from dashboard.state.pins import pin
from dashboard.text import numbers
from dashboard.widgets import page
from tests.dashboard.conftest import LABELS, html_of, settled, write_task
from tests.dashboard.synthetic import estimate
from tests.dashboard.views.windows import Open, current_plan, session_of
from tests.tiny import save_checkpoint, tiny

pytestmark = pytest.mark.slow  # whole pages, minutes in all


@pytest.fixture
def two(scored: Study, task_file: Path, tmp_path: Path) -> Study:
    """A second application: another model of the same shape."""
    folder = tmp_path / "second"
    folder.mkdir()
    other = save_checkpoint(tiny("bert", seed=4, labels=LABELS), tmp_path / "other")
    applications.add(scored, str(other), str(write_task(folder, "second")), "second")
    return scored


@pytest.fixture
def encoders(scored: Study, task_file: Path, tmp_path: Path, added: Application) -> tuple[Application, Application]:
    """Two encoders on one task, of which both are scored."""
    models = page.models()
    other = save_checkpoint(tiny("bert", seed=4, labels=LABELS), tmp_path / "minilm-small")
    second = applications.add(scored, str(other), str(task_file), "words")
    encoder = models.encoder(second)
    kept.weights(scored, second).set(encoder.weights)
    sweep(encoder, models.task(second), ["fisher"], samples=16, study=scored)
    return added, second


def test_two_encoders_on_one_task_are_cut_and_compared_side_by_side(
    scored: Study, encoders: tuple[Application, Application], open_page: Open
) -> None:
    first, second = encoders
    assert second.name == "words · minilm-small"
    for application in encoders:
        app = open_page("tune", task=application.name, method="fisher")
        assert not app.exception
        assert app.query_params["task"] in (application.name, [application.name])
        assert session_of(app).application == application.name
        weights = kept.weights(scored, application).get()
        assert current_plan(app, scored).provenance.weights == weights
    rows = scored.evaluations()
    assert {row["task"] for row in rows} == {"words"}
    assert {row["weights"] for row in rows} == {kept.weights(scored, one).get() for one in encoders}
    app = open_page("compare", task=second.name)
    assert not app.exception
    text = html_of(app)
    assert "Encoders on words, side by side" in text
    assert text.count("<b>words</b>") == 1
    assert text.count("<b>words · minilm-small</b>") == 1
    assert "against words · minilm-small's original" in text
    (own,) = [
        row["estimate"]
        for row in rows
        if row["weights"] == kept.weights(scored, first).get() and row["name"] == "original"
    ]
    assert numbers.percent(own.value) in text


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
    assert "Pin a recipe on Tune" in html_of(open_page("compare"))
    (application,) = applications.applications_of(scored)
    settings = CutSettings(application.name, "fisher")
    pin(scored, "in haste", Plan.full(page.models().encoder(application).shape).drop(0, head=0), settings)
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


def test_what_to_deploy_is_ranked_and_the_best_of_it_measured(scored: Study, open_page: Open) -> None:
    app = open_page("compare")
    app.selectbox(key="deploy-runtime").set_value("torch")
    app.selectbox(key="deploy-tokens").set_value(24)
    app.number_input(key="deploy-points").set_value(100.0)
    app = app.run()
    app.button(key="deploy-rank").click()
    app = settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "is a forecast, not a measurement" in text
    assert "forecast</td>" in text
    assert "measured</td>" not in text
    app.button(key="deploy-measure").click()
    app = settled(app.run())
    assert not app.exception
    assert "measured</td>" in html_of(app)
    app.button(key="deploy-pin").click()
    app = app.run()
    assert not app.exception
    (name,) = scored.pins
    app.switch_page("views/export.py").run()
    assert app.selectbox(key="export-candidate").value == name
    assert not app.exception


def test_one_budget_is_filled_by_the_families_that_are_allowed_and_the_best_is_pinned(
    scored: Study, open_page: Open
) -> None:
    app = open_page("compare")
    app.segmented_control(key="fit-axis").set_value("flops").run()
    app.number_input(key="fit-amount-flops").set_value(60.0)
    app.number_input(key="fit-most").set_value(1)
    app.button_group(key="fit-families").set_value(["cut", "factor"])
    app.button(key="fit-start").click()
    settled(app)
    assert not app.exception
    assert "points lost" in html_of(app)
    app.button(key="fit-pin").click()
    app.run()
    assert not app.exception
    (name,) = scored.pins
    recipe = stored_recipe(scored, scored.pins[name])
    assert recipe is not None
    assert {step.kind for step in recipe.steps} <= {"cut", "factor"}


def test_a_preset_fills_the_form_of_one_budget(scored: Study, open_page: Open) -> None:
    app = open_page("compare")
    app.selectbox(key="fit-preset").set_value("half").run()
    assert app.segmented_control(key="fit-axis").value == "flops"
    assert app.number_input(key="fit-amount-flops").value == 50
    assert app.number_input(key="fit-steps").value == 200
    app.selectbox(key="fit-preset").set_value("fast").run()
    assert app.segmented_control(key="fit-axis").value == "ms"
    assert app.number_input(key="fit-amount-ms").value is None
    assert app.number_input(key="fit-points").value == 1
    assert app.number_input(key="fit-steps").value == 0
    assert app.selectbox(key="fit-runtime").value == fastest_runtime()
    app.selectbox(key="fit-preset").set_value("no-retraining").run()
    assert app.segmented_control(key="fit-axis").value == "ms"
    assert app.number_input(key="fit-points").value is None
    app.selectbox(key="fit-preset").set_value("").run()
    assert not app.exception
    assert not app.warning


def test_a_model_for_a_device_is_made_measured_and_pinned_in_its_format(
    scored: Study, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_device, "LEAST", 1)
    app = open_page("compare")
    app.number_input(key="device-most").set_value(10_000)
    app.number_input(key="device-passes").set_value(1)
    app.button(key="device-start").click()
    settled(app.run())
    assert not app.exception
    text = html_of(app)
    assert "of one file, tokenizer included" in text
    assert "Validation texts chose" in text
    assert "tokenizer and structure" in text
    app.button(key="device-pin").click()
    app.run()
    assert not app.exception
    (name,) = scored.pins
    app.switch_page("views/export.py").run()
    assert app.selectbox(key="export-candidate").value == name
    assert app.radio(key="export-format").value == "device"
    assert not app.exception


def test_tickets_are_searched_and_what_they_say_is_drawn(scored: Study, added: Application, open_page: Open) -> None:
    app = open_page("compare")
    app.text_input(key="tickets-encoder").set_value(added.encoder).run()
    app.number_input(key="tickets-rounds").set_value(1)
    app.number_input(key="tickets-steps").set_value(1)
    app.button(key="tickets-start").click()
    settled(app)
    assert not app.exception
    assert "The whole model: <b>" in html_of(app)


def test_what_limits_nobody_can_judge_yet_is_not_called_beyond_them() -> None:
    guess = Figure(float("nan"), rests_on="a test")
    option = Option("a cut", Figure(10.0), Figure(2.0), guess)
    asked = Asked(Limits(points=1.0), "torch")
    assert "not known yet</td>" in options_table(Ranking([option], asked))
    assert "beyond</td>" in options_table(Ranking([replace(option, points=Figure(2.0))], asked))
    assert "<b>0.00</b>" in options_table(Ranking([replace(option, points=Figure(-0.001))], asked))
    assert "\N{MINUS SIGN}0.50" in options_table(Ranking([replace(option, points=Figure(-0.5))], asked))
