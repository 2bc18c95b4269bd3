"""Which codes, scales and levels stand for a matrix in a few bits (see `modeling/packed.py`), and how they are found.

Levels are even or found by k-means over the matrix's numbers, each divided by its group's scale (Han et al. 2016,
arXiv 1510.00149, section 3). A scale is one of those at and below the group's largest number, that of the least squared
error: to cut off the few largest numbers makes the steps of all others smaller. Codes are the nearest ones, or chosen
in turn so that columns make up for the errors of those before them (`second_order.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from asc_core import modeling
from asc_core.compress.linear_statistics import MatrixStatistics
from asc_core.compress.second_order import error_of, heaviest_first, in_turn
from asc_core.encoder import Encoder
from asc_core.modeling.packed import FINENESS, NOTHING, packed, scales_of
from asc_core.modeling.quantize import LARGEST, Form, quantized

TRIED, APART = 8, 2  # scales below the largest number, in steps of `FINENESS`: down to 0.55 of it
ROOM = 2.0  # of the largest scale over the largest number, since columns grow while they make up for others
LINES = 512  # at a time, for the memory of all scales that are tried
KMEANS_ROUNDS, KMEANS_NUMBERS = 25, 1 << 20


@dataclass(frozen=True)
class Codes:
    """codes: (lines, width) uint8. scales: (lines, groups) uint8. levels: (2^bits,)."""

    codes: torch.Tensor
    scales: torch.Tensor
    levels: torch.Tensor
    group: int

    def stored(self, bits: int) -> dict[str, torch.Tensor]:
        """The tensors of a `PackedLinear` or `PackedEmbedding`."""
        return {"codes": packed(self.codes, bits), "scales": self.scales, "levels": self.levels}

    def values(self) -> torch.Tensor:
        """(lines, width)"""
        scales = scales_of(self.scales).to(self.levels.dtype).repeat_interleave(self.group, 1)
        return self.levels[self.codes.int()] * scales[:, : self.codes.shape[1]]


def even_levels(bits: int) -> torch.Tensor:
    """(2^bits,) from -1 to 1, symmetric: 0 is between two of them, since every code is needed where there are few."""
    return torch.linspace(-1, 1, 1 << bits, dtype=torch.float64)


def kmeans_levels(lines: torch.Tensor, bits: int, group: int, weights: torch.Tensor | None = None) -> torch.Tensor:
    """(2^bits,) ascending, of numbers (lines, width) divided by the largest of their group.

    weights: (lines, width) what a squared error of each costs, None = the same.
    """
    grouped, real = in_groups(lines.double(), group)
    largest = grouped.abs().amax(-1, keepdim=True)
    there = real & (largest > 0)
    cost = largest.square().expand_as(grouped)
    if weights is not None:
        cost = cost * in_groups(weights.double(), group)[0]
    numbers, cost = (grouped / largest)[there], cost[there]
    order = numbers.argsort()
    some = order[:: -(-len(order) // KMEANS_NUMBERS) or 1]
    return means(numbers[some], cost[some], even_levels(bits))


def means(numbers: torch.Tensor, cost: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """(k,) ascending: k-means in one dimension from these levels. cost: of the squared error of each number."""
    if not len(numbers):
        return levels
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.bucketize(numbers, between(levels))
        held = torch.zeros_like(levels).index_add_(0, nearest, cost)
        summed = torch.zeros_like(levels).index_add_(0, nearest, cost * numbers)
        levels = torch.where(held > 0, summed / held.clamp_min(1e-300), levels).sort().values
    return levels


class Grid:
    """What numbers can become: levels times a scale. levels: (2^bits,) of numbers up to 1. largest: of the matrix."""

    def __init__(self, levels: torch.Tensor, largest: float):
        self.levels = (levels * largest * ROOM).float().double()  # as they will be stored
        self._top = float(self.levels.abs().max()) or 1.0
        self._between = between(self.levels)

    def nearest(self, numbers: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Codes, int64, of numbers; scales: what they are divided by, of the same shape or one that spreads to it."""
        return torch.bucketize((numbers / scales.clamp_min(1e-300)).contiguous(), self._between)

    def scales(self, numbers: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """(n,) uint8 for groups (n, k); real: (n, k) which numbers there are."""
        largest = numbers.abs().amax(1) / self._top
        first = (-FINENESS * torch.log2(largest.clamp_min(1e-300))).floor().clamp(0, NOTHING - 1)
        tried = (
            (first[:, None] + APART * torch.arange(TRIED, device=first.device)).clamp(max=NOTHING - 1).to(torch.uint8)
        )
        values = scales_of(tried).double()[..., None]  # (n, tried, 1)
        off = self.levels[self.nearest(numbers[:, None], values)] * values - numbers[:, None]
        if real is not None:
            off = off * real[:, None]
        best = off.square().sum(-1).argmin(1, keepdim=True)
        return torch.where(largest > 0, tried.gather(1, best)[:, 0], NOTHING)

    def rounded(self, lines: torch.Tensor, group: int) -> Codes:
        """The nearest codes of (lines, width)."""
        found = [self._rounded(some.double(), group) for some in lines.split(LINES)]
        codes, scales = (torch.cat(parts) for parts in zip(*found, strict=True))
        return Codes(codes, scales, self.levels.float(), group)

    def _rounded(self, lines: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor]:
        grouped, real = in_groups(lines, group)
        scales = self.scales(grouped.flatten(0, 1), real.flatten(0, 1)).unflatten(0, grouped.shape[:2])
        codes = self.nearest(grouped, scales_of(scales).double()[..., None])
        return codes.flatten(1)[:, : lines.shape[1]].to(torch.uint8), scales


def nearest_codes(lines: torch.Tensor, form: Form, levels: torch.Tensor) -> Codes:
    """lines: (lines, width). levels: of numbers up to 1."""
    assert form.group is not None
    return _grid(lines, levels).rounded(lines, form.group)


def second_order_codes(matrix: torch.Tensor, moments: torch.Tensor, form: Form, levels: torch.Tensor) -> Codes:
    """By GPTQ, or the nearest ones where those do less to the outputs. matrix: (rows, columns). moments: H."""
    assert form.group is not None
    lines = form.lines(matrix)
    grid, nearest = _grid(lines, levels), nearest_codes(lines, form, levels)
    rule: _ColumnsOfLines | _RowsOfLines
    rule = _ColumnsOfLines(grid, nearest) if form.by_columns else _RowsOfLines(grid, nearest)
    in_turn(matrix, moments, rule, heaviest_first(moments))
    found = Codes(rule.codes, rule.scales, nearest.levels, form.group)

    def error(codes: Codes) -> float:
        values = codes.values().double()
        return error_of(form.lines(values) - matrix.double(), moments.double())

    return min(found, nearest, key=error)


class _Single:
    """Columns that have nothing in common."""

    group: int | None = None

    def begin(self, numbers: torch.Tensor, columns: torch.Tensor, pivots: torch.Tensor) -> None:
        """Never called."""


class _RowsOfLines(_Single):
    """Lines are rows: columns have the scales that their groups had at first, so that they can be due in any order."""

    def __init__(self, grid: Grid, nearest: Codes):
        self.grid = grid
        self.codes, self.scales, self._group = torch.zeros_like(nearest.codes), nearest.scales, nearest.group
        self._scales = scales_of(nearest.scales).double()

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        scales = self._scales[:, number // self._group]
        codes = self.grid.nearest(values, scales)
        self.codes[:, number] = codes.to(torch.uint8)
        return self.grid.levels[codes] * scales


class _ColumnsOfLines(_Single):
    """Lines are columns: the scales for groups of a column's rows are chosen when it is due."""

    def __init__(self, grid: Grid, nearest: Codes):
        self.grid = grid
        self.codes, self.scales = torch.zeros_like(nearest.codes), torch.zeros_like(nearest.scales)
        self._group = nearest.group

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        found = self.grid.rounded(values[None], self._group)
        self.codes[number], self.scales[number] = found.codes[0], found.scales[0]
        scales = scales_of(found.scales[0]).double().repeat_interleave(self._group)[: len(values)]
        return self.grid.levels[found.codes[0].int()] * scales


class _Bytes(_Single):
    """int8 with a scale for each row, that of the row's largest number."""

    def __init__(self, matrix: torch.Tensor):
        _, self.scale = quantized(matrix)
        self.codes = torch.zeros(matrix.shape, dtype=torch.int8)

    def column(self, number: int, values: torch.Tensor) -> torch.Tensor:
        scale = self.scale.double()
        codes = (values / scale).round().clamp(-LARGEST, LARGEST)
        self.codes[:, number] = codes.to(torch.int8)
        return codes * scale


def second_order_bytes(matrix: torch.Tensor, moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `modeling.quantize.quantized`: (codes, scale), by GPTQ or the nearest where those do less to the outputs."""
    rule, nearest = _Bytes(matrix), quantized(matrix)
    in_turn(matrix, moments, rule, heaviest_first(moments))

    def error(found: tuple[torch.Tensor, torch.Tensor]) -> float:
        return error_of(found[0].double() * found[1].double()[:, None] - matrix.double(), moments.double())

    return min((rule.codes, rule.scale), nearest, key=error)


@dataclass(frozen=True)
class Coded:
    """Matrices as they would be, made once, so that many choices of them can be tried.

    entry: of the structure, but for its matrices. modules: name -> what would stand there.
    """

    entry: Mapping[str, Any]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)

    def encoder(self, encoder: Encoder, names: Sequence[str]) -> Encoder:
        """With the matrices of these names in codes."""
        able = modeling.quantizable(encoder.model, outside=True)
        paths = {id(module): path for path, module in encoder.model.named_modules()}
        tensors = {
            f"{paths[id(able[name])]}.{tensor}": values
            for name in names
            for tensor, values in self.modules[name].state_dict().items()
        }
        return encoder.with_structure({**self.entry, "matrices": list(names)}, tensors)


def coded_module(
    module: nn.Module, form: Form, kmeans: bool = False, known: Sequence[MatrixStatistics | None] = ()
) -> nn.Module:
    """What stands in place of one of `modeling.quantizable`, with its values.

    known: statistics of the matrix, or of both of its factors, by which codes are chosen in turn; none = the nearest.
    A bias takes over the mean of what that changes.
    """
    made = modeling.empty_module(module, form)
    parts = modeling.parts_of(module, made)
    for (old, new), statistics in zip(parts, known or [None] * len(parts), strict=True):
        _code(old, new, form, kmeans, statistics)
    return made


def _code(old: Any, new: Any, form: Form, kmeans: bool, known: MatrixStatistics | None) -> None:
    matrix, offset = old.weight.detach().cpu(), getattr(old, "bias", None)
    moments = None if known is None else known.moments(offset is not None).cpu()
    if form.group is None:
        codes, scale = quantized(matrix) if moments is None else second_order_bytes(matrix, moments)
        stored = {"codes": codes, "scale": scale}
    else:
        stored = _found(matrix, moments, form, kmeans).stored(form.bits)
    for name, values in stored.items():
        setattr(new, name, nn.Parameter(values.to(old.weight.device), requires_grad=False))
    if offset is not None:
        bias = offset.detach()
        if known is not None:
            bias = bias + (old.weight.detach() - modeling.matrix(new)) @ known.mean.to(bias)
        new.bias = nn.Parameter(bias, requires_grad=False)


def _found(matrix: torch.Tensor, moments: torch.Tensor | None, form: Form, kmeans: bool) -> Codes:
    assert form.group is not None
    lines, levels = form.lines(matrix), even_levels(form.bits)
    if kmeans:
        weights = None
        if moments is not None:
            weights = form.lines(moments.diagonal().expand_as(matrix))
        levels = kmeans_levels(lines, form.bits, form.group, weights)
    if moments is None or not matrix.numel():
        return nearest_codes(lines, form, levels)
    return second_order_codes(matrix, moments, form, levels)


def _grid(lines: torch.Tensor, levels: torch.Tensor) -> Grid:
    return Grid(levels, float(lines.abs().max()) if lines.numel() else 1.0)


def between(levels: torch.Tensor) -> torch.Tensor:
    """Where the nearest level changes."""
    return (levels[1:] + levels[:-1]) / 2


def in_groups(lines: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(lines, groups, group), filled up with zeros, and which of it there is."""
    width = lines.shape[1]
    missing = -width % group
    padded = nn.functional.pad(lines, (0, missing)).unflatten(1, (-1, group))
    real = (torch.arange(width + missing, device=lines.device) < width).unflatten(0, (-1, group))
    return padded, real.expand(padded.shape)
