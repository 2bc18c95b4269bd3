"""Matrices in codes of a few bits, several to a byte, and what is common to matrices that are decoded to compute.

A matrix lies line by line: rows where a cut takes rows (matrices that feed heads and neurons), columns where it takes
columns (readouts). So a cut takes whole lines, the codes of the others stay as they are, and each line costs the same.
A line's codes fill whole bytes, the first code in the lowest bits. Groups of a line's numbers share a scale, a byte s
that stands for 2^(-s / 16), the last one for 0; the levels, one value a code, are the matrix's. A number is its level
times its group's scale.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any

import torch
from torch import nn

from .embeddings import select_tokens, tokens_of, whole_table, width_of
from .linears import (
    Marginal,
    bias,
    chosen,
    columns_of,
    marginal,
    matrix,
    own_macs,
    plain,
    put,
    rows_of_matrix,
    select,
)

FINENESS = 16  # scales to a doubling: none is more than 2.2 % from the one that is wanted
NOTHING = 255  # the scale of a group of zeros


def packed(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """(lines, n) whole numbers of so many bits as (lines, bytes) uint8; the last byte is filled up with zeros."""
    unit = math.gcd(bits, 8)
    mask, each = (1 << unit) - 1, 8 // unit
    units = (codes[..., None].int() >> unit * torch.arange(bits // unit, device=codes.device)) & mask
    units = units.flatten(-2)
    units = torch.nn.functional.pad(units, (0, -units.shape[-1] % each)).unflatten(-1, (-1, each))
    return (units << unit * torch.arange(each, device=codes.device)).sum(-1).to(torch.uint8)


def unpacked(stored: torch.Tensor, bits: int, width: int) -> torch.Tensor:
    """The first `width` codes of each line, (lines, width) uint8: what `packed` was given."""
    if bits == 8:
        return stored[..., :width]
    unit = math.gcd(bits, 8)
    shifts = unit * torch.arange(8 // unit, dtype=torch.uint8, device=stored.device)
    units = ((stored[..., None] >> shifts) & ((1 << unit) - 1)).flatten(-2)
    if unit == bits:
        return units[..., :width]
    parts = units[..., : width * (bits // unit)].unflatten(-1, (width, bits // unit))
    found = torch.zeros_like(parts[..., 0])
    for place in range(bits // unit):
        found |= parts[..., place] << unit * place
    return found


def bytes_of_line(bits: int, width: int) -> int:
    return -(-bits * width // 8)


def groups_of_line(width: int, group: int) -> int:
    return -(-width // group)


def scales_of(codes: torch.Tensor) -> torch.Tensor:
    """What the bytes of scales stand for, float32."""
    return torch.exp2(-codes.float() / FINENESS) * (codes != NOTHING)


def decoded(
    codes: torch.Tensor, scales: torch.Tensor, levels: torch.Tensor, width: int, group: int, bits: int
) -> torch.Tensor:
    """(lines, width) numbers; codes (lines, bytes), scales (lines, groups), levels (2^bits,)."""
    numbers = levels[unpacked(codes, bits, width).int()]
    return numbers * scales_of(scales).to(levels.dtype).repeat_interleave(group, -1)[..., :width]


class Decoded(nn.Module):
    """A linear whose matrix is computed from what is stored: at the first pass, and then kept beside it in float32.

    Decoding takes longer than a product with a few tokens, so doing it in every pass would make a model slower than it
    was. What is kept is no part of the model's state: copies begin without it, and it is made again when a tensor that
    it came from has changed. Where those learn, it is made in every pass.
    """

    bias: nn.Parameter | None
    _kept: tuple[tuple[torch.Tensor, ...], list[Any], torch.Tensor] | None = None

    def sources(self) -> tuple[torch.Tensor, ...]:
        """The tensors that the matrix is computed from."""
        raise NotImplementedError

    def decode(self) -> torch.Tensor:
        """(rows, columns)"""
        raise NotImplementedError

    def values(self) -> torch.Tensor:
        sources = self.sources()
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in sources):
            return self.decode()
        now = [
            (tensor.data_ptr(), tensor.device, 0 if tensor.is_inference() else tensor._version) for tensor in sources
        ]
        kept = self._kept
        if kept is not None and kept[1] == now and all(a is b for a, b in zip(kept[0], sources, strict=True)):
            return kept[2]
        with torch.inference_mode(False), torch.no_grad():
            found = self.decode().contiguous()
        self._kept = (sources, now, found)
        return found

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, self.values(), self.bias)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}


class PackedLinear(Decoded):
    """Codes of a few bits in place of a linear. by_columns: whether its lines are columns."""

    def __init__(self, columns: int, rows: int, bits: int, group: int, by_columns: bool, bias: bool = True):
        super().__init__()
        self.bits, self.group, self.by_columns = bits, group, by_columns
        lines, self.width = (columns, rows) if by_columns else (rows, columns)
        self.codes, self.scales, self.levels = _stored(lines, self.width, bits, group)
        self.bias = nn.Parameter(torch.zeros(rows), requires_grad=False) if bias else None

    def sources(self) -> tuple[torch.Tensor, ...]:
        return self.codes, self.scales, self.levels

    def decode(self) -> torch.Tensor:
        lines = decoded(self.codes, self.scales, self.levels, self.width, self.group, self.bits)
        return lines.T if self.by_columns else lines


class PackedEmbedding(nn.Module):
    """Codes of a few bits in place of a table of tokens; a line is a token's. Only the rows that are asked for are
    decoded, in each call."""

    def __init__(self, tokens: int, width: int, bits: int, group: int, padding_idx: int | None = None):
        super().__init__()
        self.bits, self.group, self.width, self.padding_idx = bits, group, width, padding_idx
        self.codes, self.scales, self.levels = _stored(tokens, width, bits, group)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return decoded(self.codes[ids], self.scales[ids], self.levels, self.width, self.group, self.bits)


@singledispatch
def in_a_graph(module: nn.Module) -> nn.Module:
    """What stands in its place in a graph, which holds numbers and no packed bits; itself where that is no other."""
    return module


@in_a_graph.register
def _(module: Decoded) -> nn.Module:
    values = nn.Parameter(module.values().detach(), requires_grad=False)
    rows, columns = values.shape
    linear = nn.Linear(columns, rows, module.bias is not None, device="meta")
    linear.weight = values
    if module.bias is not None:
        linear.bias = module.bias
    return linear


@in_a_graph.register
def _(module: PackedEmbedding) -> nn.Module:
    values = nn.Parameter(whole_table(module), requires_grad=False)
    rows, columns = values.shape
    table = nn.Embedding(rows, columns, module.padding_idx, device="meta")
    table.weight = values
    return table


def made_for_a_graph(model: nn.Module) -> None:
    """Put in the place of all that lies packed what a graph can hold, in place; a shared module's is shared."""
    made: dict[int, nn.Module] = {}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is not model and made.setdefault(id(module), in_a_graph(module)) is not module:
            model.set_submodule(name, made[id(module)])


