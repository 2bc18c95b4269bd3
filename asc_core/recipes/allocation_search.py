"""Price every family alone, choose within one budget, make what looks best, measure it, and go on while time allows.

Within a family the choice is the step's own, in closed form for the application (heads and neurons by `obs` scores,
ranks by what they change in the outputs, rows by use). Between families it is made here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from asc_core import modeling
from asc_core.compress.bottom_up import check_repairable
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut
from asc_core.compress.pack import Pack
from asc_core.compress.repairs import REPAIRS, default_repair
from asc_core.compress.step import Step
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import PerExampleResult, estimate, measure, measure_in_turns
from asc_core.evaluate.speeds import Conditions, check_takes
from asc_core.plan import by_budget, smallest_share
from asc_core.plan.encoder_cost import task_cost_model, task_lengths
from asc_core.progress import Progress
from asc_core.recipes.allocation import (
    AXES,
    Allocation,
    Axis,
    Bound,
    Footprint,
    Loss,
    Setting,
    allocations,
    points_of_change,
    size,
    smallest_possible,
    standard_error,
    told_apart,
    within,
)
from asc_core.recipes.int8 import int8_step
from asc_core.recipes.recipe import Recipe
from asc_core.recipes.registry import parse_step
from asc_core.recipes.stored import keep_evaluation
from asc_core.runtimes import RUNTIMES, Session, runtime_named, session
from asc_core.scores.sweep import sweep
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.train.steps import Distil
from asc_core.values import Estimate, Scores

KEEPS = (0.8, 0.65, 0.5, 0.35, 0.25)
FEW_BITS = {"step": "quantize", "choose": False, "rounding": "second-order", "levels": "k-means", "embedding_bits": 4}
# Each family's settings, in order of strength; families in the order in which they are applied.
LADDERS: dict[str, tuple[dict[str, Any], ...]] = {
    "cut": (),  # by the scores, see `KEEPS`; first, since scores are of the original's weights
    "factor": tuple({"step": "factor", "keep": keep, "nearest": "outputs"} for keep in (0.7, 0.5, 0.35)),
    "vocabulary": tuple({"step": "vocabulary", "margin": margin} for margin in (8000, 2000, 0)),
    "bits": (
        {"step": "quantize", "activations": "none", "choose": False},
        *({**FEW_BITS, "bits": bits} for bits in (4, 3)),
    ),
    "tokens": tuple({"step": "eliminate-tokens", "keep": keep} for keep in (0.85, 0.7, 0.5)),
}
FAMILIES = tuple(LADDERS)
# What each takes off. Bits take time off where a runtime multiplies integers, see `Allocator.ladder`.
SAVES: dict[str, tuple[Axis, ...]] = {
    "cut": AXES,
    "factor": AXES,
    "vocabulary": ("bytes",),
    "bits": ("bytes", "ms"),
    "tokens": ("flops", "ms"),
}
LAST = ("bits", "tokens")  # behind training: what was rounded is not trained
PRICED_ON = 400  # examples; those that look best are measured on the whole split
TURNS = 9
RATIOS = (0.25, 4.0)  # of what combinations lose to the sum of their prices, at most
NOTHING_SAVED = 0.995  # a share that counts as all of it


@dataclass(frozen=True)
class Fitted:
    """What was made. expected: points lost, see `Loss.expected`; found: on the whole split. trained: the last step but
    those that round."""

    title: str
    recipe: Recipe
    footprint: Footprint
    found: Estimate
    expected: float
    meets: bool
    trained: bool = False

    @property
    def points(self) -> float:
        """Of the metric lost, by the paired difference."""
        return -100 * (self.found.difference or 0.0)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 %, of `points`; None where there is none."""
        if self.found.difference_interval is None:
            return None
        low, high = self.found.difference_interval
        return -100 * high, -100 * low

    def to_json(self) -> dict[str, Any]:
        taken = self.footprint
        return {
            "title": self.title,
            "meets": self.meets,
            "bytes": round(taken.bytes),
            "flops": taken.flops,
            "ms": taken.ms or None,
            "points": self.points,
            "expected_points": self.expected,
            "trained": self.trained,
            "estimate": self.found.to_json(),
            "recipe": self.recipe.to_json(),
        }


