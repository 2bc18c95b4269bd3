"""Whole frontiers and the smallest model, where measurements are made up: no model behind them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.frontier import DropRule, decided
from asc_core.study import Study
from asc_core.values import Estimate, Plan
from dashboard.background.jobs import Job
from dashboard.measuring.budget_sweep import budgets_over, frontier_job, smallest_model_job
from dashboard.measuring.measure_job import measured_enough
from dashboard.panels.frontier import found_sentence
from dashboard.state.cut_settings import CutSettings, plan_of, smallest_keep
from tests.dashboard.synthetic import SHAPE, cost_model, estimate, scores

SETTINGS = CutSettings("nli", "fisher")


@dataclass
class MadeUpMeasurements:
    """A cut that keeps a share k of the FLOPs loses `lost(k)`, give or take `width`; asked: shares, in order."""

    study: Study
    lost: Callable[[float], float]
    width: float = 0.001
    split: str = "validation"
    asked: list[float] = field(default_factory=list)
    stopped: int = 0
    kept: dict[str, Estimate] = field(default_factory=dict)

    @property
    def full_plan(self) -> Plan:
        return Plan.full(SHAPE)

    def original_outcome(self, progress: Progress) -> Any:
        progress.step(0, 1, "measuring")
        return type("Outcome", (), {"total": 100})

    def original(self) -> Estimate:
        return estimate(0.9)

    def stored(self, recipe: Recipe) -> Estimate | None:
        return self.kept.get(recipe.key)

    def measured(
        self, recipe: Recipe, name: str, progress: Progress, show: Any = None, enough: Any = lambda _: False
    ) -> Estimate:
        progress.step(0, 1, "measuring")
        assert recipe.cut is not None
        model = cost_model()
        keep = model.cost(recipe.cut).flops / model.dense.flops
        self.asked.append(keep)
        for examples, width in ((64, 3 * self.width), (100, self.width)):
            lost = self.lost(keep)
            found = replace(
                estimate(0.9 - lost, examples), difference=-lost, difference_interval=(-lost - width, -lost + width)
            )
            if examples < 100 and enough(found):
                self.stopped += 1
                return found
        self.kept[recipe.key] = found
        return found


def planned(settings: CutSettings) -> Plan:
    return plan_of(settings, scores(), cost_model())


def job() -> Job:
    return Job("me", "explore", "k", "Exploring")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.open(tmp_path / "study")


LEAST = smallest_keep(SETTINGS, scores(), cost_model())


def test_ten_budgets_reach_from_the_least_to_everything() -> None:
    assert budgets_over(0.0) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert budgets_over(0.5)[0] == 0.55
    assert len(budgets_over(0.95)) == len(set(budgets_over(0.95)))
    assert all(0.95 <= keep <= 1 for keep in budgets_over(0.95))


def test_a_frontier_that_was_cancelled_goes_on(study: Study) -> None:
    measurements = MadeUpMeasurements(study, lambda keep: 0.1 * (1 - keep))
    budgets = budgets_over(LEAST)
    work, first = frontier_job(measurements, SETTINGS, planned, budgets), job()  # type: ignore[arg-type]
    measured = measurements.measured

    def cancels_after_three(*args: Any, **options: Any) -> Estimate:
        if len(measurements.asked) == 3:
            first.cancel()
        return measured(*args, **options)

    measurements.measured = cancels_after_three  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        work(first)
    assert len(measurements.asked) == 3
    measurements.measured = measured  # type: ignore[method-assign]
    work(job())
    assert (
        len(measurements.asked)
        == len(set(measurements.asked))
        == len({planned(replace(SETTINGS, keep=k)).key for k in budgets}) - 1
    )


@pytest.mark.parametrize("limit", [0.01, 0.02, 0.05])
def test_it_finds_the_smallest_by_the_lower_end_of_the_interval(limit: float, study: Study) -> None:
    measurements = MadeUpMeasurements(study, lambda keep: 0.1 * (1 - keep))
    found = smallest_model_job(measurements, SETTINGS, planned, LEAST, limit)(job())  # type: ignore[arg-type]
    assert found.settings is not None
    assert len(measurements.asked) <= found.measured <= 7
    qualifying = [
        percent
        for percent in range(round(100 * LEAST), 100)
        if 0.1 * (1 - kept_by(percent / 100)) + measurements.width <= limit + 1e-12
    ]
    assert found.settings.keep == pytest.approx(qualifying[0] / 100)
    assert found.estimate is not None
    assert decided(found.estimate, limit) is True
    assert measurements.stopped, "what is decided is not measured to the end"


def kept_by(keep: float) -> float:
    model = cost_model()
    return model.cost(planned(replace(SETTINGS, keep=keep))).flops / model.dense.flops


def test_it_says_when_nothing_qualifies_and_gives_the_nearest(study: Study) -> None:
    measurements = MadeUpMeasurements(study, lambda keep: 0.1 + 0.1 * (1 - keep))
    found = smallest_model_job(measurements, SETTINGS, planned, LEAST, 0.01)(job())  # type: ignore[arg-type]
    assert not found.within
    assert found.settings is not None
    assert kept_by(found.settings.keep) == kept_by(0.99), "of all that were tried it loses least"
    assert found.examples == 100
    said = found_sentence(found)
    assert "No cut" in said
    assert f"nearest, shown now: {100 * found.settings.keep:.0f} % kept" in said


def test_by_the_measured_value_a_smaller_one_qualifies_than_by_the_whole_interval(study: Study) -> None:
    def kept(rule: DropRule) -> float:
        measurements = MadeUpMeasurements(study, lambda keep: 0.1 * (1 - keep), width=0.01)
        found = smallest_model_job(measurements, SETTINGS, planned, LEAST, 0.03, rule)(job())  # type: ignore[arg-type]
        assert found.within
        assert found.settings is not None
        assert ("whole 95 %" if rule == "interval" else "measured difference") in found_sentence(found)
        return kept_by(found.settings.keep)

    assert 0.1 * (1 - kept("interval")) <= 0.02 + 1e-9
    assert 0.02 < 0.1 * (1 - kept("value")) <= 0.03 + 1e-9


def test_a_cut_that_was_being_refined_when_the_program_ended_decides_nothing(tmp_path: Path) -> None:
    """Its interval may be narrow enough and still be of a worse repair."""
    measurements = MadeUpMeasurements(Study.open(tmp_path / "s"), lambda keep: 0.0)
    least = smallest_keep(SETTINGS, scores(), cost_model())
    for percent in range(math.ceil(100 * least), 100):
        recipe = replace(SETTINGS, keep=percent / 100).recipe(planned(replace(SETTINGS, keep=percent / 100)))
        bad = replace(estimate(0.1, 64), difference=-0.8, difference_interval=(-0.81, -0.79), provisional="repaired")
        measurements.kept[recipe.key] = bad
        assert not measured_enough(bad, half_width=1.0)
    found = smallest_model_job(measurements, SETTINGS, planned, least, 0.05)(job())
    assert found.within
    assert found.estimate is not None
    assert not found.estimate.provisional
