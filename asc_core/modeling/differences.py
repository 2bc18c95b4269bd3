"""What tells layers apart that share their weights: {"kind": "differences", "ranks": [{path: rank}, one a row]}.

Of a row that several layers run on, every matrix is one that all share plus, for each layer, a product of two thin ones
(rank 0: none); biases and norms are each layer's own. Rows of a single layer have no ranks and stay as they are.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import (
    Architecture,
    Bypass,
    architecture_of,
    depth_is_grouped,
    executed_rows,
    matrices,
    put_submodule,
    rows_of,
    submodule,
)
from .factor import wrong_rank
from .linears import Marginal, bias, chosen, columns_of, marginal, matrix, own_macs, put, rows_of_matrix, select
from .structure import Entry, State, Structure, tensors_of
from .turns import EachTurn, Turn, turn

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class SharedLinear(nn.Module):
    """(weight + second[k] first[k]) x + biases[k] on turn k.

    weight: (rows, columns). first: (turns, rank, columns). second: (turns, rows, rank). biases: (turns,
    rows) or None (no `bias`: transformers would pad one beside a weight that is tied).
    """

    def __init__(self, columns: int, rows: int, turns: int, rank: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, columns))
        self.first = nn.Parameter(torch.zeros(turns, rank, columns)) if rank else None
        self.second = nn.Parameter(torch.zeros(turns, rows, rank)) if rank else None
        self.biases = nn.Parameter(torch.zeros(turns, rows)) if bias else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        number = turn()
        written = nn.functional.linear(inputs, self.weight, None if self.biases is None else self.biases[number])
        if self.first is None or self.second is None:
            return written
        thin = nn.functional.linear(inputs, self.first[number])
        return written + nn.functional.linear(thin, self.second[number])

    @property
    def rank(self) -> int:
        return 0 if self.first is None else self.first.shape[1]

    def matrix_on(self, number: int) -> torch.Tensor:
        """(rows, columns), as it multiplies on a turn."""
        if self.first is None or self.second is None:
            return self.weight
        return self.weight + self.second[number] @ self.first[number]


class Differences(Structure):
    kind = "differences"
    of_transformers = True
    after = frozenset({"cut", "share", "vocabulary"})
    before = frozenset({"cut", "factor", "quantize", "vocabulary"})
    fields = frozenset({"ranks"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        wrong = wrong_rank(entry["ranks"], config, 0)
        if wrong is not None:
            path, rank = wrong
            raise ValueError(f"{path} with a difference of rank {rank!r} is none of a {config.model_type} model")

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        if depth_is_grouped(model):
            raise ValueError("its class shares weights between layers already")
        rows, order, table = rows_of(model), executed_rows(model), architecture_of(model)
        if len(entry["ranks"]) != len(rows):
            raise ValueError(f"its ranks are of {len(entry['ranks'])} rows of layer weights, the model has {len(rows)}")
        turns = [order.count(number) for number in range(len(rows))]
        for number, (row, ranks) in enumerate(zip(rows, entry["ranks"], strict=True)):
            wanted = set(matrices(table, row)) if turns[number] > 1 else set()
            if set(ranks) != wanted:
                raise ValueError(f"its ranks of row {number} are not of the matrices that several layers share there")
            if wanted:
                _take_apart(table, row, ranks, turns[number])
        parent, name = _list_of_layers(model, table)
        bypasses = [layer for layer in getattr(parent, name) if isinstance(layer, Bypass)]
        layers = [
            Turn(rows[row], order[:place].count(row)) if turns[row] > 1 else rows[row]
            for place, row in enumerate(order)
        ]
        setattr(parent, name, nn.ModuleList([*bypasses, *layers]))

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        return tensors_of(model, (m for m in model.modules() if isinstance(m, SharedLinear | EachTurn)))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Every layer gets its own matrices, biases and norms."""
        for place, layer in model.named_modules(remove_duplicate=False):
            if not isinstance(layer, Turn):
                continue
            for path, module in layer.named_modules(remove_duplicate=False):
                if isinstance(module, SharedLinear | EachTurn):
                    for name in [name for name in state if name.startswith(f"{place}.{path}.")]:
                        del state[name]
                if isinstance(module, SharedLinear):
                    state[f"{place}.{path}.weight"] = module.matrix_on(layer.number).detach()
                    if module.biases is not None:
                        state[f"{place}.{path}.bias"] = module.biases[layer.number].detach()
                elif isinstance(module, EachTurn):
                    own = module.turns[layer.number].state_dict()
                    state.update({f"{place}.{path}.{name}": tensor for name, tensor in own.items()})


