"""One encoder's shape for several applications: what each loses when parts are kept for all of them.

All applications' models are cut by one plan, made from their combined scores (`plan.combined_scores`), and repaired on
texts of all. Moving the weight from one application to another trades what they lose: the trade-off curve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asc_core.errors import UserError
from asc_core.evaluate import estimate
from asc_core.plan.combined_scores import Reduction
from asc_core.recipes.transfer_matrix import TransferMatrix
from asc_core.values import Estimate, Plan


@dataclass(frozen=True)
class JointPoint:
    """weights: of the applications, in their order. estimates: of each under the plan, paired with its original."""

    weights: tuple[float, ...]
    reduce: Reduction
    plan: Plan
    estimates: tuple[Estimate, ...]


def joint_point(matrix: TransferMatrix, weights: Sequence[float], reduce: Reduction = "max") -> JointPoint:
    """What all applications of a matrix lose under one plan, within its budget. Raises: UserError, Cancelled."""
    plan = matrix.shared_plan(reduce, weights)
    found = []
    for column in matrix.applications:
        measured = matrix.measured(matrix.cut_by(plan, matrix.all_texts, column), column)
        found.append(estimate(measured, column.task.metric, matrix.original(column)))
    return JointPoint(tuple(weights), reduce, plan, tuple(found))


def pareto_between_tasks(matrix: TransferMatrix, points: int = 5, reduce: Reduction = "sum") -> Iterator[JointPoint]:
    """From all the weight on the first of two applications to all of it on the second; of more, each in turn against
    equal weights of the others. points: 2 or more for each application. Raises: UserError for fewer."""
    if points < 2:
        raise UserError(f"A curve has 2 points or more, not {points}.")
    count = len(matrix.applications)
    turns = [0] if count == 2 else range(count)
    for turn in turns:
        for step in range(points):
            mine = 1 - step / (points - 1)
            weights = [(1 - mine) / (count - 1)] * count
            weights[turn] = mine
            yield joint_point(matrix, weights, reduce)
