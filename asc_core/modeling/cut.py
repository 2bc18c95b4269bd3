"""Heads, neurons and layers that are gone: {"kind": "cut", "layers", "heads", "neurons"}.

layers: the kept ones. heads: those that each kept row keeps. neurons: how many each kept row keeps. All in numbers of
the model before this entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import (
    ARCHITECTURES,
    Architecture,
    Bypass,
    architecture_name,
    architecture_of,
    depth_is_grouped,
    executed_rows,
    ffn_width,
    head_count,
    head_width,
    rows_of,
    section_width,
    submodule,
)
from .headless import leave_without_heads
from .linears import columns_of, select
from .structure import Entry, State, Structure, ascending, whole_numbers

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class Cut(Structure):
    kind = "cut"
    of_transformers = True
    after = frozenset({"cut", "factor", "share", "vocabulary"})
    fields = frozenset({"layers", "heads", "neurons"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        heads = entry["heads"]
        if (
            not whole_numbers(entry["layers"])
            or not whole_numbers(entry["neurons"], ffn_width(config) + 1)
            or not isinstance(heads, list)
            or not all(ascending(kept, head_count(config)) for kept in heads)
            or len(heads) != len(entry["neurons"])
        ):
            raise ValueError("its cut does not fit the model's widths")

    def changes(self, config: PreTrainedConfig) -> tuple[str, ...]:
        return tuple(n for n in ("num_hidden_layers", "layer_types") if getattr(config, n, None) is not None)

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        layers, rows = entry["layers"], rows_of(model)
        if not ascending(layers, len(executed_rows(model))) or len(entry["heads"]) != len(kept_rows(model, layers)):
            raise ValueError("its cut does not fit the model's depth")
        heads, neurons = present_parts(model)
        for kept, row in enumerate(kept_rows(model, layers)):
            if not set(entry["heads"][kept]) <= set(heads[row]) or entry["neurons"][kept] > len(neurons[row]):
                raise ValueError("its cut does not fit the model's widths")
            heads[row], neurons[row] = entry["heads"][kept], range(entry["neurons"][kept])
        assert len(rows) == len(heads)
        cut_parts(model, heads, neurons, layers)

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Nothing yet: what all cuts of a record leave is padded at once, by `pad_to_class`."""