def own_modules(table: Architecture, row: nn.Module) -> dict[str, nn.Module]:
    """Path -> module of what has parameters in a layer and is no matrix: norms."""
    known = set(matrices(table, row))
    return {path: m for path, m in row.named_modules() if path not in known and any(True for _ in m.parameters(False))}


def _take_apart(table: Architecture, row: nn.Module, ranks: dict[str, int], turns: int) -> None:
    """Put into a row what can differ by turn; values come later."""
    others = own_modules(table, row)
    for path, module in matrices(table, row).items():
        if type(module) is not nn.Linear:
            raise ValueError(f"{path} is no plain matrix any more")
        if ranks[path] > min(module.in_features, module.out_features):
            raise ValueError(f"{path} has no rank of {ranks[path]}")
        made = SharedLinear(module.in_features, module.out_features, turns, ranks[path], module.bias is not None)
        put_submodule(row, path, made.to(module.weight.device).requires_grad_(module.weight.requires_grad))
    for path, module in others.items():
        put_submodule(row, path, EachTurn([copy.deepcopy(module) for _ in range(turns)]))


def _list_of_layers(model: PreTrainedModel, table: Architecture) -> tuple[nn.Module, str]:
    """(what has the list, its name there)"""
    path, _, name = table.layers.rpartition(".")
    parent = submodule(model.base_model, path) if path else model.base_model
    assert parent is not None
    return parent, name


def _mean_difference(module: SharedLinear) -> torch.Tensor:
    assert module.first is not None
    assert module.second is not None
    return (module.second @ module.first).mean(0)


@matrix.register
def _(module: SharedLinear) -> torch.Tensor:
    """Of all turns alike: their mean."""
    return module.weight if module.first is None else module.weight + _mean_difference(module)


@bias.register
def _(module: SharedLinear) -> torch.Tensor | None:
    return None if module.biases is None else module.biases.mean(0)


@rows_of_matrix.register
def _(module: SharedLinear) -> int:
    return module.weight.shape[0]


@columns_of.register
def _(module: SharedLinear) -> int:
    return module.weight.shape[1]


@select.register
def _(module: SharedLinear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    kept = {"weight": (rows, columns), "first": (None, columns), "second": (rows, None), "biases": (None, rows)}
    for name, parameter in list(module.named_parameters(recurse=False)):
        for dim, index in zip((-2, -1), kept[name], strict=True):
            if index is not None:
                parameter = chosen(parameter, index, dim)
        setattr(module, name, parameter)


@put.register
def _(module: SharedLinear, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    raise ValueError(
        "a matrix with differences cannot hold one value for all its layers: repair first, share afterwards"
    )


@marginal.register
def _(module: SharedLinear) -> Marginal:
    rows, columns = module.weight.shape
    turns = 0 if module.first is None else len(module.first)
    biases = 0 if module.biases is None else len(module.biases)
    each = module.rank * turns
    return Marginal(columns + each + biases, rows + each, columns + module.rank, rows + module.rank)


@own_macs.register
def _(module: SharedLinear) -> int:
    rows, columns = module.weight.shape
    return rows * columns + module.rank * (rows + columns)
