"""Score, cut, score again: orders of removal that look again at what is left.

Michel et al. 2019 (1905.10650, section 4.2) remove a tenth of the heads at a time in the order of scores that are taken
anew each time; TextPruner (Yang et al. 2022, 2203.15996, section 3.2 and the package's TransformerPruner) removes heads
and neurons in n equal rounds, as many of every layer. Each round cuts for real, so that later ones are faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from asc_core.errors import UserError
from asc_core.plan import CostModel, by_budget
from asc_core.plan.cost import Budget
from asc_core.plan.encoder_cost import cost_model as cost_model_of
from asc_core.progress import Progress
from asc_core.scores.gate_gradients import gate_gradients
from asc_core.scores.sweep import sweep
from asc_core.values import Plan, Provenance, Shape

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

BATCH = 32  # examples whose gradients TextPruner adds up before it takes the absolute value; its users' usual batch
Chooser = Callable[["Encoder", CostModel, float], Plan]


def in_rounds(
    encoder: Encoder, cost_model: CostModel, shares: Sequence[float], budget: Budget, method: str, choose: Chooser
) -> Iterator[Plan]:
    """The plan after each round. shares: of the original's cost, falling; what each round leaves at most.

    choose(smaller, its cost model, share): a plan for what is left, whose cost is at most that share of *its* cost.
    """
    plan = Plan.full(encoder.shape)
    dense = cost_model.dense_total(budget)
    for share in shares:
        smaller = encoder.cut(plan)
        costs = cost_model_of(smaller, cost_model.lengths)
        # Rounded down, so that a ratio of floats cannot end above the budget.
        left = min(1.0, math.floor(1e9 * share * dense / costs.dense_total(budget)) / 1e9)
        plan = of_the_original(plan, choose(smaller, costs, left))
        rule = f"keep {share:.4g} of the {budget}, scored again in each round"
        yield Plan(
            plan.shape,
            plan.heads,
            plan.neurons,
            plan.layers,
            Provenance(weights=encoder.weights, method=method, rule=rule),
        )


def of_the_original(before: Plan, then: Plan) -> Plan:
    """`then`, a plan for what `before` left of an encoder (no layer of which went), as a plan for that encoder."""

    def each(outer: Sequence[Sequence[int]], inner: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(kept[i] for i in chosen) for kept, chosen in zip(outer, inner, strict=True))

    return Plan(before.shape, each(before.heads, then.heads), each(before.neurons, then.neurons), before.layers)


def michel_rounds(
    encoder: Encoder,
    task: Task,
    cost_model: CostModel,
    shares: Sequence[float],
    *,
    budget: Budget = "flops",
    samples: int | None = 1024,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Plan]:
    """Sensitivities normalised by layer, as in the paper's section 4.1; neurons, which it leaves alone, likewise.

    One head stays in every layer. Raises: UserError (no labels, out of reach), Cancelled.
    """

    def choose(smaller: Encoder, costs: CostModel, left: float) -> Plan:
        scores = sweep(smaller, task, ["michel-normalised"], samples=samples, seed=seed, progress=progress)
        return by_budget(scores["michel-normalised"], costs, left, budget, min_heads=1)

    return in_rounds(encoder, cost_model, shares, budget, "michel-iterative", choose)


def textpruner_rounds(
    encoder: Encoder,
    task: Task,
    cost_model: CostModel,
    shares: Sequence[float],
    *,
    budget: Budget = "flops",
    samples: int | None = 1024,
    seed: int = 0,
    progress: Progress | None = None,
) -> Iterator[Plan]:
    """As many heads and as many neurons in every layer (the package's "even masking", its default).

    A head's score is |sum of W * dL/dW| over its columns of the readout; a neuron's that over its column plus that over
    its row of the first FFN linear with its bias; each batch's absolute value by itself, as the package has it.
    Raises: UserError (no labels, out of reach), Cancelled.
    """

    def choose(smaller: Encoder, costs: CostModel, left: float) -> Plan:
        table = gate_gradients(smaller, task, samples=samples, seed=seed, feeders=True, progress=progress)
        assert table.feeders is not None
        heads, neurons = even_widths(encoder.shape, smaller.shape, costs, left, budget)
        pairs = zip(table.neurons, table.feeders, strict=True)
        return Plan(
            smaller.shape,
            tuple(highest(batchwise(g), n) for g, n in zip(table.heads, heads, strict=True)),
            tuple(highest(batchwise(g) + batchwise(f), n) for (g, f), n in zip(pairs, neurons, strict=True)),
            tuple(range(smaller.shape.layers)),
        )

    return in_rounds(encoder, cost_model, shares, budget, "textpruner-iterative", choose)


def batchwise(gradients: np.ndarray) -> np.ndarray:
    """(parts,) sum over batches of the absolute value of a batch's mean gradient. gradients: (examples, parts)."""
    starts = np.arange(0, len(gradients), BATCH)
    sizes = np.diff(starts, append=len(gradients))
    sums = np.add.reduceat(gradients.astype(np.float64), starts)
    return np.asarray(np.abs(sums / sizes[:, None]).sum(0))


def highest(values: np.ndarray, count: int) -> tuple[int, ...]:
    return tuple(sorted(np.argsort(-values, kind="stable")[:count].tolist()))


def even_widths(
    original: Shape, now: Shape, costs: CostModel, left: float, budget: Budget = "flops"
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(heads, neurons) of each row: about the same share of the original's heads in every row, then of its neurons.

    The heads' share is the budget's of all that can go, to the nearest whole head in the widest row, and less where
    they alone would be over it; neurons fill what that leaves, alike in all rows. Neither grows beyond what there is
    now, and a head stays in every layer. Raises: UserError where even that is over the budget.
    """
    unit = costs.unit_costs(budget)
    limit = math.floor(left * costs.dense_total(budget)) - unit.fixed
    share = min(1.0, max(0.0, limit / max(1, _original_total(original, costs, budget))))
    widest, most = max(original.neurons, default=0), max(original.heads, default=0)

    def with_heads(count: int) -> tuple[int, ...]:
        return tuple(
            min(n, max(1, round(count * h / max(most, 1)))) for n, h in zip(now.heads, original.heads, strict=True)
        )

    def used_by(heads: tuple[int, ...]) -> int:
        return sum(n * cost for n, cost in zip(heads, unit.heads, strict=True))

    fitting = (heads for count in range(round(share * most), -1, -1) if used_by(heads := with_heads(count)) <= limit)
    chosen = next(fitting, None)
    if chosen is None:
        raise UserError(f"So small a share of the {budget} is out of reach: a head stays in every layer. Keep more.")
    used = used_by(chosen)

    def with_neurons(width: int) -> tuple[int, ...]:
        return tuple(min(n, width * f // max(widest, 1)) for n, f in zip(now.neurons, original.neurons, strict=True))

    low, high = 0, widest
    while low < high:  # the largest width, in neurons of the widest row, that fits
        middle = (low + high + 1) // 2
        fits = used + sum(n * cost for n, cost in zip(with_neurons(middle), unit.neurons, strict=True)) <= limit
        low, high = (middle, high) if fits else (low, middle - 1)
    return chosen, with_neurons(low)


def _original_total(original: Shape, costs: CostModel, budget: Budget) -> int:
    """What the original's heads and neurons would cost at the costs of what is left."""
    unit = costs.unit_costs(budget)
    counts = zip((*original.heads, *original.neurons), (*unit.heads, *unit.neurons), strict=True)
    return sum(count * cost for count, cost in counts)
