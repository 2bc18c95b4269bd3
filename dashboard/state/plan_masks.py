"""What of a plan runs in the cut model, row by row of the encoder's weights."""

from __future__ import annotations

import numpy as np

from asc_core.plan import Part
from asc_core.values import Plan


def running_rows(plan: Plan) -> set[int]:
    """The rows that a kept layer uses."""
    return {plan.shape.rows[layer] for layer in plan.layers}


def heads_kept(plan: Plan) -> np.ndarray:
    """(rows, most heads of a row) bool: which heads run in the cut model; none in a row that no kept layer uses."""
    shape = plan.shape
    kept = np.zeros((len(shape.heads), max(shape.heads, default=0)), dtype=bool)
    for row in running_rows(plan):
        kept[row, list(plan.heads[row])] = True
    return kept


def ffn_share(plan: Plan, row: int) -> float:
    """The share of a row's neurons that runs."""
    count = plan.shape.neurons[row]
    return len(plan.neurons[row]) / count if count and row in running_rows(plan) else 0.0


def layer_share(plan: Plan, row: int) -> float:
    """The share of the layers with this row's weights that runs."""
    of_row = [layer for layer, used in enumerate(plan.shape.rows) if used == row]
    return sum(layer in plan.layers for layer in of_row) / max(len(of_row), 1)


def keeps(plan: Plan, part: Part) -> bool:
    if part.kind == "heads":
        return bool(heads_kept(plan)[part.row, part.number or 0])
    if part.kind == "ffn":
        return part.row in running_rows(plan) and bool(plan.neurons[part.row])
    return part.row in plan.layers
