"""Re-estimation of a norm's scale and shift behind a repaired readout.

What a regression puts into the residual stream varies less than what the original had there, since what it cannot
foresee it leaves out. A LayerNorm divides by the deviation that is left, and so writes too much, in some features more
than in others. Scale and shift are fitted again, feature by feature, so that the norm writes what the original's norm
makes of the original's residual sum; where texts that were held out say that this does not help, they stay.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.nn import functional

TOKENS = 8192  # that a norm is fitted to: two numbers a feature need no more, and each takes passes over memory


@dataclass
class Line:
    """Sums over tokens for a regression, feature by feature, of what a norm misses, r, on what it scales, x: (d,)."""

    weight: Any = 0.0
    x: Any = 0.0
    r: Any = 0.0
    xx: Any = 0.0
    xr: Any = 0.0
    rr: Any = 0.0

    @staticmethod
    def of(x: torch.Tensor, r: torch.Tensor, weights: torch.Tensor) -> list[Line]:
        """One for each row of weights. x, r: (n, d). weights: (lines, n), how much a token counts."""
        products = [(weights @ values).double() for values in (x, r, x * x, x * r, r * r)]
        return [Line(*sums) for sums in zip(weights.sum(1), *products, strict=True)]

    def __add__(self, other: Line) -> Line:
        return Line(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Line)))

    def error(self, scale: Any = 0.0, shift: Any = 0.0) -> float:
        """What is still missed, a weighted sum of squares, with these added to the norm's scale and shift."""
        explained = scale * (scale * self.xx + 2 * shift * self.x - 2 * self.xr)
        return float((self.rr + explained + shift * (shift * self.weight - 2 * self.r)).sum())

    def solved(self, shifts: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """(scale, shift) to add, of least error. shifts: whether the norm has a shift; else it is 0."""
        mean = self.x / self.weight if shifts else torch.zeros_like(self.x)
        scale = (self.xr - mean * self.r) / (self.xx - mean * self.x).clamp_min(1e-12)
        return scale, (self.r - scale * self.x) / self.weight if shifts else torch.zeros_like(scale)


class NormFit:
    """norm: of the cut model. original: the norm there in the original, with its own scale and shift."""

    def __init__(self, norm: nn.LayerNorm, original: nn.LayerNorm):
        self.norm, self.original = norm, original
        self.fitted, self.held_out = Line(), Line()

    def add(self, sums: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor, held_out: torch.Tensor) -> None:
        """sums: (n, d) the residual sums that the cut model has; wanted: those of the original. weights: (n,), 0 at
        padding. held_out: (n,) bool."""
        x = functional.layer_norm(sums, self.norm.normalized_shape, eps=self.norm.eps)
        scaled = x * self.norm.weight if self.norm.bias is None else torch.addcmul(self.norm.bias, x, self.norm.weight)
        r = self.original(wanted) - scaled
        fitted, apart = Line.of(x, r, torch.stack([weights * ~held_out, weights * held_out]))
        self.fitted, self.held_out = self.fitted + fitted, self.held_out + apart

    def best(self) -> tuple[torch.Tensor, torch.Tensor | None] | None:
        """(scale, shift) of the norm, fitted to all texts; None where held-out texts say that it should stay."""
        shifts = self.norm.bias is not None
        if not (self.fitted.weight and self.held_out.weight):
            return None
        if self.held_out.error(*self.fitted.solved(shifts)) >= self.held_out.error():
            return None
        scale, shift = (self.fitted + self.held_out).solved(shifts)
        weight = self.norm.weight + scale.to(self.norm.weight.dtype)
        return weight, self.norm.bias + shift.to(weight.dtype) if shifts else None
