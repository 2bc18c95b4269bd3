"""Many budgets at once, and the smallest model that loses little: scores, calibration and the original are shared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from asc_core.compress.calibration import SAMPLES, TOKENS
from asc_core.compress.calibrations import Calibrations
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, estimate, measure, measuring
from asc_core.plan import Budget, Cost, CostModel, LatencyTable, by_budget, smallest_share
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.recipes.recipe import Recipe
from asc_core.tasks.base import Task
from asc_core.values import Estimate, Plan, Scores

Found = TypeVar("Found")


@dataclass(frozen=True)
class Point:
    """keep: the budget that was asked for. cost: of what came of it. estimate: paired with the original."""

    keep: float
    recipe: Recipe
    cost: Cost
    estimate: Estimate


@dataclass
class Workbench:
    """What all cuts of one application share. repair: None = no repair. split: to measure on.

    seed: of the calibration texts. original: measured once. within: shares of further budgets, which all cuts stay
    within. round_to: see `by_budget`. latency: this machine's layer times, for a budget of latency.
    Raises: UserError, Cancelled (in all methods).
    """

    encoder: Encoder
    task: Task
    scores: Scores
    repair: str | None = "sequential"
    budget: Budget = "flops"
    split: str = "validation"
    samples: int = SAMPLES
    tokens: int = TOKENS
    seed: int = 0
    within: Mapping[str, float] = field(default_factory=dict)
    round_to: int = 1
    latency: LatencyTable | None = None
    progress: Progress | None = None
    calibrations: Calibrations = field(default_factory=Calibrations)

    @cached_property
    def cost_model(self) -> CostModel:
        counted = task_cost_model(self.encoder, self.task)
        return counted if self.latency is None else counted.with_latency(self.latency)

    @property
    def smallest(self) -> float:
        """The least share of the budget within reach."""
        return smallest_share(self.scores, self.cost_model, self.budget, round_to=self.round_to)

    @cached_property
    def original(self) -> PerExampleResult:
        return measure(self.encoder, self.task, self.split, progress=self.progress)

    def compressed(self, plan: Plan) -> Encoder:
        return self.recipe(plan).apply(self.encoder, self.task, self.progress, calibrations=self.calibrations)

    def recipe(self, plan: Plan) -> Recipe:
        return Recipe.repaired(plan, self.repair, samples=self.samples, tokens=self.tokens, seed=self.seed)

    def point(self, keep: float, most_lost: float | None = None) -> Point:
        """The model for one budget, measured on the whole split; with `most_lost` only until that is decided.

        most_lost: in units of the metric, see `decided`.
        """
        shares = {**self.within, self.budget: keep}
        plan = by_budget(self.scores, self.cost_model, shares, round_to=self.round_to)
        smaller = self.compressed(plan)
        reference = None if self.task.labelled else self.original
        found: Estimate | None = None
        for outcome in measuring(
            smaller,
            self.task,
            self.split,
            reference=reference,
            progress=self.progress,
            slices=most_lost is not None,
        ):
            found = estimate(outcome, self.task.metric, self.original)
            if most_lost is not None and decided(found, most_lost) is not None:
                break
        assert found is not None
        return Point(keep, self.recipe(plan), self.cost_model.cost(plan), found)


def frontier(bench: Workbench, budgets: Sequence[float]) -> Iterator[Point]:
    """A point for each budget within reach, as it is measured."""
    for keep in budgets:
        if keep >= bench.smallest:
            yield bench.point(keep)


def decided(estimate: Estimate, most_lost: float) -> bool | None:
    """Whether a model is sure to lose at most `most_lost`; None while that is open and examples are left."""
    interval = estimate.difference_interval
    if interval is not None and interval[0] >= -most_lost - 1e-12:
        return True
    sure_to_lose_more = interval is not None and interval[1] < -most_lost
    return False if sure_to_lose_more or estimate.complete else None


def smallest_percent(least: float, tried: Callable[[int], Found | None]) -> Found | None:
    """Bisects over whole percents from the share `least` on; what `tried` gave for the smallest that it gave one for.

    Where a larger budget may fail although a smaller one did not, it ends at one that did not fail.
    """
    low, high, best = math.ceil(100 * least - 1e-9) - 1, 100, None
    while high - low > 1:
        percent = (low + high) // 2
        found = tried(percent)
        if found is not None:
            best, high = found, percent
        else:
            low = percent
    return best


def smallest_within(bench: Workbench, most_lost: float) -> Point:
    """The smallest model that loses at most `most_lost` of the metric, by bisecting over budgets.

    A model counts when the lower end of its paired 95 % interval says so, at whichever look. That interval is for one
    model: of several near the limit the best-looking one is chosen, so confirm it on the test split.
    Raises: UserError where not even the largest cut model does.
    """

    def tried(percent: int) -> Point | None:
        point = bench.point(percent / 100, most_lost)
        return point if decided(point.estimate, most_lost) else None

    best = smallest_percent(bench.smallest, tried)
    if best is None:
        raise UserError(
            f"No cut by {bench.scores.method} is sure to lose at most {100 * most_lost:g} points on the "
            f"{bench.split} split: allow more, or score and measure on more examples."
        )
    return best
