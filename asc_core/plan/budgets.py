"""Plans from a budget: the best total importance that a share of the original's FLOPs, parameters or bytes buys.

Kwon et al. 2022 (2204.09656): for every number of heads fill the rest of the budget with the best neurons. Here with
a cost for each row, since windowed attention and shared weights make parts of different layers differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from asc_core.errors import UserError
from asc_core.plan.cost import Budget, CostModel, check_budget
from asc_core.plan.depth import layers_within, smallest_depth
from asc_core.plan.knapsack import Items, fill
from asc_core.plan.parts import (
    BLOCKS,
    SUBLAYER_OF,
    Hand,
    Masks,
    Parts,
    best_heads,
    flat_scores,
    kinds_of,
    rows_of,
    to_plan,
    usual_kinds,
)
from asc_core.plan.thresholds import minimum_note
from asc_core.values import Plan, Scores

Level = Literal["blocks", "sublayers", "layers"]
LEVELS: dict[str, tuple[str, ...]] = {"blocks": BLOCKS, "sublayers": tuple(SUBLAYER_OF), "layers": ("layers",)}

ONE_SCALE = frozenset({"fisher", "ablation", "obs"})
"""Methods whose score means the same on a head and on a neuron, so that they can be added up and traded as they are."""


def by_budget(
    scores: Scores,
    cost_model: CostModel,
    keep: float,
    budget: Budget = "flops",
    level: Level | None = None,
    min_heads: int = 0,
    one_scale: bool | None = None,
    forced_kept: Parts = (),
    forced_cut: Parts = (),
) -> Plan:
    """The plan with the highest total score whose cost is at most `keep` times that of the whole encoder.

    keep: a share from 0 to 1, meant as the decimal that it is written as (0.7 is seven tenths).
    level: blocks = heads and neurons, sublayers, or layers; by default the finest that the method scores. Where it
        scores only one of heads and neurons the other stays whole.
    min_heads: so many of each layer's best heads stay (level blocks).
    one_scale: whether a head's score and a neuron's can be added; by default only for the methods in `ONE_SCALE`.
        Otherwise a part counts by its rank within its kind, times its cost, so that the best of both kinds stay in
        about equal share. (The same for attention and FFN sublayers.)
    forced_kept, forced_cut: parts set by hand, see `parts.Hand`.

    Parts worth less than nothing count as nothing, and stay only where there is room. Among plans of the same worth
    the fullest is chosen. Layers by asc-a and asc-b are chosen by ASC's own rule, at that threshold which comes
    closest to the budget; where layers share weights (ALBERT) as many iterations stay as fit.

    Raises: UserError, naming the smallest share within reach, if the budget is below it.
    """
    if not 0 <= keep <= 1:
        raise UserError(f"A budget keeps a share between 0 and 1, so {keep:g} cannot be kept.")
    question = _Question.of(scores, cost_model, budget, level, min_heads, forced_kept, forced_cut)
    limit = math.floor(Fraction(repr(float(keep))) * question.dense)
    if question.smallest > limit:
        raise UserError(
            f"{keep:.4g} of the {budget} is out of reach: with the {' and '.join(question.kinds)} cut as far as they "
            f"may be, {question.share(question.smallest):.4f} is left. Give at least that, or release what is kept by "
            "hand or by a minimum."
        )
    if question.kinds == ("layers",):
        layers, how = layers_within(scores, question.hand, question.cost_of_layers, limit)
        heads, neurons = Masks.of(scores.shape, True).heads, Masks.of(scores.shape, True).neurons
    else:
        heads, neurons, layers, how = _blocks_within(question, limit, one_scale)
    minimum = minimum_note(min_heads) if "heads" in question.kinds else ""
    rule = f"keep {keep:.4g} of the {budget}, {how}{minimum}"
    return to_plan(scores, question.hand, heads, neurons, layers, rule)


def smallest_share(
    scores: Scores,
    cost_model: CostModel,
    budget: Budget = "flops",
    level: Level | None = None,
    min_heads: int = 0,
    forced_kept: Parts = (),
    forced_cut: Parts = (),
) -> float:
    """The least `keep` within `by_budget`'s reach, rounded up to a hundredth of a percent: where a slider begins."""
    question = _Question.of(scores, cost_model, budget, level, min_heads, forced_kept, forced_cut)
    return question.share(question.smallest)


@dataclass(frozen=True)
class _Base:
    """What stays at any budget. heads, neurons: flat bool; costs: of each head and neuron, by kind; cost: of it all."""

    kept: dict[str, np.ndarray]
    costs: dict[str, np.ndarray]
    layers: np.ndarray
    cost: int


