"""Give the numbers of a matrix other values, column by column, and let the columns that are left make up for it.

With W (rows, columns) and H the second moment of its inputs, what a change D of W does to its outputs is tr(D H D^T),
for each row by itself. When a column is given other values, the best answer of the columns behind it is closed-form
(optimal brain surgeon, Hassibi and Stork 1993), and all that is needed of H lies in the Cholesky factor of its inverse
(GPTQ, Frantar et al. 2022, arXiv 2210.17323, section 3): H^-1 = U^T U with U upper triangular, whose row j says what
the columns behind j do for a change in column j. What the values are is another matter: codes of a few bits there,
zeros in SparseGPT (Frantar and Alistarh 2023, arXiv 2301.00774), both here as a `ColumnRule`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

import torch

BLOCK = 128  # columns after which the ones behind hear of it: fewer and larger products (GPTQ, section 3, step 2)
DAMPING = 0.01  # of the mean of H's diagonal


class ColumnRule(Protocol):
    """What becomes of a column. group: columns that are looked at together before the first of them is due, None =
    each by itself."""

    group: int | None

    def begin(self, numbers: torch.Tensor, columns: torch.Tensor, pivots: torch.Tensor) -> None:
        """numbers: (n,) which columns, at most `group`. columns: (rows, n) what they are by now. pivots: (n,), by which
        a column's change is divided for the root of what it costs, once all behind it made up for it."""

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        """(rows,) what a column becomes that is (rows,) by now."""


def error_of(change: torch.Tensor, moments: torch.Tensor) -> float:
    """tr(D H D^T) of a change (rows, columns): the mean square of what it does to the outputs, summed over them."""
    change = change.to(moments.dtype)
    return float(((change @ moments) * change).sum())


def inverse_factor(moments: torch.Tensor) -> torch.Tensor:
    """U (columns, columns), upper triangular, U^T U = (H + a little)^-1, in double precision.

    Inputs that the texts never showed have a row of zeros in H: the damping makes the inverse exist, and as much more
    of it is taken as rounding errors ask for.
    """
    moments = moments.double()
    identity = torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
    damping = DAMPING * float(moments.diagonal().mean().clamp_min(1e-30)) if len(moments) else 0.0
    while True:
        left, failed = torch.linalg.cholesky_ex(moments + damping * identity)
        if not failed:
            inverse = torch.cholesky_inverse(left)
            upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
            if not failed:
                return upper
        damping *= 10


def heaviest_first(moments: torch.Tensor) -> torch.Tensor:
    """(columns,) column numbers, those of the largest inputs first: their errors find the most columns behind them
    (GPTQ's code, "act-order")."""
    return moments.diagonal().argsort(descending=True, stable=True)


def in_turn(
    matrix: torch.Tensor, moments: torch.Tensor, rule: ColumnRule, order: torch.Tensor | None = None
) -> torch.Tensor:
    """(rows, columns) of values that the rule gave, double precision.

    moments: (columns, columns), H. order: (columns,) in which columns are due, None = as they stand.
    """
    order = torch.arange(matrix.shape[1], device=matrix.device) if order is None else order
    left, upper = matrix.detach().double()[:, order], inverse_factor(moments[order][:, order])
    pivots, names = upper.diagonal(), order.tolist()
    found, count = torch.empty_like(left), left.shape[1]
    for first, last in _blocks(count, rule.group):
        errors = torch.empty_like(left[:, first:last])
        for number in range(first, last):
            if rule.group is not None and number % rule.group == 0:
                group = slice(number, min(count, number + rule.group))
                rule.begin(order[group], left[:, group], pivots[group])
            found[:, number] = rule.column(names[number], left[:, number])
            error = (left[:, number] - found[:, number]) / pivots[number]
            left[:, number + 1 : last] -= torch.outer(error, upper[number, number + 1 : last])
            errors[:, number - first] = error
        left[:, last:] -= errors @ upper[first:last, last:]
    return torch.empty_like(found).index_copy_(1, order, found)


def _blocks(count: int, group: int | None) -> Iterator[tuple[int, int]]:
    """Of columns; each group begins with a block or lies in one, so that what is looked at has heard of all before."""
    if group is None or group >= BLOCK:
        starts = {*range(0, count, BLOCK), *range(0, count, group or count or 1)}
    else:
        starts = {*range(0, count, BLOCK // group * group)}
    bounds = [*sorted(starts), count]
    yield from pairwise(bounds)
