"""Which measurements belong to one curve, and what is kept of how right it was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from asc_core.plan import Part
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.measuring import predicted_loss
from dashboard.measuring.measured_cut import MeasuredCut
from dashboard.state import kept as kept_settings
from dashboard.state.application import Application
from dashboard.state.cut_settings import CutSettings, plan_of, recipe_of
from dashboard.state.loaded import LoadedModels
from dashboard.widgets.prediction import sentence
from tests.dashboard.synthetic import cost_model, estimate, scores

SETTINGS = CutSettings("nli", "fisher", repair="none")


@dataclass
class MadeUpMeasurements:
    study: Study
    models: LoadedModels = field(default_factory=LoadedModels)
    application: Application = field(default_factory=lambda: Application("nli", "e", "t"))
    weights: str = "w"
    split: str = "validation"
    kept: dict[str, tuple[MeasuredCut, Estimate]] = field(default_factory=dict)

    cost_model = property(lambda self: cost_model())

    def original(self) -> Estimate:
        return estimate(0.9)

    def stored(self, recipe: Recipe) -> Estimate | None:
        return self.kept[recipe.key][1] if recipe.key in self.kept else None

    def all_measured(self) -> list[MeasuredCut]:
        return [
            replace(one, series=kept_settings.series(self.study, self.application, one.key).get())
            for one, _ in self.kept.values()
        ]

    def measured(self, settings: CutSettings, difference: float, examples: int = 100) -> None:
        plan = plan_of(settings, scores(), cost_model())
        recipe = recipe_of(plan, settings.repair)
        found = replace(
            estimate(0.9 + difference, examples),
            difference=difference,
            difference_interval=(difference - 0.01, difference + 0.01),
        )
        predicted_loss.record(self, recipe, settings, found)  # type: ignore[arg-type]
        self.kept[recipe.key] = (MeasuredCut(recipe.key, settings.name, kept(plan), found), found)


def kept(plan: Plan) -> dict[str, float]:
    model = cost_model()
    return {
        name: getattr(model.cost(plan), name) / getattr(model.dense, name) for name in ("flops", "parameters", "bytes")
    }


@pytest.fixture
def measurements(tmp_path: Path) -> MadeUpMeasurements:
    return MadeUpMeasurements(Study.open(tmp_path / "study"))


def at(settings: CutSettings, keep: float) -> CutSettings:
    return replace(settings, keep=keep)


def test_a_curve_goes_through_what_was_measured_in_the_same_way_only(measurements: MadeUpMeasurements) -> None:
    measurements.measured(at(SETTINGS, 0.5), -0.1)
    measurements.measured(at(replace(SETTINGS, method="michel"), 0.7), -0.5)
    measurements.measured(replace(at(SETTINGS, 0.6), cut=frozenset({Part("heads", 0, 1)})), -0.4)
    curve = predicted_loss.curve_of(measurements, predicted_loss.series_of(SETTINGS), "flops")  # type: ignore[arg-type]
    assert curve is not None
    place = kept(plan_of(at(SETTINGS, 0.5), scores(), cost_model()))["flops"]
    assert curve.difference[round(100 * place)] == pytest.approx(-0.1, abs=0.02)
    assert curve.difference[-1] == 0
    assert curve.low.min() == pytest.approx(-0.9), "the original's metric is all there is to lose"
    assert (
        predicted_loss.curve_of(measurements, predicted_loss.series_of(replace(SETTINGS, level="layers")), "flops")
        is None
    )  # type: ignore[arg-type]


def test_what_was_predicted_is_held_against_what_was_measured(measurements: MadeUpMeasurements) -> None:
    measurements.measured(at(SETTINGS, 0.5), -0.1)
    assert predicted_loss.past_predictions(measurements) == [], "of the first measurement nothing could be predicted"  # type: ignore[arg-type]
    measurements.measured(at(SETTINGS, 0.75), -0.03)
    measurements.measured(at(SETTINGS, 0.75), -0.03)
    [told] = predicted_loss.past_predictions(measurements)  # type: ignore[arg-type]
    assert told.measured == -0.03
    assert -0.1 < told.predicted < 0
    assert told.inside
    curve = predicted_loss.curve_of(measurements, predicted_loss.series_of(SETTINGS), "flops")  # type: ignore[arg-type]
    said = sentence(curve, 0.75, [told])
    assert "pp median, 100 % inside band, n = 1" in said


def test_unfinished_measurements_count_for_the_curve_but_not_for_its_record(measurements: MadeUpMeasurements) -> None:
    measurements.measured(at(SETTINGS, 0.5), -0.1)
    measurements.measured(at(SETTINGS, 0.75), -0.03, examples=64)
    assert predicted_loss.past_predictions(measurements) == []  # type: ignore[arg-type]
    assert sum(one.series is not None for one in measurements.all_measured()) == 2


def test_a_foreign_study_says_nothing_about_the_record(measurements: MadeUpMeasurements) -> None:
    for stored in ("x", [1], [{"keep": "a"}], {"a": 1}):
        measurements.study.set("foretold:w:nli:validation", stored)
        assert predicted_loss.past_predictions(measurements) == []  # type: ignore[arg-type]


def test_before_anything_is_measured_it_says_so() -> None:
    assert "Predicted: nothing yet" in sentence(None, 0.5, [])
