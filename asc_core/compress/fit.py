"""Sums over tokens from which a readout's columns can be solved for, however many tokens there were."""

from __future__ import annotations

from typing import Any

import torch


class Fit:
    """Sums for a linear regression of targets (n, d) on inputs (n, columns), the last of them 1 if it has a bias."""

    def __init__(self, bias: bool = True) -> None:
        self.bias = bias
        self.moments: Any = 0.0  # (columns, columns)
        self.cross: Any = 0.0  # (columns, d)
        self.square = 0.0
        self.rows = 0

    def add(self, inputs: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> None:
        """inputs: (n, columns without the 1). targets: (n, d). weights: (n,), how much a row counts."""
        a = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1) if self.bias else inputs
        weighted = a * weights[:, None]
        self.moments = self.moments + weighted.T @ a
        self.cross = self.cross + weighted.T @ targets
        self.square += float((targets.square().sum(1) * weights).sum())
        self.rows += len(inputs)

    @staticmethod
    def of_columns(moments: torch.Tensor, cross: torch.Tensor, whole: torch.Tensor, kept: torch.Tensor) -> Fit:
        """Of the kept columns towards what all of them write. moments: (all, all). cross: (all, d) moments @ whole."""
        fit = Fit()
        fit.moments, fit.cross = moments[kept[:, None], kept], cross[kept]
        fit.square, fit.rows = float((whole * cross).sum(dtype=torch.float64)), 1
        return fit

    def __add__(self, other: Fit) -> Fit:
        both = Fit(self.bias)
        both.moments, both.cross = self.moments + other.moments, self.cross + other.cross
        both.square, both.rows = self.square + other.square, self.rows + other.rows
        return both

    def error(self, solution: torch.Tensor) -> float:
        """Sum of squares that a solution, (columns, d), leaves."""
        explained = (solution * (self.moments @ solution - 2 * self.cross)).sum(dtype=torch.float64)
        return max(self.square + float(explained), 0.0)

    def ridge(self, start: torch.Tensor, strength: float) -> torch.Tensor:
        """The solution that is drawn towards `start`, not towards 0; `start` itself where float32 cannot tell columns
        apart at this strength."""
        moments = self.moments
        damping = strength * moments.diagonal().mean().clamp_min(1e-12)
        factor, failed = torch.linalg.cholesky_ex(moments + damping * torch.eye(len(moments), device=moments.device))
        if failed:
            return start
        return start + torch.cholesky_solve(self.cross - moments @ start, factor)

    def scale(self, start: torch.Tensor) -> torch.Tensor:
        """`start` times the number that fits best."""
        product = (start * (self.moments @ start)).sum()
        return start * ((start * self.cross).sum() / product.clamp_min(1e-12))
