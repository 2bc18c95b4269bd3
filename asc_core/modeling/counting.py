"""What a model weighs, asked of its modules as they stand: parameters, bytes, multiply-adds.

A module that stands in two places counts once; so does a tensor that two modules share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import (
    Architecture,
    architecture_of,
    executed_rows,
    head_width,
    rows_of,
    section_width,
    submodule,
)
from .linears import columns_of, marginal, own_macs, plain
from .packings import PACKINGS


@dataclass(frozen=True)
class Count:
    """parameters: each shared one once. bytes: in a file. macs: multiply-adds of its matrices for one token."""

    parameters: int
    bytes: int
    macs: int


@dataclass(frozen=True)
class PartCounts:
    """What each part of a model weighs, in parameters and in multiply-adds for a token; one entry a row but for span.

    outside_layers: parameters of embeddings, pooler, task head. outside_bytes: of all that is outside the
    layers, in a file. head, neuron: of one. layer: what goes only with the whole layer: biases, norms, and what a
    structure keeps however few heads and neurons there are. head_bytes, neuron_bytes, layer_bytes: in a file, of
    what is no parameter; less than 0 where parameters take fewer bytes than the packing says. attention_macs: of one
    head for each pair of tokens.
    span: for each layer, the tokens that one token attends to, None = all. relative_span: relative positions that each
    head scores for every token.
    """

    outside_layers: int
    outside_bytes: int
    head: tuple[int, ...]
    neuron: tuple[int, ...]
    layer: tuple[int, ...]
    head_macs: tuple[int, ...]
    neuron_macs: tuple[int, ...]
    layer_macs: tuple[int, ...]
    head_bytes: tuple[int, ...]
    neuron_bytes: tuple[int, ...]
    layer_bytes: tuple[int, ...]
    attention_macs: int
    span: tuple[int | None, ...]
    relative_span: int


def count(module: nn.Module, packing: str = "float32") -> Count:
    """Of a whole module. packing: one of `PACKINGS`."""
    unique = {id(tensor): tensor for tensor in module.state_dict(keep_vars=True).values()}.values()
    linears = {id(linear): linear for child in module.modules() for linear in plain(child)}.values()
    return Count(
        parameters=sum(tensor.numel() for tensor in module.parameters()),
        bytes=sum(PACKINGS[packing].bytes(tensor) for tensor in unique),
        macs=sum(linear.weight.numel() for linear in linears) + sum(map(own_macs, module.modules())),
    )


def count_parts(model: PreTrainedModel, packing: str = "float32") -> PartCounts:
    """Of a model. packing: as for `count`."""
    architecture, rows = architecture_of(model), rows_of(model)
    counted = [_count_row(model.config, architecture, row, packing) for row in rows]
    whole, in_rows = count(model, packing), [count(row, packing) for row in rows]
    layers = [rows[row] for row in executed_rows(model)]
    return PartCounts(
        outside_layers=whole.parameters - sum(row.parameters for row in in_rows),
        outside_bytes=whole.bytes - sum(row.bytes for row in in_rows),
        head=tuple(c[0] for c in counted),
        neuron=tuple(c[1] for c in counted),
        layer=tuple(c[2] for c in counted),
        head_macs=tuple(c[3] for c in counted),
        neuron_macs=tuple(c[4] for c in counted),
        layer_macs=tuple(c[5] for c in counted),
        head_bytes=tuple(c[6] for c in counted),
        neuron_bytes=tuple(c[7] for c in counted),
        layer_bytes=tuple(c[8] for c in counted),
        attention_macs=2 * head_width(model.config),  # q k^T and the weighted sum of v
        span=tuple(architecture.span(submodule(layer, architecture.attention)) for layer in layers)
        if architecture.kinds
        else (None,) * len(layers),
        relative_span=architecture.relative_span(model.config),
    )


def _count_row(config: Any, architecture: Architecture, row: nn.Module, packing: str) -> tuple[int, ...]:
    """Parameters of a head, a neuron and what only goes with the layer; multiply-adds of the same; bytes beside the
    parameters of the same."""
    widths = {"attention": head_width(config), "ffn": 1}
    blocks = dict.fromkeys(widths, 0)
    parameters, macs, others = dict.fromkeys(widths, 0), dict.fromkeys(widths, 0), dict.fromkeys(widths, 0)
    all_macs = sum(count(row.get_submodule(path)).macs for path in architecture.recurrent)
    more = PACKINGS[packing].bytes(torch.empty(1)) - 1  # bytes that a code takes less than another parameter
    for kind in architecture.kinds:
        width, readout = widths[kind], row.get_submodule(architecture.readout(kind))
        blocks[kind] = columns_of(readout) // width
        parameters[kind] = width * marginal(readout).column
        macs[kind] = width * marginal(readout).column_macs
        others[kind] = width * (marginal(readout).column_bytes - more * marginal(readout).column_codes)
        all_macs += count(readout).macs
        for feeder in architecture.feeders(kind):
            module = submodule(row, feeder.path)
            if module is None:
                continue
            of_one = sum(section_width(config, section) for section in feeder.sections)
            parameters[kind] += of_one * marginal(module).row
            others[kind] += of_one * (marginal(module).row_bytes - more * marginal(module).row_codes)
            if feeder.each_text:
                macs[kind] += of_one * marginal(module).row_macs
                all_macs += count(module).macs
    parts = sum(parameters[kind] * blocks[kind] for kind in blocks)
    part_macs = sum(macs[kind] * blocks[kind] for kind in blocks)
    other_bytes = sum(others[kind] * blocks[kind] for kind in blocks)
    whole, each = count(row, packing), PACKINGS[packing].bytes(torch.empty(1))
    return (
        parameters["attention"],
        parameters["ffn"],
        whole.parameters - parts,
        macs["attention"],
        macs["ffn"],
        all_macs - part_macs,
        others["attention"],
        others["ffn"],
        whole.bytes - each * whole.parameters - other_bytes,
    )


def layer_flops(model: PreTrainedModel, lengths: Iterable[Sequence[int]]) -> int:
    """FLOPs of the encoder's layers, summed over texts: 2 for each multiply-add; embeddings, norms, activations,
    softmax and task head are not counted.

    lengths: for each layer in order of execution, the tokens of each text that it runs on.
    On s tokens a head of width d_h takes 3 s d d_h + 2 s^2 d_h + s d_h d multiply-adds, a neuron 2 s d (Kwon et al.
    2022, 2204.09656); DeBERTa's content-to-position and position-to-content scores come on top.
    """
    architecture, rows = architecture_of(model), rows_of(model)
    width, span = head_width(model.config), architecture.relative_span(model.config)
    total = 0
    if architecture.recurrent:
        for number, tokens in zip(executed_rows(model), lengths, strict=True):
            total += 2 * int(torch.as_tensor(tokens).sum()) * count(rows[number]).macs
        return total
    for number, tokens in zip(executed_rows(model), lengths, strict=True):
        row = rows[number]
        window = architecture.span(submodule(row, architecture.attention))
        heads = columns_of(row.get_submodule(architecture.attention_readout)) // width
        texts = torch.as_tensor(tokens, dtype=torch.long)
        seen = texts if window is None else texts.clamp(max=window)
        modules = [row.get_submodule(architecture.readout(kind)) for kind in ("attention", "ffn")]
        for kind in ("attention", "ffn"):
            found = (submodule(row, feeder.path) for feeder in architecture.feeders(kind) if feeder.each_text)
            modules += [module for module in found if module is not None]
        all_tokens, pairs = int(texts.sum()), int((texts * seen).sum())
        total += 2 * all_tokens * sum(count(module).macs for module in modules)
        total += 2 * heads * width * 2 * (pairs + 2 * all_tokens * span)
    return total
