"""What was done to a model is drawn by what its steps were, not by whether a plan is kept beside it."""

from __future__ import annotations

import pytest

from asc_core.recipes import Recipe
from asc_core.recipes.comparison import COMPARABLE
from asc_core.recipes.presets import PresetOptions, preset_recipe
from asc_core.study import Study
from asc_core.values import Plan
from dashboard.charts.frontier import SYMBOLS
from dashboard.measuring.measured_cut import way_of
from dashboard.measuring.measurements import Measurements
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from tests.dashboard.synthetic import estimate


@pytest.mark.parametrize("name", COMPARABLE)
def test_a_ready_made_recipe_that_trains_is_no_triangle(name: str) -> None:
    recipe = preset_recipe(name, PresetOptions(steps=50))
    assert recipe.cut is None, "no plan stands beside it"
    assert SYMBOLS[way_of(recipe.summary)] == "square"


def test_without_training_it_is_what_its_cut_is() -> None:
    ways = {name: way_of(preset_recipe(name, PresetOptions(steps=0)).summary) for name in COMPARABLE}
    assert ways.pop("asc-plus") == "repaired"
    assert set(ways.values()) == {"cut"}


def test_what_is_not_known_is_not_called_as_cut(scored: Study, added: Application, shared_models: LoadedModels) -> None:
    costs = shared_models.cost_model(added)
    measurements = Measurements(shared_models, scored, added, costs)
    cost = {"flops": costs.dense.flops / 2, "parameters": costs.dense.parameters / 2, "bytes": costs.dense.bytes / 2}
    weights = kept.weights(scored, added).get() or ""
    plan = Plan.full(costs.shape).drop(layer=0, head=0)
    for key, recipe in (("early preset", None), (plan.key, Recipe.of(plan))):
        scored.save_evaluation(
            weights, key, "words", "validation", estimate(0.5, difference=-0.1), cost=cost, recipe=recipe, name="one"
        )
    assert {one.key: one.way for one in measurements.all_measured()} == {"early preset": "further", plan.key: "cut"}