def present_parts(model: PreTrainedModel) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    """(the heads, the neurons) of each row, numbered as the model stands."""
    architecture, width = architecture_of(model), head_width(model.config)
    rows = rows_of(model)
    if not architecture.kinds:
        return [range(0)] * len(rows), [range(0)] * len(rows)
    heads = [range(columns_of(row.get_submodule(architecture.attention_readout)) // width) for row in rows]
    return list(heads), [range(columns_of(row.get_submodule(architecture.ffn_readout))) for row in rows]


def kept_rows(model: PreTrainedModel, layers: Sequence[int]) -> list[int]:
    """The rows that stay when only some layers run, in order."""
    if depth_is_grouped(model):
        return list(range(len(rows_of(model))))
    rows = executed_rows(model)
    return list(dict.fromkeys(rows[layer] for layer in layers))


def cut(
    model: PreTrainedModel,
    heads: Sequence[Sequence[int]],
    neurons: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> dict[str, Any]:
    """Slice parts away for real, in place. Returns: the entry that records it.

    heads, neurons: what every row of `rows_of(model)` keeps, in numbers of this model as it is now. layers: the kept
    layers in order of execution. A sublayer left without blocks keeps its bias and its norm. Where the class repeats
    layers, every row must keep the same number of repetitions.
    """
    rows = kept_rows(model, layers)
    cut_parts(model, heads, neurons, layers)
    return {
        "kind": Cut.kind,
        "layers": list(layers),
        "heads": [list(heads[row]) for row in rows],
        "neurons": [len(neurons[row]) for row in rows],
    }


def joined(first: Entry, second: Entry, rows: Sequence[int]) -> dict[str, Any]:
    """Two cuts, one right after the other, as one. rows: of the first one's that the second keeps, in its order."""
    kept = zip(rows, second["heads"], strict=True)
    return {
        "kind": Cut.kind,
        "layers": [first["layers"][layer] for layer in second["layers"]],
        "heads": [[first["heads"][row][head] for head in heads] for row, heads in kept],
        "neurons": list(second["neurons"]),
    }


def cut_parts(
    model: PreTrainedModel,
    heads: Sequence[Sequence[int]],
    neurons: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> None:
    """As `cut`, without a record of it."""
    config, architecture, rows = model.config, architecture_of(model), rows_of(model)
    for row, layer in enumerate(rows):
        _cut_heads(config, architecture, layer, heads[row])
        _cut_neurons(config, architecture, layer, neurons[row])
    if depth_is_grouped(model):
        config.num_hidden_layers = len(layers) * config.num_hidden_groups // len(rows)
        return
    _cut_depth(model, architecture, layers)
    config.num_hidden_layers = len(layers)
    if getattr(config, "layer_types", None) is not None:
        config.layer_types = [config.layer_types[layer] for layer in layers]


def blocks(kept: Sequence[int], width: int) -> torch.Tensor:
    """Indices of the columns of the kept blocks."""
    start = torch.as_tensor(list(kept), dtype=torch.long) * width
    return (start[:, None] + torch.arange(width)).flatten()


def section_rows(config: PreTrainedConfig, sections: Sequence[str], kept: Sequence[int], present: int) -> torch.Tensor:
    """The rows of a feeder that belong to the kept blocks of `present` ones."""
    found, start = [], 0
    for section in sections:
        width = section_width(config, section)
        found.append(start + blocks(kept, width))
        start += present * width
    return torch.cat(found)


def _cut_heads(config: PreTrainedConfig, architecture: Architecture, layer: nn.Module, heads: Sequence[int]) -> None:
    width = head_width(config)
    readout = layer.get_submodule(architecture.attention_readout)
    present = columns_of(readout) // width
    if len(heads) < present:
        _select_feeders(config, architecture, layer, "attention", heads, present)
        select(readout, columns=blocks(heads, width))
        attention = layer.get_submodule(architecture.attention)
        if architecture.narrow is not None:
            architecture.narrow(attention, heads, width)
        for name, value in (
            ("num_attention_heads", len(heads)),
            ("n_heads", len(heads)),
            ("num_heads", len(heads)),
            ("dim", len(heads) * width),
            ("all_head_size", len(heads) * width),
        ):
            if hasattr(attention, name):
                setattr(attention, name, value)
        if not heads:
            leave_without_heads(architecture, attention)


def _cut_neurons(
    config: PreTrainedConfig, architecture: Architecture, layer: nn.Module, neurons: Sequence[int]
) -> None:
    readout = layer.get_submodule(architecture.ffn_readout)
    present = columns_of(readout)
    if len(neurons) < present:
        _select_feeders(config, architecture, layer, "ffn", neurons, present)
        select(readout, columns=blocks(neurons, 1))


def _select_feeders(
    config: PreTrainedConfig,
    architecture: Architecture,
    layer: nn.Module,
    kind: str,
    kept: Sequence[int],
    present: int,
) -> None:
    for feeder in architecture.feeders(kind):
        module = submodule(layer, feeder.path)
        if module is not None:
            select(module, rows=section_rows(config, feeder.sections, kept, present))


def _cut_depth(model: PreTrainedModel, architecture: Architecture, layers: Sequence[int]) -> None:
    parent_path, _, name = architecture.layers.rpartition(".")
    parent = submodule(model.base_model, parent_path) if parent_path else model.base_model
    assert parent is not None
    entries = getattr(parent, name)
    real = [entry for entry in entries if not isinstance(entry, Bypass)]
    kept: list[nn.Module] = [real[layer] for layer in layers]
    first_is_gone = isinstance(entries[0], Bypass) or 0 not in layers
    convolves = architecture.convolution is not None and getattr(parent, architecture.convolution, None) is not None
    if convolves and first_is_gone:
        kept.insert(0, Bypass())
    setattr(parent, name, nn.ModuleList(kept))


def dense_refusal(model: PreTrainedModel, layers: Sequence[int]) -> str | None:
    """Why the original's class cannot run what these original layers leave; None where it can."""
    if 0 in layers:
        return None
    peculiar = ARCHITECTURES[architecture_name(model.config)].first_layer(model.config)
    if peculiar is None:
        return None
    return f"the first layer is cut, and the original's class {peculiar}, for which the next one is not made"


def pad_to_class(model: PreTrainedModel, heads: Sequence[Sequence[int]], state: State, width: int) -> None:
    """Rewrite a cut model's tensors, in place, with zeros for what the original's class wants and the cut has not.

    heads: for each row, the original places of its heads. width: neurons of every layer, at least those of the widest.
    """
    config, architecture = model.config, architecture_of(model)
    paths: dict[nn.Module, list[str]] = {}  # a shared module stands in the state under each of its paths
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(module, []).append(path)
    wanted = {"attention": head_count(config), "ffn": width}

    def spread(module: nn.Module, dim: int, places: torch.Tensor, size: int) -> None:
        names = ("weight", "bias") if dim == 0 else ("weight",)
        for key in (f"{path}.{name}" for path in paths[module] for name in names):
            if key in state:
                shape = list(state[key].shape)
                shape[dim] = size
                state[key] = state[key].new_zeros(shape).index_copy(dim, places.to(state[key].device), state[key])

    for layer, kept_heads in zip(rows_of(model), heads, strict=True):
        for kind, block in (("attention", head_width(config)), ("ffn", 1)):
            readout = layer.get_submodule(architecture.readout(kind))
            kept = kept_heads if kind == "attention" else range(columns_of(readout))
            for feeder in architecture.feeders(kind):
                module = submodule(layer, feeder.path)
                if module is not None:
                    size = sum(section_width(config, section) for section in feeder.sections) * wanted[kind]
                    spread(module, 0, section_rows(config, feeder.sections, kept, wanted[kind]), size)
            spread(readout, 1, blocks(kept, block), block * wanted[kind])


__all__ = ["Cut", "blocks", "cut", "cut_parts", "dense_refusal", "joined", "kept_rows", "pad_to_class"]
