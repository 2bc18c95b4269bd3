"""Whole layers under a budget: as many as fit, chosen by score, by ASC's rule, or by number of iterations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asc_core.errors import UserError
from asc_core.plan import knapsack, multiple_choice_knapsack
from asc_core.plan.knapsack import Items
from asc_core.plan.multiple_choice_knapsack import Group
from asc_core.plan.parts import ManualEdits, first_iterations, flat_scores
from asc_core.plan.thresholds import asc_similarity, redundant_layers
from asc_core.values import Scores

CostOf = Callable[[np.ndarray], np.ndarray]
"""From (layers,) bool, the layers that run, to the costs of the whole model, (budgets,) int64."""


def smallest_depth(scores: Scores, edits: ManualEdits, cost_of: CostOf) -> np.ndarray | None:
    """(budgets,) the least that `layers_within` can reach, each by itself; None where every layer is cut by hand."""
    if _has_removal_order(scores):
        reached = [cost_of(layers) for layers, _ in _choices(scores, edits)]
    else:
        reached = [cost_of(layers) for layers in _shallowest(edits, cost_of)]
    return np.min(reached, axis=0) if reached else None


def layers_within(scores: Scores, edits: ManualEdits, cost_of: CostOf, limits: np.ndarray) -> tuple[np.ndarray, str]:
    """((layers,) bool, how they were chosen): the layers that stay. limits: (budgets,), at least `smallest_depth`.

    Raises: UserError where each limit can be reached, but not all at once.
    """
    if _has_removal_order(scores):
        steps = [(cost_of(layers), layers, how) for layers, how in _choices(scores, edits)]
        within = [step for step in steps if (step[0] <= limits).all()]
        if not within:
            raise UserError("No choice of layers is within all of the budgets at once; give more of one of them.")
        _, layers, how = max(within, key=lambda step: float((step[0] / np.maximum(limits, 1)).max()))
        return layers, how
    none = np.zeros(scores.shape.layers, dtype=bool)
    each = np.array([cost_of(layer) - cost_of(none) for layer in np.eye(scores.shape.layers, dtype=bool)])
    layers = (edits.held_layers | (each == 0).all(1)) & ~edits.remove.layers
    free = np.flatnonzero(~layers & ~edits.remove.layers)
    values, room = flat_scores(scores, "layers")[free], limits - cost_of(layers)
    if len(limits) == 1:
        taken, _ = knapsack.solve(Items(values, each[free, 0]), Items.none(), int(room[0]))
    else:
        groups = [
            Group(np.array([0.0, max(value, 0.0)]), np.stack([np.zeros_like(cost), cost]))
            for value, cost in zip(values, each[free], strict=True)
        ]
        taken = np.array(multiple_choice_knapsack.solve(groups, room), dtype=bool)
    layers[free[taken]] = True
    return layers, "highest total score of layers"


def _has_removal_order(scores: Scores) -> bool:
    """Whether there is a given order in which the layers go."""
    return scores.shape.shares_weights or scores.similarity is not None


def _choices(scores: Scores, edits: ManualEdits) -> list[tuple[np.ndarray, str]]:
    """The sets of layers that the removal order gives, and how each was chosen."""
    shape = scores.shape
    if shape.shares_weights:
        counts = range(1, shape.layers // len(shape.heads) + 1)
        return [(edits.layers(first_iterations(shape, n)), "as many iterations of the layers as fit") for n in counts]
    matrix = asc_similarity(scores)
    choices = []
    for threshold in [np.inf, *np.unique(matrix[np.triu_indices(len(matrix), 1)])[::-1]]:
        layers = ~redundant_layers(matrix, threshold, exact=True, kept=edits.held_layers, cut=edits.remove.layers)
        if not layers.any():
            free = np.flatnonzero(~edits.remove.layers)
            if free.size:  # a depth that the rule does not give: the layer least like the embedding output stays
                layers[free[np.argmin(matrix[0, 1:][free])]] = True
        if layers.any():
            choices.append((layers, f"ASC greedy, similarity >= {threshold:.6g}"))
    return choices


def _shallowest(edits: ManualEdits, cost_of: CostOf) -> list[np.ndarray]:
    """The layers kept by hand, or where there are none each single layer that may stay."""
    if edits.held_layers.any():
        return [edits.held_layers]
    return [layer for layer in np.eye(edits.shape.layers, dtype=bool) if not (layer & edits.remove.layers).any()]