def _stored(lines: int, width: int, bits: int, group: int) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Parameters that nobody trains: they count as the model's numbers, and layers can share them."""
    codes = torch.zeros(lines, bytes_of_line(bits, width), dtype=torch.uint8)
    scales = torch.zeros(lines, groups_of_line(width, group), dtype=torch.uint8)
    levels = torch.zeros(1 << bits)
    return (
        nn.Parameter(codes, requires_grad=False),
        nn.Parameter(scales, requires_grad=False),
        nn.Parameter(levels, requires_grad=False),
    )


@matrix.register
def _(module: Decoded) -> torch.Tensor:
    return module.values()


@bias.register
def _(module: Decoded) -> torch.Tensor | None:
    return module.bias


@put.register
def _(module: Decoded, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    raise ValueError("a compressed matrix cannot hold every matrix of its size: repair first, compress afterwards")


@plain.register
def _(module: Decoded) -> list[nn.Linear]:
    return []


@own_macs.register
def _(module: Decoded) -> int:
    return rows_of_matrix(module) * columns_of(module)


@rows_of_matrix.register
def _(module: PackedLinear) -> int:
    return module.width if module.by_columns else module.codes.shape[0]


@columns_of.register
def _(module: PackedLinear) -> int:
    return module.codes.shape[0] if module.by_columns else module.width


@select.register
def _(module: PackedLinear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    lines, others = (columns, rows) if module.by_columns else (rows, columns)
    if others is not None:
        own, other = ("columns", "rows") if module.by_columns else ("rows", "columns")
        raise ValueError(f"a matrix that lies packed by its {own} cannot lose {other}: cut first, quantize afterwards")
    if lines is None:
        return
    module.codes, module.scales = chosen(module.codes, lines), chosen(module.scales, lines)
    if module.bias is not None and not module.by_columns:
        module.bias = chosen(module.bias, lines)


@marginal.register
def _(module: PackedLinear) -> Marginal:
    """Of a line. What is no line cannot go, so that it has no price beyond the bias."""
    rows, columns = rows_of_matrix(module), columns_of(module)
    line, biased = module.codes.shape[1] + module.scales.shape[1], int(module.bias is not None)
    row, column = (0, line) if module.by_columns else (line, 0)
    return Marginal(row + biased, column, columns, rows, row_codes=row, column_codes=column)


@tokens_of.register
def _(module: PackedEmbedding) -> int:
    return module.codes.shape[0]


@width_of.register
def _(module: PackedEmbedding) -> int:
    return module.width


@select_tokens.register
def _(module: PackedEmbedding, rows: torch.Tensor, padding: int | None) -> None:
    module.codes, module.scales = chosen(module.codes, rows), chosen(module.scales, rows)
    if module.padding_idx is not None:
        module.padding_idx = padding
