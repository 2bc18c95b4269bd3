"""Which measurements belong to one curve, and what is kept of how right it was."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from asc_core.plan import Part
from asc_core.recipes import Recipe
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.charts.frontier import Measured
from dashboard.measuring import predicted_loss
from dashboard.state.applications import Application
from dashboard.state.cut_settings import Move, plan_of, recipe_of
from dashboard.state.loaded import Library
from tests.dashboard.synthetic import cost_model, estimate, scores

MOVE = Move("nli", "fisher", repair="none")


@dataclass
class MadeUpBench:
    study: Study
    library: Library = field(default_factory=Library)
    application: Application = field(default_factory=lambda: Application("nli", "e", "t"))
    weights: str = "w"
    split: str = "validation"
    kept: dict[str, tuple[Measured, Estimate]] = field(default_factory=dict)

    cost_model = property(lambda self: cost_model())

    def original(self) -> Estimate:
        return estimate(0.9)

    def stored(self, recipe: Recipe) -> Estimate | None:
        return self.kept[recipe.key][1] if recipe.key in self.kept else None

    def all_measured(self) -> list[Measured]:
        return [
            replace(one, series=predicted_loss.series_of_recipe(self, one.key))  # type: ignore[arg-type]
            for one, _ in self.kept.values()
        ]

    def measured(self, move: Move, difference: float, examples: int = 100) -> None:
        plan = plan_of(move, scores(), cost_model())
        recipe = recipe_of(plan, move.repair)
        found = replace(
            estimate(0.9 + difference, examples),
            difference=difference,
            difference_interval=(difference - 0.01, difference + 0.01),
        )
        predicted_loss.remember(self, recipe, move, found)  # type: ignore[arg-type]
        self.kept[recipe.key] = (Measured(recipe.key, move.name, kept(plan), found), found)


def kept(plan: Plan) -> dict[str, float]:
    model = cost_model()
    return {
        name: getattr(model.cost(plan), name) / getattr(model.dense, name) for name in ("flops", "parameters", "bytes")
    }


@pytest.fixture
def bench(tmp_path: Path) -> MadeUpBench:
    return MadeUpBench(Study.open(tmp_path / "study"))


def at(move: Move, keep: float) -> Move:
    return replace(move, keep=keep)


def test_a_curve_goes_through_what_was_measured_in_the_same_way_only(bench: MadeUpBench) -> None:
    bench.measured(at(MOVE, 0.5), -0.1)
    bench.measured(at(replace(MOVE, method="michel"), 0.7), -0.5)
    bench.measured(replace(at(MOVE, 0.6), cut=frozenset({Part("heads", 0, 1)})), -0.4)
    curve = predicted_loss.curve_of(bench, predicted_loss.series_of(MOVE), "flops")  # type: ignore[arg-type]
    assert curve is not None
    place = kept(plan_of(at(MOVE, 0.5), scores(), cost_model()))["flops"]
    assert curve.difference[round(100 * place)] == pytest.approx(-0.1, abs=0.02)
    assert curve.difference[-1] == 0
    assert curve.low.min() == pytest.approx(-0.9), "the original's metric is all there is to lose"
    assert predicted_loss.curve_of(bench, predicted_loss.series_of(replace(MOVE, level="layers")), "flops") is None  # type: ignore[arg-type]


def test_what_was_foretold_is_held_against_what_was_measured(bench: MadeUpBench) -> None:
    bench.measured(at(MOVE, 0.5), -0.1)
    assert predicted_loss.past(bench) == [], "of the first measurement nothing could be foretold"  # type: ignore[arg-type]
    bench.measured(at(MOVE, 0.75), -0.03)
    bench.measured(at(MOVE, 0.75), -0.03)
    [told] = predicted_loss.past(bench)  # type: ignore[arg-type]
    assert told.measured == -0.03
    assert -0.1 < told.predicted < 0
    assert told.inside
    curve = predicted_loss.curve_of(bench, predicted_loss.series_of(MOVE), "flops")  # type: ignore[arg-type]
    said = predicted_loss.told(bench, curve, 0.75)  # type: ignore[arg-type]
    assert "median of 1" in said
    assert "100 % in the band" in said


def test_unfinished_measurements_count_for_the_curve_but_not_for_its_record(bench: MadeUpBench) -> None:
    bench.measured(at(MOVE, 0.5), -0.1)
    bench.measured(at(MOVE, 0.75), -0.03, examples=64)
    assert predicted_loss.past(bench) == []  # type: ignore[arg-type]
    assert sum(one.series is not None for one in bench.all_measured()) == 2


def test_a_foreign_study_says_nothing_about_the_record(bench: MadeUpBench) -> None:
    for stored in ("x", [1], [{"keep": "a"}], {"a": 1}):
        bench.study.set("foretold:w:nli:validation", stored)
        assert predicted_loss.past(bench) == []  # type: ignore[arg-type]


def test_before_anything_is_measured_it_says_so(bench: MadeUpBench) -> None:
    assert "nothing yet" in predicted_loss.told(bench, None, 0.5)  # type: ignore[arg-type]