@dataclass
class Allocator:
    """One application and one budget.

    points: that may be lost; then the smallest within the budget is looked for, None = the least lost. families: of
    `FAMILIES`. scores: what cuts go by, `obs` scores are made where there are none. steps: batches of
    distillation for the best, 0 = nothing is trained. runtime, conditions: of a budget in milliseconds. study: keeps
    prices, so that a second budget begins with them. split: what chooses. refused: why a family is left out, by its
    name, once prices are known. Raises: UserError, Cancelled (all methods).
    """

    encoder: Encoder
    task: Task
    bound: Bound
    families: Sequence[str] = FAMILIES
    scores: Scores | None = None
    points: float | None = None
    steps: int = 0
    runtime: str = "torch"
    conditions: Conditions = field(default_factory=Conditions)
    split: str = "validation"
    seed: int = 0
    study: Study | None = None
    progress: Progress = field(default_factory=Progress)
    calibrations: Calibrations = field(default_factory=Calibrations)
    refused: dict[str, str] = field(default_factory=dict, init=False)
    _harms: list[tuple[float, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        unknown = [family for family in self.families if family not in FAMILIES]
        if unknown or not self.families:
            raise UserError(f"Families are {', '.join(FAMILIES)}: {', '.join(unknown) or 'none'} is not one of them.")
        runtime_named(self.runtime)

    # Prices

    @cached_property
    def ladder(self) -> dict[str, list[Step]]:
        """The steps of each family that saves what the budget is of, in order of strength and of application."""
        found: dict[str, list[Step]] = {}
        for family in FAMILIES:
            if family not in self.families or self.bound.axis not in SAVES[family]:
                continue
            if family == "cut":
                found[family] = self._cuts() if self.encoder.has_parts else []
                if not self.encoder.has_parts:
                    self.refused[family] = "it has no heads or neurons"
            elif family == "bits" and self.bound.axis == "ms":
                form = RUNTIMES[self.runtime].form
                found[family] = [int8_step(form, choose=True)] if form else []
            else:
                found[family] = [parse_step(step, family) for step in LADDERS[family]]
        if not any(found.values()):
            raise UserError(
                f"{', '.join(self.families)} takes no {self.bound.axis} off a model in {self.runtime}: allow another "
                f"family ({', '.join(family for family in FAMILIES if self.bound.axis in SAVES[family])})."
            )
        return found

    def _cuts(self) -> list[Step]:
        costs = task_cost_model(self.encoder, self.task)
        scores = self.scores
        if scores is None:
            scores = sweep(self.encoder, self.task, ["obs"], seed=self.seed, progress=self.progress)["obs"]
        least = smallest_share(scores, costs)
        plans = [by_budget(scores, costs, keep) for keep in KEEPS if keep >= least]
        repair = default_repair(self.encoder.shape)
        check_repairable(self.encoder, REPAIRS[repair].shared)
        return [Cut(plan=plan, repair=repair, seed=self.seed) for plan in plans]

    @cached_property
    def original(self) -> PerExampleResult:
        return measure(self.encoder, self.task, self.split, progress=self.progress)

    @cached_property
    def dense(self) -> Footprint:
        return self._footprint(self.encoder)

    def price(self) -> dict[str, list[Setting]]:
        """Every setting alone, on the original. A setting that saves nothing here is left out."""
        found: dict[str, list[Setting]] = {}
        number, total = 0, sum(map(len, self.ladder.values()))
        for family, steps in self.ladder.items():
            found[family] = []
            for step in steps:
                self.progress.step(number, total, f"alone: {step.describe()}")
                number += 1
                try:
                    setting = self._priced(family, step)
                except UserError as error:  # of this model, or of these texts: the other families are still there
                    self.refused[family] = str(error)
                    continue
                if setting is not None:
                    found[family].append(setting)
        return found

    def _priced(self, family: str, step: Step) -> Setting | None:
        recipe = Recipe((step,))
        stored = self._stored("price", recipe)
        if stored is None:
            made = recipe.apply(self.encoder, self.task, self.progress, calibrations=self.calibrations)
            _, lost = self._measured(made, PRICED_ON)
            stored = {"shares": self._footprint(made).over(self.dense).values, "lost": asdict(lost)}
            self._keep("price", recipe, stored)
        shares = Footprint(*stored["shares"])
        if self._saves_nothing(shares):
            return None
        return Setting(family, recipe.key, step.describe(), shares, Loss(**stored["lost"]))

    def _saves_nothing(self, shares: Footprint) -> bool:
        """Whether it takes nothing off what the budget is of; bytes are taken off in one of two places."""
        if self.bound.axis == "bytes":
            return min(shares.embedding, shares.layers) > NOTHING_SAVED
        return bool(shares.of(self.bound.axis) > NOTHING_SAVED)

    def _measured(self, made: Encoder, limit: int | None = None) -> tuple[Estimate, Loss]:
        """On the split, or so many of its examples."""
        reference = None if self.task.labelled else self.original
        outcome = measure(
            made, self.task, self.split, reference=reference, limit=limit, seed=self.seed, progress=self.progress
        )
        found = estimate(outcome, self.task.metric, self.original)
        before = self.original.statistics[self.original.positions(outcome.numbers)]
        low, high = found.difference_interval or (0.0, 0.0)
        loss = Loss(
            points=-100 * (found.difference or 0.0),
            error=100 * standard_error(low, high),
            change=float(np.abs(outcome.statistics - before).mean()) if len(outcome) else 0.0,
        )
        return found, loss

    def _footprint(self, made: Encoder) -> Footprint:
        cost = made.cost(self._lengths)
        table = modeling.count(made.model.get_input_embeddings(), made.packing).bytes
        outside = made.part_counts.outside_bytes
        return Footprint(table, cost.bytes - outside, outside - table, cost.flops, self._ms(made))

    @cached_property
    def _lengths(self) -> np.ndarray:
        return task_lengths(self.encoder, self.task)

    def _ms(self, made: Encoder) -> float:
        """In turns with the original, in its unit of one measurement: what slows the machine slows both."""
        if self.bound.axis != "ms":
            return 0.0
        here = self.conditions
        own = self._session if made is self.encoder else session(made, self.runtime, here.threads)
        sessions = {"original": self._session, "made": own}
        lengths = np.full(here.batch_size, here.tokens)
        took = measure_in_turns(sessions, lengths, here.batch_size, TURNS, self.seed, self.progress)
        if made is self.encoder:
            return 1e3 * took["original"].median
        return self.dense.ms / took["made"].ratio

    @cached_property
    def _session(self) -> Session:
        return session(self.encoder, self.runtime, self.conditions.threads)

    # Search

    def search(self, most: int = 5, seconds: float | None = None) -> Iterator[list[Fitted]]:
        """What was made and measured so far, best first, after each: until `most` of them meet the budget (or three
        times as many were made), none begun after `seconds`.

        Raises: UserError where no allocation is small enough, naming the smallest there is.
        """
        begun = time.monotonic()
        if self.bound.axis == "ms":
            check_takes(self.encoder, self.conditions.tokens)
        families = self.price()
        candidates = [one for one in allocations(families) if self._possible(one)]
        every = [setting.lost for settings in families.values() for setting in settings]
        rungs = {family: [setting.key for setting in settings] for family, settings in families.items()}
        rate = points_of_change(every)
        tried: list[Allocation] = []
        made: list[Fitted] = []
        self._harms = []
        shares: dict[str, float] = {}
        while sum(one.meets for one in made) < most and len(tried) < 3 * most:
            if tried and seconds is not None and time.monotonic() - begun >= seconds:
                break
            left = within(candidates, self.dense, self.bound, shares, rate)
            if not left and not tried:
                self._impossible(candidates)
            chosen = told_apart(left, tried, rungs) if self.points is None else self._smaller(left, made, shares, rate)
            if chosen is None:
                break
            self.progress.step(len(tried), most, f"made: {chosen.title}")
            fitted = self._made(chosen.title, self._recipe(chosen), rate)
            tried.append(chosen)
            self._harms.append((fitted.expected, chosen.lost(rate)))
            axis = self.bound.axis
            shares[chosen.key] = fitted.footprint.of(axis) / chosen.footprint(self.dense).of(axis)
            made = self._ranked([*made, fitted])
            yield made
        if self.steps and made:
            yield self._ranked([*made, self._trained(made[0], rate)])

    def _smaller(
        self, left: Sequence[Allocation], made: Sequence[Fitted], shares: dict[str, float], rate: float
    ) -> Allocation | None:
        """The smallest that should lose few enough points, smaller than the smallest that does; None = there is none.

        What was made lost more or less than the sum of its prices: the others are taken to do so in the same ratio.
        """
        assert self.points is not None
        axis = self.bound.axis
        best = min((one.footprint.of(axis) for one in made if one.meets), default=float("inf"))
        ratio = sum(found for found, _ in self._harms) / max(sum(sum_ for _, sum_ in self._harms), 1e-9)
        ratio = float(np.clip(ratio, *RATIOS)) if self._harms else 1.0
        sizes = {one.key: size(one, self.dense, axis, shares) for one in left}
        fitting = [
            one
            for one in left
            if one.key not in shares and sizes[one.key] < best and ratio * one.lost(rate) <= self.points
        ]
        return min(fitting, key=lambda one: sizes[one.key], default=None)

    def _impossible(self, candidates: Sequence[Allocation]) -> None:
        axis = self.bound.axis
        least = smallest_possible(candidates, self.dense, axis)
        said = {"bytes": f"{least / 1e6:.2f} MB", "ms": f"{least:.2f} ms"}.get(axis, f"{least / self.dense.flops:.0%}")
        raise UserError(
            f"With {', '.join(self.families)} the least that {self.encoder.name} comes to is about {said} of {axis}: "
            "give a larger budget or allow more families."
        )

    def _possible(self, one: Allocation) -> bool:
        try:
            self._recipe(one)
        except UserError:  # an order of steps that cannot be built
            return False
        return True

    @cached_property
    def _steps(self) -> dict[str, Step]:
        return {Recipe((step,)).key: step for steps in self.ladder.values() for step in steps}

    def _recipe(self, one: Allocation) -> Recipe:
        steps = tuple(self._steps[setting.key] for setting in one.settings if not setting.idle)
        return Recipe(steps, self.encoder.public_name, self.task.source)

    def _trained(self, best: Fitted, rate: float) -> Fitted:
        """The same, with a distillation from the original before what rounds; stored as the original is, which training
        would forget."""
        last = {type(step) for family in LAST for step in self.ladder.get(family, [])}
        steps = best.recipe.steps
        place = next((n for n, step in enumerate(steps) if type(step) in last), len(steps))
        learn = Distil(steps=self.steps, patience=None, seed=self.seed)
        packed = [Pack(packing="float16")] if self.encoder.packing == "float16" else []
        recipe = Recipe((*steps[:place], learn, *steps[place:], *packed), best.recipe.original, best.recipe.task)
        return self._made(f"{best.title}, {self.steps} steps of distillation", recipe, rate, trained=True)

    def _made(self, title: str, recipe: Recipe, rate: float, trained: bool = False) -> Fitted:
        made = recipe.apply(self.encoder, self.task, self.progress, calibrations=self.calibrations)
        taken = self._footprint(made)
        found, lost = self._measured(made)
        expected = lost.expected(rate)
        meets = taken.of(self.bound.axis) <= self.bound.on(self.dense)
        meets &= self.points is None or expected <= self.points
        if self.study is not None and recipe.steps:
            cost = made.cost(self._lengths)
            keep_evaluation(self.study, self.encoder, recipe, self.task, self.split, found, cost)
        return Fitted(title, recipe, taken, found, expected, meets, trained)

    def _ranked(self, made: Sequence[Fitted]) -> list[Fitted]:
        """Those that meet what was asked for first, the least lost of them, or the smallest where points are limited;
        the others by how far they are off."""

        def place(one: Fitted) -> tuple[bool, float]:
            by_size = one.meets == (self.points is not None)
            return not one.meets, one.footprint.of(self.bound.axis) if by_size else one.expected

        return sorted(made, key=place)

    # Kept

    def _key(self, what: str, recipe: Recipe) -> str:
        data = self.task.data(self.split)
        found = f"{what}:{self.encoder.weights}:{recipe.key}:{self.task.name}:{self.split}:{data}:{self.seed}"
        if self.bound.axis != "ms":
            return found
        return f"{found}:{self.runtime}:{self.conditions.key}"

    def _stored(self, what: str, recipe: Recipe) -> dict[str, Any] | None:
        found = self.study.get(self._key(what, recipe)) if self.study is not None else None
        return found if isinstance(found, dict) and {"shares", "lost"} <= set(found) else None

    def _keep(self, what: str, recipe: Recipe, found: dict[str, Any]) -> None:
        if self.study is not None:
            self.study.set(self._key(what, recipe), {**found, "shares": list(found["shares"])})
