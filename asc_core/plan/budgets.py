"""Plans from budgets: the best total importance that shares of the original's FLOPs, parameters, bytes or time buy.

Kwon et al. 2022 (2204.09656): for every number of heads fill the rest of the budget with the best neurons. Here with
a cost for each row, since windowed attention and shared weights make parts of different layers differ; and, where
several budgets hold at once, time is one of them, or widths are to suit the hardware, over the widths of all rows
(see `multiple_choice_knapsack`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

import numpy as np

from asc_core.errors import UserError
from asc_core.parts import BLOCKS, BLOCKS_OF, SUBLAYERS
from asc_core.plan import knapsack, multiple_choice_knapsack
from asc_core.plan.cost import COUNTED, Budget, CostModel, WidthCosts
from asc_core.plan.depth import layers_within, smallest_depth
from asc_core.plan.knapsack import Items
from asc_core.plan.multiple_choice_knapsack import Group
from asc_core.plan.parts import (
    ManualEdits,
    Masks,
    Parts,
    best,
    best_heads,
    flat_scores,
    kinds_of,
    rows_of,
    slices,
    to_plan,
    usual_kinds,
)
from asc_core.plan.thresholds import minimum_note
from asc_core.values import Plan, Scores

Level = Literal["blocks", "sublayers", "layers"]
LEVELS: dict[str, tuple[str, ...]] = {"blocks": BLOCKS, "sublayers": SUBLAYERS, "layers": ("layers",)}

ONE_SCALE: set[str] = set()
"""Methods whose score means the same on a head and on a neuron, so that they can be added up and traded as they are.
Which they are, the registry of scores says: planning does not know how scores are made."""


def by_budget(
    scores: Scores,
    cost_model: CostModel,
    keep: float | Mapping[str, float],
    budget: Budget = "flops",
    level: Level | None = None,
    min_heads: int = 0,
    one_scale: bool | None = None,
    keep_parts: Parts = (),
    remove_parts: Parts = (),
    round_to: int = 1,
) -> Plan:
    """The plan with the highest total score whose cost is at most `keep` times that of the whole encoder.

    Parts with negative scores count as 0, and stay only where there is room. Among plans of the same worth the fullest
    is chosen. Layers by asc-a and asc-b are chosen by ASC's own rule, at that threshold which comes closest to the
    budget; where layers share weights (ALBERT) as many iterations stay as fit. The best is exact for one budget that
    merely counts (all but latency); for several, with latency, or with rounded widths, no exchange between two rows is
    left that would be worth more, and it is exact wherever few solutions come close.

    Args:
        scores: of one method on one task.
        cost_model: what every part of this encoder costs, see `task_cost_model`.
        keep: a share from 0 to 1, meant as the decimal that it is written as (0.7 is seven tenths). Or several that
            hold at once: {"flops": 0.5, "latency": 0.6}.
        budget: of what, where `keep` is one share. latency: as predicted by the cost model's latency table.
        level: blocks = heads and neurons, sublayers, or layers; by default the finest that the method scores. Where it
            scores only one of heads and neurons the other stays whole.
        min_heads: so many of each layer's best heads stay (level blocks).
        one_scale: whether a head's score and a neuron's can be added; by default only for the methods in `ONE_SCALE`.
            Otherwise a part counts by its rank within its kind, times its cost, so that the best of both kinds stay in
            about equal share. (The same for attention and FFN sublayers.)
        keep_parts, remove_parts: manual edits, see `parts.ManualEdits`.
        round_to: the FFN width of every row is a multiple of so many neurons, or its original one; manual edits go
            first (level blocks).

    Returns:
        The plan; its provenance says the rule.

    Raises:
        UserError: if a budget is below the smallest share within reach, which it names; if an argument or a part is
            none; if the scores are for another shape.
    """
    shares = dict(keep) if isinstance(keep, Mapping) else {str(budget): keep}
    if not shares:
        raise UserError('No budget was given: say which share of what is to be kept, as in {"flops": 0.5}.')
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UserError(f"A budget keeps a share between 0 and 1, so {share:g} of the {name} cannot be kept.")
    question = _Question.of(scores, cost_model, tuple(shares), level, min_heads, keep_parts, remove_parts, round_to)
    limits = {name: cost_model.limit(share, name) for name, share in shares.items()}
    for name, limit in limits.items():
        if question.smallest[name] > limit:
            raise UserError(
                f"{shares[name]:.4g} of the {name} is out of reach: with the {' and '.join(question.kinds)} cut as far "
                f"as they may be, {question.share(name):.4f} is left. Give at least that, or release what is kept by "
                "hand or by a minimum."
            )
    if question.kinds == ("layers",):
        limits_of_all = np.array([limits[name] for name in question.budgets], dtype=np.int64)
        layers, how = layers_within(scores, question.edits, question.cost_of_layers, limits_of_all)
        heads, neurons = Masks.of(scores.shape, True).heads, Masks.of(scores.shape, True).neurons
    else:
        blocks_within = _parts_within if question.counts_parts else _widths_within
        heads, neurons, how = blocks_within(question, limits, one_scale)
        layers = question.base.layers
    asked = " and ".join(f"{share:.4g} of the {name}{_where(cost_model, name)}" for name, share in shares.items())
    minimum = minimum_note(min_heads) if "heads" in question.kinds else ""
    widths = f", neurons in multiples of {round_to}" if question.round_to > 1 else ""
    return to_plan(scores, question.edits, heads, neurons, layers, f"keep {asked}, {how}{minimum}{widths}")


def _where(cost_model: CostModel, budget: str) -> str:
    """Said of a latency in another runtime than torch, as what a plan was made for."""
    table = cost_model.latency
    return f" in {table.runtime}" if budget == "latency" and table is not None and table.runtime != "torch" else ""


def smallest_share(
    scores: Scores,
    cost_model: CostModel,
    budget: Budget = "flops",
    level: Level | None = None,
    min_heads: int = 0,
    keep_parts: Parts = (),
    remove_parts: Parts = (),
    round_to: int = 1,
) -> float:
    """The least `keep` that `by_budget` can meet with these arguments, rounded up to a hundredth of a percent."""
    question = _Question.of(scores, cost_model, (budget,), level, min_heads, keep_parts, remove_parts, round_to)
    return question.share(budget)


@dataclass(frozen=True)
class _Base:
    """What stays at any budget. kept: flat bool, by kind (heads, neurons). cost: of all that, by budget."""

    kept: dict[str, np.ndarray]
    layers: np.ndarray
    cost: dict[str, int]


@dataclass(frozen=True)
class _Question:
    """What `by_budget` was asked, checked."""

    scores: Scores
    cost_model: CostModel
    budgets: tuple[str, ...]
    kinds: tuple[str, ...]
    min_heads: int
    edits: ManualEdits
    round_to: int

    @staticmethod
    def of(
        scores: Scores,
        cost_model: CostModel,
        budgets: tuple[str, ...],
        level: str | None,
        min_heads: int,
        keep_parts: Parts,
        remove_parts: Parts,
        round_to: int,
    ) -> _Question:
        for budget in budgets:
            cost_model.check_budget(budget)
        if level is not None and level not in LEVELS:
            raise UserError(f"There is no level {level!r}; choose one of {', '.join(LEVELS)}.")
        if round_to < 1:
            raise UserError(f"Widths can be multiples of 1 or more neurons, not of {round_to}.")
        if scores.shape != cost_model.shape:
            raise UserError(f"The scores are for {scores.shape}, the cost model is for {cost_model.shape}.")
        wanted = LEVELS[level] if level else usual_kinds(scores)
        kinds = tuple(kind for kind in wanted if kind in kinds_of(scores)) or wanted[:1]
        for kind in kinds:
            flat_scores(scores, kind)
        edits = ManualEdits.of(scores.shape, keep_parts, remove_parts)
        round_to = round_to if "neurons" in kinds else 1
        return _Question(scores, cost_model, budgets, kinds, min_heads, edits, round_to)

    @cached_property
    def dense(self) -> dict[str, int]:
        return {budget: self.cost_model.dense_total(budget) for budget in self.budgets}

    @property
    def counts_parts(self) -> bool:
        """Whether every head, and every neuron, of a row costs the same whatever else stays: the exact knapsack's."""
        return len(self.budgets) == 1 and self.budgets[0] in COUNTED and self.round_to == 1

    @cached_property
    def smallest(self) -> dict[str, int]:
        """The cost of the smallest plan within reach, by budget."""
        if self.kinds != ("layers",):
            return self.base.cost
        least = smallest_depth(self.scores, self.edits, self.cost_of_layers)
        if least is None:
            raise UserError("Every layer is cut by hand; keep at least one.")
        return dict(zip(self.budgets, least.tolist(), strict=True))

    def share(self, budget: str) -> float:
        return math.ceil(Fraction(self.smallest[budget], max(self.dense[budget], 1)) * 10_000) / 10_000

    def cost_of_layers(self, layers: np.ndarray) -> np.ndarray:
        """(budgets,) of the model with these layers (bool), whole except for what is cut by hand."""
        left = {blocks: ~getattr(self.edits.remove, blocks) for blocks in BLOCKS}
        costs = (self._cost(self.cost_model.width_costs(budget, layers), left) for budget in self.budgets)
        return np.array(list(costs), dtype=np.int64)

    def _cost(self, costs: WidthCosts, kept: dict[str, np.ndarray]) -> int:
        """kept: flat bool, by kind."""
        cost = costs.fixed
        for blocks in BLOCKS:
            counts = [int(kept[blocks][row].sum()) for row in slices(self.scores.shape, blocks)]
            cost += sum(int(of[count]) for of, count in zip(getattr(costs, blocks), counts, strict=True))
        return cost

    @cached_property
    def costs(self) -> dict[str, WidthCosts]:
        """By budget, with the layers that stay at any budget."""
        return {budget: self.cost_model.width_costs(budget, self.base.layers) for budget in self.budgets}

    @cached_property
    def base(self) -> _Base:
        shape = self.scores.shape
        layers = self.edits.layers(np.ones(shape.layers, dtype=bool))
        used = np.isin(np.arange(len(shape.heads)), np.asarray(shape.rows)[layers])
        choosable = {BLOCKS_OF.get(kind, kind) for kind in self.kinds}
        kept = {}
        for blocks in BLOCKS:
            cut = getattr(self.edits.remove, blocks)
            stay = getattr(self.edits.keep, blocks) | ~used[rows_of(shape, blocks)] | (blocks not in choosable)
            if self.min_heads and blocks == "heads" and "heads" in self.kinds:
                stay = stay | best_heads(self.scores, self.min_heads, self.edits)
            kept[blocks] = stay & ~cut
        if self.round_to > 1:
            kept["neurons"] = self._in_multiples(kept["neurons"])
        cost = {b: self._cost(self.cost_model.width_costs(b, layers), kept) for b in self.budgets}
        return _Base(kept, layers, cost)

    def _in_multiples(self, kept: np.ndarray) -> np.ndarray:
        """What stays anyway, with the best neurons beside it that make every row one of its `widths`."""
        flat, cut, filled = flat_scores(self.scores, "neurons"), self.edits.remove.neurons, kept.copy()
        for row in slices(self.scores.shape, "neurons"):
            least = self.widths("neurons", kept[row], cut[row])[0]
            filled[row] = best(flat[row], int(least), kept[row], cut[row])
        return filled

    def widths(self, blocks: str, kept: np.ndarray, cut: np.ndarray) -> np.ndarray:
        """Ascending: how many of a row may stay, where `kept` of it stay anyway and `cut` go, both bool."""
        least, most, whole = int(kept.sum()), int((~cut).sum()), len(cut)
        round_to = self.round_to if blocks == "neurons" else 1
        widths = np.arange(-(-least // round_to) * round_to, most + 1, round_to)
        if most == whole and whole % round_to:
            widths = np.append(widths, whole)
        return widths if widths.size else np.array([most])


def _parts_within(
    question: _Question, limits: dict[str, int], one_scale: bool | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """(heads, neurons, how): heads and neurons one by one, or a sublayer's at a time, under one budget."""
    (budget,) = question.budgets
    base, shape, scores = question.base, question.scores.shape, question.scores
    one_scale = _on_one_scale(question, one_scale)
    unit = question.cost_model.unit_costs(budget, base.layers)
    groups, members = [], []
    for kind in question.kinds:
        blocks = BLOCKS_OF.get(kind, kind)
        free = np.flatnonzero(~base.kept[blocks] & ~getattr(question.edits.remove, blocks))
        values, costs = flat_scores(scores, kind), np.asarray(getattr(unit, blocks))[rows_of(shape, blocks)[free]]
        if kind == blocks:
            items, item = free, np.arange(len(free))
        else:
            items, item = np.unique(rows_of(shape, blocks)[free], return_inverse=True)
            costs = np.array([costs[item == one].sum() for one in range(len(items))], dtype=np.int64)
        worth = values[items] if one_scale else _ranks(values)[items] * costs
        groups.append(Items(worth, costs))
        members.append((blocks, free, item))
    room = limits[budget] - base.cost[budget]
    taken = knapsack.solve(groups[0], groups[1] if len(groups) > 1 else Items.none(), room)
    kept = {blocks: mask.copy() for blocks, mask in base.kept.items()}
    for (blocks, free, item), mask in zip(members, taken, strict=False):
        kept[blocks][free] = mask[item]
    return kept["heads"], kept["neurons"], _how(question, one_scale)


def _widths_within(
    question: _Question, limits: dict[str, int], one_scale: bool | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """(heads, neurons, how): how wide every row is, under any number of budgets."""
    base, shape = question.base, question.scores.shape
    one_scale = _on_one_scale(question, one_scale)
    groups, members = [], []
    for kind in question.kinds:
        blocks = BLOCKS_OF.get(kind, kind)
        values = flat_scores(question.scores, kind)
        for row, place in enumerate(slices(shape, blocks)):
            kept, cut = base.kept[blocks][place], getattr(question.edits.remove, blocks)[place]
            free = np.flatnonzero(~kept & ~cut)
            if not free.size:
                continue
            each = _mean_cost(question, blocks, row)
            if kind == blocks:
                widths = question.widths(blocks, kept, cut)
                worth = values[place] if one_scale else _ranks(values)[place] * each
                free = free[np.argsort(-values[place][free], kind="stable")]
                total = np.concatenate(([0.0], np.cumsum(np.maximum(worth[free], 0))))[widths - widths[0]]
            else:
                widths = int(kept.sum()) + np.array([0, len(free)])
                whole = values[row] if one_scale else _ranks(values)[row] * each * len(free)
                total = np.array([0.0, max(whole, 0.0)])
            costs = np.stack([getattr(question.costs[b], blocks)[row][widths] for b in question.budgets], 1)
            groups.append(Group(total, costs - costs[0]))
            members.append((blocks, place.start + free, widths - widths[0]))
    room = [limits[budget] - base.cost[budget] for budget in question.budgets]
    chosen = {blocks: mask.copy() for blocks, mask in base.kept.items()}
    choices = multiple_choice_knapsack.solve(groups, np.array(room, dtype=np.int64))
    for (blocks, free, counts), choice in zip(members, choices, strict=True):
        chosen[blocks][free[: counts[choice]]] = True
    return chosen["heads"], chosen["neurons"], _how(question, one_scale)


def _on_one_scale(question: _Question, one_scale: bool | None) -> bool:
    if one_scale is not None:
        return one_scale
    return question.scores.method in ONE_SCALE or len(question.kinds) == 1


def _how(question: _Question, one_scale: bool) -> str:
    how = "highest total score" if one_scale else "highest total of (rank within its kind) x cost"
    return f"{how} of {' and '.join(question.kinds)}"


def _mean_cost(question: _Question, blocks: str, row: int) -> float:
    """Of one head or neuron of a row: its share of the whole encoder's cost, on average over the budgets."""
    count = getattr(question.scores.shape, blocks)[row]
    shares = [
        int(getattr(question.costs[budget], blocks)[row][-1]) / max(count * question.dense[budget], 1)
        for budget in question.budgets
    ]
    return float(np.mean(shares))


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0 (lowest) to 1 (highest); among equals the first is higher, as everywhere in selection."""
    ranks = np.empty(len(values))
    ranks[np.argsort(-values, kind="stable")] = np.arange(len(values), 0, -1)
    return ranks / max(len(values), 1)