@dataclass(frozen=True)
class _Question:
    """What `by_budget` was asked, checked."""

    scores: Scores
    cost_model: CostModel
    budget: str
    kinds: tuple[str, ...]
    min_heads: int
    hand: Hand

    @staticmethod
    def of(
        scores: Scores,
        cost_model: CostModel,
        budget: str,
        level: str | None,
        min_heads: int,
        forced_kept: Parts,
        forced_cut: Parts,
    ) -> _Question:
        check_budget(budget)
        if level is not None and level not in LEVELS:
            raise UserError(f"There is no level {level!r}; choose one of {', '.join(LEVELS)}.")
        if scores.shape != cost_model.shape:
            raise UserError(f"The scores are for {scores.shape}, the cost model is for {cost_model.shape}.")
        wanted = LEVELS[level] if level else usual_kinds(scores)
        kinds = tuple(kind for kind in wanted if kind in kinds_of(scores)) or wanted[:1]
        for kind in kinds:
            flat_scores(scores, kind)
        hand = Hand.of(scores.shape, forced_kept, forced_cut)
        return _Question(scores, cost_model, budget, kinds, min_heads, hand)

    @cached_property
    def dense(self) -> int:
        return self.cost_model.dense_total(self.budget)

    @cached_property
    def smallest(self) -> int:
        """The cost of the smallest plan within reach."""
        if self.kinds != ("layers",):
            return self.base.cost
        least = smallest_depth(self.scores, self.hand, self.cost_of_layers)
        if least is None:
            raise UserError("Every layer is cut by hand; keep at least one.")
        return least

    def share(self, cost: int) -> float:
        return math.ceil(Fraction(cost, max(self.dense, 1)) * 10_000) / 10_000

    def cost_of_layers(self, layers: np.ndarray) -> int:
        """Of the model with these layers (bool), whole except for what is cut by hand."""
        unit = self.cost_model.unit_costs(self.budget, layers)
        cost = unit.fixed
        for blocks in BLOCKS:
            left = rows_of(self.scores.shape, blocks)[~getattr(self.hand.cut, blocks)]
            counts = np.bincount(left, minlength=len(self.scores.shape.heads)).tolist()
            cost += sum(n * each for n, each in zip(counts, getattr(unit, blocks), strict=True))
        return cost

    @cached_property
    def base(self) -> _Base:
        layers = self.hand.layers(np.ones(self.scores.shape.layers, dtype=bool))
        unit = self.cost_model.unit_costs(self.budget, layers)
        choosable = {SUBLAYER_OF.get(kind, kind) for kind in self.kinds}
        kept, costs, cost = {}, {}, unit.fixed
        for blocks in BLOCKS:
            costs[blocks] = np.asarray(getattr(unit, blocks))[rows_of(self.scores.shape, blocks)]
            stay = getattr(self.hand.kept, blocks) | (costs[blocks] == 0) | (blocks not in choosable)
            if self.min_heads and blocks == "heads" and "heads" in self.kinds:
                stay = stay | best_heads(self.scores, self.min_heads, self.hand)
            kept[blocks] = stay & ~getattr(self.hand.cut, blocks)
            cost += int(costs[blocks][kept[blocks]].sum())
        return _Base(kept, costs, layers, cost)


def _blocks_within(
    question: _Question, limit: int, one_scale: bool | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """(heads, neurons, layers, how): heads and neurons one by one, or a sublayer's at a time."""
    base, shape, scores = question.base, question.scores.shape, question.scores
    if one_scale is None:
        one_scale = scores.method in ONE_SCALE or len(question.kinds) == 1
    groups, members = [], []
    for kind in question.kinds:
        blocks = SUBLAYER_OF.get(kind, kind)
        free = np.flatnonzero(~base.kept[blocks] & ~getattr(question.hand.cut, blocks))
        values, costs = flat_scores(scores, kind), base.costs[blocks][free]
        if kind == blocks:
            items, item = free, np.arange(len(free))
        else:
            items, item = np.unique(rows_of(shape, blocks)[free], return_inverse=True)
            costs = np.array([costs[item == one].sum() for one in range(len(items))], dtype=np.int64)
        worth = values[items] if one_scale else _ranks(values)[items] * costs
        groups.append(Items(worth, costs))
        members.append((blocks, free, item))
    taken = fill(groups[0], groups[1] if len(groups) > 1 else Items.none(), limit - base.cost)
    kept = {blocks: mask.copy() for blocks, mask in base.kept.items()}
    for (blocks, free, item), mask in zip(members, taken, strict=False):
        kept[blocks][free] = mask[item]
    how = "highest total score" if one_scale else "highest total of (rank within its kind) x cost"
    return kept["heads"], kept["neurons"], base.layers, f"{how} of {' and '.join(question.kinds)}"


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0 (lowest) to 1 (highest); among equals the first is higher, as everywhere in selection."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values), 0, -1)
    return ranks / max(len(values), 1)
