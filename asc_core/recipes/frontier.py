"""Many budgets at once, and the smallest model that loses little: scores, calibration and the original are shared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

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
ROUNDING = 1e-12
DropRule = Literal["interval", "value"]
"""What has to be within a maximal drop: the whole 95 % interval of the difference, or the measured difference alone."""


def rule_in_words(rule: DropRule) -> str:
    return {
        "interval": "by the whole 95 % interval of the difference",
        "value": "by the measured difference, whatever its interval",
    }[rule]


@dataclass(frozen=True)
class Point:
    """keep: the budget that was asked for. cost: of what came of it. estimate: paired with the original."""

    keep: float
    recipe: Recipe
    cost: Cost
    estimate: Estimate


@dataclass(frozen=True)
class Smallest:
    """point: the smallest model within a maximal drop; where no model is, within = False, the one that came nearest."""

    point: Point
    within: bool


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

    def point(self, keep: float, most_lost: float | None = None, rule: DropRule = "interval") -> Point:
        """The model for one budget, measured on the whole split; with `most_lost` only until that is decided.

        most_lost, rule: see `decided`.
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
            if most_lost is not None and decided(found, most_lost, rule) is not None:
                break
        assert found is not None
        return Point(keep, self.recipe(plan), self.cost_model.cost(plan), found)


def frontier(bench: Workbench, budgets: Sequence[float]) -> Iterator[Point]:
    """A point for each budget within reach, as it is measured."""
    for keep in budgets:
        if keep >= bench.smallest:
            yield bench.point(keep)


def decided(estimate: Estimate, most_lost: float, rule: DropRule = "interval") -> bool | None:
    """Whether a model loses at most `most_lost`, in units of the metric; None while examples are left to decide it."""
    low, high = estimate.difference_interval or (-math.inf, math.inf)
    if low >= -most_lost - ROUNDING:
        return True
    if high < -most_lost:
        return False
    if not estimate.complete:
        return None
    return rule == "value" and estimate.difference is not None and estimate.difference >= -most_lost - ROUNDING


def nearest(estimate: Estimate, rule: DropRule) -> float:
    """How near a model that loses too much came: greater is nearer."""
    if rule == "value" or estimate.difference_interval is None:
        return -math.inf if estimate.difference is None else estimate.difference
    return estimate.difference_interval[0]


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


def smallest_within(bench: Workbench, most_lost: float, rule: DropRule = "interval") -> Smallest:
    """The smallest model that loses at most `most_lost` of the metric, by bisecting over budgets.

    rule: see `DropRule`; the interval is the paired one at whichever look. It is for one model: of several near the
    limit the best-looking one is chosen, so confirm it on the test split. Raises: UserError where nothing can be cut.
    """
    tried: list[Point] = []

    def try_at(percent: int) -> Point | None:
        tried.append(bench.point(percent / 100, most_lost, rule))
        return tried[-1] if decided(tried[-1].estimate, most_lost, rule) else None

    best = smallest_percent(bench.smallest, try_at)
    if best is not None:
        return Smallest(best, True)
    if not tried:
        raise UserError(f"No cut by {bench.scores.method} keeps less than everything: choose another method or budget.")
    return Smallest(max(tried, key=lambda point: nearest(point.estimate, rule)), False)
