"""Least squares for rows that many lines share: codebooks, of which each line sums some entries, and pools of hashing.

Lines x_n with weights w_n are to be sum_j f_nj P[r_nj]; the rows P are sought. A few thousand rows have normal
equations that are solved at once; more are found by conjugate gradients (Hestenes and Stiefel 1952), which do without
the products of all with all. Neither makes the error larger than it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

SOLVED_AT_ONCE = 4096  # rows: 130 MB of products
RIDGE = 1e-6  # of a row's own square: what codebooks could add to each other and take away again stays as it was
STEPS = 12
LINES = 1024  # at a time: what a processor holds near itself
COLUMNS = 128  # at a time, for the memory of a few copies of the lines


def summed_rows(rows: torch.Tensor, named: torch.Tensor, factors: torch.Tensor | None = None) -> torch.Tensor:
    """(n, width): sum_j factors[:, j] rows[named[:, j]]. rows: (p, width). named: (n, k). factors: (n, k), None = 1."""
    found = rows.new_zeros(len(named), rows.shape[1])
    for first in range(0, len(named), LINES):
        some = slice(first, first + LINES)
        own, at = found[some], named[some]
        for place in range(named.shape[1]):
            part = rows[at[:, place]]
            own += part if factors is None else part * factors[some, place, None]
    return found


def fitted_rows(
    lines: torch.Tensor,
    weights: torch.Tensor,
    named: torch.Tensor,
    start: torch.Tensor,
    factors: torch.Tensor | None = None,
) -> torch.Tensor:
    """(p, width) of less weighted squared error than `start`, or as much. lines: (n, width). weights: (n,) above 0."""
    problem = _Problem(weights, named, factors, len(start))
    products = problem.products() if len(start) <= SOLVED_AT_ONCE else None
    found = []
    for some, begin in zip(lines.split(COLUMNS, 1), start.split(COLUMNS, 1), strict=True):
        left = some - summed_rows(begin, named, factors)
        change = problem.descended(left) if products is None else problem.solved(left, products)
        found.append(begin + change)
    return torch.cat(found, 1)


@dataclass(frozen=True)
class _Problem:
    """In units in which each row's own square is 1 (Jacobi's preconditioner): some rows have many lines, some few."""

    weights: torch.Tensor
    named: torch.Tensor
    factors: torch.Tensor | None
    rows: int

    @property
    def unit(self) -> torch.Tensor:
        """(p, 1), 0 of a row that no line names."""
        squares = None if self.factors is None else self.factors.square()
        use = self._back(self.weights[:, None], squares)
        return use.clamp_min(1e-30).rsqrt() * (use > 0)

    def products(self) -> torch.Tensor:
        """(p, p) double, of all rows with all."""
        found = torch.zeros(self.rows * self.rows, dtype=torch.float64)
        weights = self.weights.double()[:, None].expand(self.named.shape)
        for place in range(self.named.shape[1]):
            both = weights if self.factors is None else weights * self.factors[:, place, None] * self.factors
            found.index_add_(0, (self.rows * self.named[:, place, None] + self.named).flatten(), both.flatten())
        return found.unflatten(0, (self.rows, self.rows))

    def solved(self, left: torch.Tensor, products: torch.Tensor) -> torch.Tensor:
        unit = self.unit.double()
        scaled = unit * products * unit.T
        scaled.diagonal().add_(torch.where(unit[:, 0] > 0, RIDGE, 1.0))
        wanted = unit * self._back(self.weights[:, None] * left, self.factors).double()
        return (unit * torch.cholesky_solve(wanted, torch.linalg.cholesky(scaled))).to(left.dtype)

    def descended(self, left: torch.Tensor) -> torch.Tensor:
        unit, roots = self.unit, self.weights.sqrt()[:, None]
        left = roots * left
        downhill = unit * self._back(roots * left, self.factors)
        found, way, size = torch.zeros_like(downhill), downhill, downhill.square().sum(0)
        least = 1e-10 * size
        for _ in range(STEPS):
            change = unit * way
            seen = roots * summed_rows(change, self.named, self.factors)
            far = torch.where(size > least, size / seen.square().sum(0).clamp_min(1e-30), 0.0)
            found += far * change
            left = left - far * seen
            downhill = unit * self._back(roots * left, self.factors)
            new = downhill.square().sum(0)
            way, size = downhill + new / size.clamp_min(1e-30) * way, new
        return found

    def _back(self, lines: torch.Tensor, factors: torch.Tensor | None) -> torch.Tensor:
        """(p, width): what each row has of lines (n, width), the transpose of `summed_rows`."""
        found = lines.new_zeros(self.rows, lines.shape[1])
        for place in range(self.named.shape[1]):
            found.index_add_(0, self.named[:, place], lines if factors is None else lines * factors[:, place, None])
        return found
