"""Matrices with zeros that are not stored: {"kind": "sparse", "kept": {name: how many numbers are left}}.

A matrix is named as in `quantize.py`. It lies as a bit for each of its places (rows, bytes) and the numbers that are
left, row by row. That saves disk and no time: it is decoded at the first pass and multiplied whole, since products with
a half-empty matrix are slower on a CPU than with a full one. The number of what is left differs from row to row and
from column to column, so that no head and no neuron has a price of its own: a cut has to come before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import architecture_of, matrices, put_submodule, rows_of
from .linears import Marginal, columns_of, marginal, matrix, rows_of_matrix, select
from .packed import Decoded, bytes_of_line, packed, unpacked
from .quantize import check_names, place_of
from .structure import Entry, State, Structure, tensors_of

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class SparseLinear(Decoded):
    """mask (rows, bytes), a bit for each column, and values (kept,), in place of a linear."""

    def __init__(self, columns: int, rows: int, kept: int, bias: bool = True):
        super().__init__()
        self.columns = columns
        stored = torch.zeros(rows, bytes_of_line(1, columns), dtype=torch.uint8)
        self.mask = nn.Parameter(stored, requires_grad=False)
        self.kept = nn.Parameter(torch.zeros(kept))
        self.bias = nn.Parameter(torch.zeros(rows)) if bias else None

    def sources(self) -> tuple[torch.Tensor, ...]:
        return self.mask, self.kept

    def decode(self) -> torch.Tensor:
        mask = unpacked(self.mask, 1, self.columns).bool()
        named = int(mask.sum())
        if named != len(self.kept):
            raise ValueError(f"the mask of a sparse matrix names {named} numbers, and it has {len(self.kept)}")
        return self.kept.new_zeros(mask.shape).masked_scatter(mask, self.kept)


class Sparse(Structure):
    kind = "sparse"
    after = frozenset({"cut", "factor", "share", "sparse", "vocabulary"})
    fields = frozenset({"kept"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        if not isinstance(entry["kept"], dict):
            raise ValueError("its kept numbers are not given by matrix")
        check_names(list(entry["kept"]), config)
        for name, kept in entry["kept"].items():
            if type(kept) is not int or not 0 <= kept < 1 << 31:
                raise ValueError(f"{kept!r} is no number of what {name} has left")

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        able = sparsifiable(model)
        for name, kept in entry["kept"].items():
            if name not in able:
                raise ValueError(f"it has no matrix {name} that could be sparse")
            old: Any = able[name]
            if kept > old.weight.numel():
                raise ValueError(f"{name} has no {kept} numbers")
            made = SparseLinear(old.in_features, old.out_features, kept, old.bias is not None).to(old.weight.device)
            for parameter in (made.kept, made.bias):
                if parameter is not None:
                    parameter.requires_grad_(old.weight.requires_grad)
            parent, path = place_of(model, name)
            put_submodule(parent, path, made)

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        places = (place_of(model, name) for name in entry["kept"])
        return tensors_of(model, (parent.get_submodule(path) for parent, path in places))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        for path, module in model.named_modules(remove_duplicate=False):
            if isinstance(module, SparseLinear):
                for name in ("mask", "kept"):
                    state.pop(f"{path}.{name}", None)
                state[f"{path}.weight"] = matrix(module).detach()


def sparsifiable(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Name -> module of the layers' matrices that can be sparse: those that lie whole."""
    table = architecture_of(model)
    return {
        f"{number}.{path}": module
        for number, row in enumerate(rows_of(model))
        for path, module in matrices(table, row).items()
        if type(module) is nn.Linear
    }


def sparse_tensors(
    model: PreTrainedModel, values: Mapping[str, torch.Tensor], biases: Mapping[str, torch.Tensor | None]
) -> dict[str, torch.Tensor]:
    """Tensors of what `build` makes of some matrices, by their names in the new model.

    values: name -> (rows, columns) with their zeros. biases: of those that have one.
    """
    able = sparsifiable(model)
    paths = {id(module): path for path, module in model.named_modules()}
    found: dict[str, torch.Tensor] = {}
    for name, numbers in values.items():
        path, mask, offset = paths[id(able[name])], numbers != 0, biases.get(name)
        found |= {f"{path}.mask": packed(mask, 1), f"{path}.kept": numbers[mask]}
        if offset is not None:
            found[f"{path}.bias"] = offset
    return found


@rows_of_matrix.register
def _(module: SparseLinear) -> int:
    return module.mask.shape[0]


@columns_of.register
def _(module: SparseLinear) -> int:
    return module.columns


@select.register
def _(module: SparseLinear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    raise ValueError("its sparse matrices have no price for a head or neuron: cut first, make zeros afterwards")


@marginal.register
def _(module: SparseLinear) -> Marginal:
    """The mean of its rows and columns, rounded down: none of them can go."""
    (rows, each), columns, kept = module.mask.shape, module.columns, len(module.kept)
    biased, of_column = int(module.bias is not None), rows * each // max(1, columns)
    return Marginal(
        kept // max(1, rows) + each + biased,
        kept // max(1, columns) + of_column,
        columns,
        rows,
        row_codes=each,
        column_codes=of_column,
    )
