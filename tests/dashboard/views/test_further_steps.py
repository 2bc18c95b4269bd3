"""Further steps on the pages: steps that only tests know are added, set, moved, timed, pinned, linked and exported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from asc_core.compress.step import Step
from asc_core.loading import load_encoder
from asc_core.recipes import Recipe
from asc_core.recipes.stored import pinned_recipes
from asc_core.study import Study
from dashboard.measuring.export_jobs import exports_of
from dashboard.measuring.latency import speed_of
from dashboard.measuring.measurements import Measurements
from dashboard.state import applications
from dashboard.state import session as sessions
from dashboard.widgets import page
from tests.dashboard.conftest import html_of, settled
from tests.dashboard.steps import Early, Halve, Train
from tests.dashboard.views.windows import Open, control, current_plan, session_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy_steps")]  # whole pages, minutes in all


def then(app: AppTest) -> tuple[Step, ...]:
    settings = session_of(app).settings
    assert settings is not None
    return settings.then


def press(app: AppTest, key: str) -> AppTest:
    control(app.button, key).click()
    return settled(app.run())


def recipe_in_view(app: AppTest, study: Study) -> Recipe:
    settings = session_of(app).settings
    assert settings is not None
    return settings.recipe(current_plan(app, study))


def measurements_of(study: Study) -> Measurements:
    (application,) = applications.applications_of(study)
    return Measurements(page.models(), study, application, page.models().cost_model(application))


def test_a_step_is_added_measured_with_its_own_cost_and_speed_and_removed(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    bytes_before = measurements_of(scored).cost(recipe_in_view(app, scored))["bytes"]  # type: ignore[index]
    app = press(app, "tune-step-new-toy-halve")
    assert not app.exception
    assert then(app) == (Halve(),)
    recipe = recipe_in_view(app, scored)
    measurements = measurements_of(scored)
    stored, cost = measurements.stored(recipe), measurements.cost(recipe)
    assert stored is not None
    assert stored.complete
    assert cost is not None
    assert cost["bytes"] < 0.6 * bytes_before
    assert "latency" not in cost, "of the cut alone it could be foretold"
    assert speed_of(measurements, recipe) is not None
    assert measurements.forecast(recipe) is None
    (point,) = [one for one in measurements.all_measured() if one.key == recipe.key]
    assert point.way == "further"
    text = html_of(app)
    assert "further steps change what the budget counts" in text
    assert "in turns on this machine" in text
    app = press(app, "tune-step-remove-0")
    assert then(app) == ()
    app.button(key="tune-undo").click()
    assert then(settled(app.run())) == (Halve(),)


def test_a_parameter_of_a_step_is_set_and_a_wrong_one_is_refused_in_a_sentence(scored: Study, open_page: Open) -> None:
    app = press(open_page("tune"), "tune-step-new-toy-halve")
    control(app.slider, "tune-step-0-share").set_value(0.25)
    app = settled(app.run())
    control(app.number_input, "tune-step-0-rounds").set_value(3)
    app = settled(app.run())
    assert then(app) == (Halve(share=0.25, rounds=3),)
    app = press(app, "tune-step-new-distil")
    control(app.number_input, "tune-step-1-temperature").set_value(-1.0)
    app = settled(app.run())
    assert "Distil, temperature: Input should be greater than 0" in html_of(app)
    assert then(app)[1].temperature == 2.0  # type: ignore[attr-defined]
    assert control(app.number_input, "tune-step-1-temperature").value == 2.0


def test_steps_change_places_unless_the_order_makes_no_sense(scored: Study, open_page: Open) -> None:
    app = press(press(open_page("tune"), "tune-step-new-toy-early"), "tune-step-new-toy-halve")
    before = then(app)
    app = press(app, "tune-step-up-1")
    assert not app.exception
    assert "(toy-early) cannot follow a step of the kind toy-halve: put it before that one." in html_of(app)
    assert then(app) == before == (Early(), Halve())
    app = press(press(app, "tune-step-new-toy-train"), "tune-step-up-2")
    assert "cannot follow" not in html_of(app)
    assert then(app) == (Early(), Train(), Halve())
    app = press(app, "tune-step-down-0")
    assert then(app) == (Train(), Early(), Halve())


def test_what_trains_is_begun_with_a_button_and_not_by_a_slider(scored: Study, open_page: Open) -> None:
    app = press(open_page("tune"), "tune-step-new-toy-train")
    assert "not trained yet" in html_of(app)
    assert measurements_of(scored).stored(recipe_in_view(app, scored)) is None
    app = press(app, "tune-train")
    assert "complete" in html_of(app)
    assert measurements_of(scored).stored(recipe_in_view(app, scored)) is not None
    control(app.slider, "tune-keep").set_value(45)
    app = settled(app.run())
    assert "not trained yet" in html_of(app)
    assert "Train and measure" in [button.label for button in app.button]
    assert measurements_of(scored).stored(recipe_in_view(app, scored)) is None


def test_a_link_holds_the_steps_and_one_without_them_opens_without(scored: Study, open_page: Open) -> None:
    app = press(open_page("tune"), "tune-step-new-toy-halve")
    link = dict(app.query_params)
    assert json.loads(link["then"]) == [{"step": "toy-halve"}]
    other = open_page("tune", **link)
    assert then(other) == (Halve(),)
    assert recipe_in_view(other, scored).key == recipe_in_view(app, scored).key
    old = {name: value for name, value in link.items() if name != "then"}
    assert then(open_page("tune", **old)) == ()
    for wrong in ("[", '[{"step":"cut","plan":{}}]', '[{"step":"toy-halve"},{"step":"toy-early"}]'):
        begun = sessions.begin(link | {"then": wrong})
        assert [message.endswith("The link is opened without them.") for message in begun.messages] == [True]
        assert begun.settings is not None
        assert begun.settings.then == ()
        assert not open_page("tune", **(link | {"then": wrong})).exception


def test_a_pin_is_the_whole_recipe(scored: Study, open_page: Open) -> None:
    app = press(open_page("tune"), "tune-step-new-toy-halve")
    recipe = recipe_in_view(app, scored)
    app.text_input(key="tune-pin-name").set_value("half bytes")
    app.run()
    app.button(key="tune-pin-save").click()
    app.run()
    assert pinned_recipes(scored)["half bytes"] == recipe
    app = press(app, "tune-step-remove-0")
    app.button(key="tune-pinned-0").click()
    app = settled(app.run())
    assert recipe_in_view(app, scored) == recipe
    compared = html_of(open_page("compare"))
    assert "half bytes" in compared
    assert "with further steps" in compared


def test_a_pin_from_elsewhere_is_shown_as_far_as_the_controls_can(scored: Study, open_page: Open) -> None:
    app = open_page("tune")
    recipe = recipe_in_view(app, scored)
    made = {"shown": Recipe((*recipe.steps, Halve())), "not shown": Recipe((Train(), *recipe.steps))}
    for name, one in made.items():
        scored.save_recipe(one, name)
    app.run()
    app.button(key="tune-pinned-0").click()
    app = settled(app.run())
    assert recipe_in_view(app, scored).key == made["shown"].key
    app.button(key="tune-pinned-1").click()
    app.run()
    assert recipe_in_view(app, scored).key == made["shown"].key
    assert any("not shown cannot be shown here" in toast.value for toast in app.toast)


def test_a_recipe_with_further_steps_is_exported(scored: Study, open_page: Open) -> None:
    app = press(open_page("tune"), "tune-step-new-distil")
    control(app.number_input, "tune-step-0-steps").set_value(2)
    app = press(settled(app.run()), "tune-train")
    recipe = recipe_in_view(app, scored)
    app.switch_page("views/export.py").run()
    assert "distilled from the original (all weights, at most 2 steps)" in html_of(app)
    app.button(key="export-start").click()
    app = settled(app.run())
    assert not app.exception
    (folder,) = exports_of(scored)
    assert Recipe.load(folder / "recipe.json").key == recipe.key
    (application,) = applications.applications_of(scored)
    exported, cut = load_encoder(str(folder)), page.models().encoder(application).cut(current_plan(app, scored))
    assert exported.shape == cut.shape
    assert exported.weights != cut.weights


def test_other_tasks_are_not_trained_unasked(scored: Study, open_page: Open, checkpoint: Any, tmp_path: Any) -> None:
    from tests.dashboard.views.windows import add_another

    add_another(scored, checkpoint, tmp_path)
    app = press(open_page("tune", task="words"), "tune-step-new-toy-train")
    assert any("would train each of their models" in caption.value for caption in app.caption)
    app = press(app, "tune-step-remove-0")
    app = press(app, "tune-step-new-toy-halve")
    names = {row["name"] for row in scored.evaluations() if row["task"] == "others"}
    assert any((name or "").endswith("then toy-halve") for name in names)
