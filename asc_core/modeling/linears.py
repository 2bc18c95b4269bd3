"""The one small interface on matrices, by type of module: whoever has another kind of matrix registers it here.

A matrix has `rows` outputs and `columns` inputs. `select` keeps some of either, in place; `matrix` is a dense view of
its values, `put` gives it new ones; `Marginal` says what one more row or column costs.

A new type registers `matrix`, `bias`, `rows_of_matrix`, `columns_of`, `select`, `put`, `marginal`, and either `plain`,
where it is made of linears, or `own_macs`, where it multiplies by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NoReturn

import torch
from torch import nn


@dataclass(frozen=True)
class Marginal:
    """What one row and one column of a matrix cost as it stands: parameters, and multiply-adds for a token.

    row_bytes, column_bytes: in a file, of what is no parameter (indices, say). row_codes, column_codes: how many of the
    parameters are whole numbers of one byte, whatever the packing.
    """

    row: int
    column: int
    row_macs: int
    column_macs: int
    row_bytes: int = 0
    column_bytes: int = 0
    row_codes: int = 0
    column_codes: int = 0


class FactoredLinear(nn.Module):
    """second(first(x)): a matrix of rank at most `rank`, in two thin ones. The bias is the second's."""

    def __init__(self, columns: int, rank: int, rows: int, bias: bool = True):
        super().__init__()
        self.first: nn.Module = nn.Linear(columns, rank, bias=False)
        self.second: nn.Module = nn.Linear(rank, rows, bias=bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(inputs))


def _unknown(module: nn.Module) -> NoReturn:
    raise ValueError(f"a {type(module).__name__} is no matrix that is known here")


@singledispatch
def matrix(module: nn.Module) -> torch.Tensor:
    """(rows, columns), the values as they multiply an input; of a plain linear the parameter itself."""
    _unknown(module)


@singledispatch
def bias(module: nn.Module) -> torch.Tensor | None:
    """(rows,), None where there is none."""
    _unknown(module)


@singledispatch
def rows_of_matrix(module: nn.Module) -> int:
    """Its outputs."""
    _unknown(module)


@singledispatch
def columns_of(module: nn.Module) -> int:
    """Its inputs."""
    _unknown(module)


@singledispatch
def select(module: nn.Module, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    """Keep some rows or columns, in place; indices (kept,). Raises: ValueError, in words, where that cannot be."""
    _unknown(module)


@singledispatch
def put(module: nn.Module, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    """New values (rows, columns) and bias (rows,), in place; a bias where there was none makes one.

    Raises: ValueError, in words, where the module cannot hold every matrix.
    """
    _unknown(module)


@singledispatch
def marginal(module: nn.Module) -> Marginal:
    _unknown(module)


@singledispatch
def plain(module: nn.Module) -> list[nn.Linear]:
    """The linears that it is made of, which an adapter can be put on."""
    return []


@singledispatch
def own_macs(module: nn.Module) -> int:
    """Multiply-adds for a token that it does itself, beside those of the linears of `plain`."""
    return 0


def is_matrix(module: nn.Module) -> bool:
    """Whether its type is known here (an adapter's wrapper around a linear is not)."""
    return matrix.dispatch(type(module)) is not matrix.dispatch(object)


def add_zeros(module: Any, rows: int = 0, columns: int = 0) -> None:
    """Give a plain linear rows and columns of zeros behind its own, in place."""
    weight = torch.nn.functional.pad(module.weight.detach(), (0, columns, 0, rows))
    module.weight = nn.Parameter(weight, requires_grad=module.weight.requires_grad)
    if module.bias is not None and rows:
        padded = torch.nn.functional.pad(module.bias.detach(), (0, rows))
        module.bias = nn.Parameter(padded, requires_grad=module.bias.requires_grad)
    module.out_features, module.in_features = weight.shape


def takes_any_values(module: nn.Module) -> bool:
    """Whether `put` can give it whatever matrix of its size."""
    return type(module) is nn.Linear


@matrix.register
def _(module: nn.Linear) -> torch.Tensor:
    return module.weight


@matrix.register
def _(module: FactoredLinear) -> torch.Tensor:
    return matrix(module.second) @ matrix(module.first)


@bias.register
def _(module: nn.Linear) -> torch.Tensor | None:
    return module.bias


@bias.register
def _(module: FactoredLinear) -> torch.Tensor | None:
    return bias(module.second)


@rows_of_matrix.register
def _(module: nn.Linear) -> int:
    return module.out_features


@rows_of_matrix.register
def _(module: FactoredLinear) -> int:
    return rows_of_matrix(module.second)


@columns_of.register
def _(module: nn.Linear) -> int:
    return module.in_features


@columns_of.register
def _(module: FactoredLinear) -> int:
    return columns_of(module.first)


def chosen(parameter: torch.Tensor, index: torch.Tensor, dim: int = 0) -> nn.Parameter:
    """Some rows of a parameter, or what else lies along a dimension, as a parameter that learns as it did."""
    kept = parameter.detach().index_select(dim, index.to(parameter.device)).clone()
    return nn.Parameter(kept, requires_grad=parameter.requires_grad)


@select.register
def _(module: nn.Linear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    if rows is not None:
        module.weight = chosen(module.weight, rows, 0)
        if module.bias is not None:
            module.bias = chosen(module.bias, rows, 0)
        module.out_features = len(rows)
    if columns is not None:
        module.weight = chosen(module.weight, columns, 1)
        module.in_features = len(columns)


@select.register
def _(module: FactoredLinear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    select(module.first, columns=columns)
    select(module.second, rows=rows)


@put.register
def _(module: nn.Linear, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    if values.shape != module.weight.shape:
        raise ValueError(f"a matrix of {tuple(values.shape)} is none of {tuple(module.weight.shape)}")
    module.weight = nn.Parameter(values.to(module.weight).contiguous(), requires_grad=module.weight.requires_grad)
    if offset is not None:
        module.bias = nn.Parameter(offset.to(module.weight), requires_grad=module.weight.requires_grad)


@put.register
def _(module: FactoredLinear, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    raise ValueError("a factored matrix cannot hold every matrix of its size: repair first, factor afterwards")


@marginal.register
def _(module: nn.Linear) -> Marginal:
    biased = int(module.bias is not None)
    return Marginal(module.in_features + biased, module.out_features, module.in_features, module.out_features)


@marginal.register
def _(module: FactoredLinear) -> Marginal:
    row, column = marginal(module.second), marginal(module.first)
    return Marginal(
        row.row,
        column.column,
        row.row_macs,
        column.column_macs,
        row_codes=row.row_codes,
        column_codes=column.column_codes,
    )


@plain.register
def _(module: nn.Linear) -> list[nn.Linear]:
    return [module]


@plain.register
def _(module: FactoredLinear) -> list[nn.Linear]:
    return [*plain(module.first), *plain(module.second)]
