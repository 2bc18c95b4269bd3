"""Training with matrices as they will be in few bits: rounded in every pass, while what learns is not.

The rounded numbers go forward, and the gradient passes the rounding as if it were not there (the straight-through
estimator, Bengio et al. 2013, arXiv 1308.3432, section 4). What a matrix becomes is a function of its numbers alone:
the scale of a group is its root mean square, rounded as `modeling/packed.py` stores it, and the levels, in units of it,
are the means that k-means found before training; at one bit these are the binary weights of Rastegari et al. (2016,
arXiv 1603.05279, section 3.1), by groups. So the codes that are stored at the end are those of the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asc_core import modeling
from asc_core.compress.low_bits import Codes, between, in_groups, means
from asc_core.encoder import Encoder
from asc_core.modeling.packed import FINENESS, NOTHING, scales_of

ROOM = 4.0  # of the largest scale over the largest root mean square, since groups grow while they learn
NUMBERS = 1 << 18  # that levels are found on


@dataclass(frozen=True)
class Rounding:
    """What a matrix becomes. units: (2^bits,) levels in root mean squares of a group, ascending. top: the scale that
    byte 0 stands for."""

    form: modeling.Form
    units: torch.Tensor
    top: float

    @staticmethod
    def of(matrix: torch.Tensor, form: modeling.Form) -> Rounding:
        """By the numbers of a matrix (rows, columns)."""
        assert form.group is not None
        grouped, real = in_groups(form.lines(matrix.detach().cpu()).double(), form.group)
        sizes = _root_mean_squares(grouped, real)
        there = real & (sizes > 0)
        numbers, cost = (grouped / sizes.clamp_min(1e-300))[there], sizes.square().expand_as(grouped)[there]
        some = numbers.argsort()[:: -(-len(numbers) // NUMBERS) or 1]
        largest = float(sizes.max()) if sizes.numel() else 0.0
        return Rounding(
            form, means(numbers[some], cost[some], _spread(numbers[some], form.bits)), ROOM * largest or 1.0
        )

    @property
    def levels(self) -> torch.Tensor:
        """(2^bits,) float32, as they are stored."""
        return (self.units * self.top).float()

    def codes(self, matrix: torch.Tensor) -> Codes:
        """Of a matrix (rows, columns), on its device."""
        assert self.form.group is not None
        lines, levels = self.form.lines(matrix), self.levels.to(matrix.device)
        grouped, real = in_groups(lines, self.form.group)
        sizes = _root_mean_squares(grouped, real)
        scales = (-FINENESS * torch.log2((sizes / self.top).clamp_min(1e-30))).round().clamp(0, NOTHING - 1)
        scales = torch.where(sizes > 0, scales, NOTHING).to(torch.uint8)
        steps = (grouped / scales_of(scales).clamp_min(1e-30)).contiguous()
        codes = torch.bucketize(steps, between(levels)).to(torch.uint8)
        return Codes(codes.flatten(1)[:, : lines.shape[1]], scales[..., 0], levels, self.form.group)

    def values(self, matrix: torch.Tensor) -> torch.Tensor:
        """(rows, columns) as decoded. Its gradient is that of the matrix."""
        with torch.no_grad():
            rounded = self.form.lines(self.codes(matrix).values())
        return matrix + (rounded - matrix).detach() if matrix.requires_grad else rounded


class RoundedLinear(nn.Linear):
    """A linear in training that multiplies by what its matrix will be. Made of one in place, by `rounded`."""

    rounding: Rounding
    _kept: tuple[int, torch.Tensor] | None = None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self._values(), self.bias)

    def _values(self) -> torch.Tensor:
        """Rounded anew in each step of training; once for all batches between two."""
        if torch.is_grad_enabled() and self.weight.requires_grad:
            return self.rounding.values(self.weight)
        if self._kept is None or self._kept[0] != self.weight._version:
            self._kept = self.weight._version, self.rounding.values(self.weight.detach())
        return self._kept[1]


class RoundedEmbedding(nn.Embedding):
    """A table in training, of which the rows that are asked for are rounded."""

    rounding: Rounding

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = super().forward(ids)
        return self.rounding.values(rows.flatten(0, -2)).view_as(rows)


def roundings(encoder: Encoder, entry: Mapping[str, Any], names: list[str]) -> dict[str, list[Rounding]]:
    """Of each of some matrices (see `modeling.quantizable`), one for each of its parts. entry: of the structure."""
    able = modeling.quantizable(encoder.model, outside=True)
    return {
        name: [
            Rounding.of(part.weight, modeling.Form.of(encoder.model, name, entry))
            for part, _ in modeling.parts_of(able[name], able[name])
        ]
        for name in names
    }


def rounded(encoder: Encoder, known: Mapping[str, list[Rounding]]) -> Encoder:
    """A copy whose matrices are rounded in each pass; its tensors are the encoder's."""
    made = encoder.copy()
    for part, rounding in _parts(made, known):
        part.__class__ = RoundedLinear if modeling.is_matrix(part) else RoundedEmbedding
        part.rounding = rounding
    return made


def plain(encoder: Encoder) -> None:
    """Take the rounding out again, in place."""
    module: Any
    for module in encoder.model.modules():
        if isinstance(module, RoundedLinear | RoundedEmbedding):
            for name in ("rounding", "_kept"):
                vars(module).pop(name, None)
            of: type[nn.Module] = nn.Embedding if isinstance(module, RoundedEmbedding) else nn.Linear
            module.__class__ = of  # type: ignore[assignment]


def coded(encoder: Encoder, known: Mapping[str, list[Rounding]]) -> dict[str, nn.Module]:
    """What stands in place of each matrix of a plain encoder."""
    able = modeling.quantizable(encoder.model, outside=True)
    found = {}
    for name, of_parts in known.items():
        made = modeling.empty_module(able[name], of_parts[0].form)
        for (old, new), rounding in zip(modeling.parts_of(able[name], made), of_parts, strict=True):
            values = rounding.codes(old.weight.detach()).stored(rounding.form.bits)
            if getattr(old, "bias", None) is not None:
                values["bias"] = old.bias.detach()
            for tensor, value in values.items():
                setattr(new, tensor, nn.Parameter(value, requires_grad=False))
        found[name] = made
    return found


def _parts(encoder: Encoder, known: Mapping[str, list[Rounding]]) -> list[tuple[Any, Rounding]]:
    able = modeling.quantizable(encoder.model, outside=True)
    return [
        (part, rounding)
        for name, of_parts in known.items()
        for (part, _), rounding in zip(modeling.parts_of(able[name], able[name]), of_parts, strict=True)
    ]


def _root_mean_squares(grouped: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """(lines, groups, 1)"""
    return (grouped.square().sum(-1, keepdim=True) / real.sum(-1, keepdim=True)).sqrt()


def _spread(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """(2^bits,) quantiles at equal distances, of ascending numbers: where k-means begins."""
    if not len(numbers):
        return torch.linspace(-1, 1, 1 << bits, dtype=torch.float64)
    places = (torch.arange(1 << bits) + 0.5) / (1 << bits) * len(numbers)
    return numbers[places.long()].double()
