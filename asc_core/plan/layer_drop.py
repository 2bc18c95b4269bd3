"""Which layers go, by their position alone: the strategies of Sajjad et al. 2020/2023, arXiv 2004.03844, section 3.

They are data-free, which makes them the baseline that a data-driven choice of layers has to beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from asc_core.errors import UserError
from asc_core.plan.cost import Budget, CostModel
from asc_core.values import Plan, Provenance, Shape

Strategy = Literal["top", "bottom", "alternate", "symmetric"]
STRATEGIES: tuple[str, ...] = get_args(Strategy)


def dropped(layers: int, count: int, strategy: Strategy) -> tuple[int, ...]:
    """The layers (0-based) that go when `count` of them do.

    top: the last ones. bottom: the first ones. alternate: every other one, counted from the last but one downwards,
    then the rest from the top. symmetric: those in the middle, the upper one first where two are as near.
    Raises: UserError for an unknown strategy, or where no layer would be left.
    """
    if strategy not in STRATEGIES:
        raise UserError(f"There is no strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}.")
    if not 0 <= count < layers:
        raise UserError(f"Of {layers} layers 0 to {layers - 1} can go, not {count}.")
    from_top = list(range(layers - 1, -1, -1))
    if strategy == "top":
        order = from_top
    elif strategy == "bottom":
        order = from_top[::-1]
    elif strategy == "alternate":
        order = from_top[1::2] + from_top[0::2]
    else:
        order = sorted(from_top, key=lambda layer: abs(layer - (layers - 1) / 2))
    return tuple(sorted(order[:count]))


def by_layer_drop(
    shape: Shape, cost_model: CostModel, keep: float, strategy: Strategy, budget: Budget = "flops"
) -> Plan:
    """The largest model that a strategy gives within a budget. keep: share of the whole encoder's cost.

    Raises: UserError where one layer alone is over it.
    """
    gone = [dropped(shape.layers, count, strategy) for count in range(shape.layers)]
    return fewest_dropped(cost_model, keep, gone, strategy, budget)


def fewest_dropped(
    cost_model: CostModel, keep: float, gone: Sequence[Sequence[int]], name: str, budget: Budget = "flops"
) -> Plan:
    """The first of several sets of layers to drop that is within a budget. name: how they were chosen.

    Raises: UserError where none is.
    """
    shape = cost_model.shape
    whole, limit = Plan.full(shape), cost_model.limit(keep, budget)
    for layers in gone:
        stay = tuple(layer for layer in range(shape.layers) if layer not in layers)
        rule = f"drop {len(layers)} layers, {name} (keep {keep:.4g} of the {budget})"
        plan = Plan(shape, whole.heads, whole.neurons, stay, Provenance(method=f"{name} layers", rule=rule))
        if cost_model.total(plan, budget) <= limit:
            return plan
    raise UserError(f"One layer alone is more than {keep:.4g} of the {budget}.")
