"""The same for the table of tokens: rows are chosen, counted and read by type of module."""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any, NoReturn, TypeGuard

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import architecture_of
from .linears import chosen
from .structure import Entry, State, Structure, tensors_of

ROWS_AT_ONCE = 2048  # of a table that is read whole: entries of all codebooks are looked up before they are summed
# Structures that may stand before one of a table, and behind it.
BESIDE = frozenset({"cut", "differences", "factor", "share", "sparse", "vocabulary"})


class ComposedTable(nn.Module):
    """A table of tokens that is computed from smaller tables and matrices, its children, in each call the rows that are
    asked for. What quantizes a table quantizes those."""

    padding_idx: int | None


class TableStructure(Structure):
    """One that puts a composed table in the place of a plain one. made: its type."""

    after = BESIDE
    before = BESIDE | {"exits", "quantize", "tokens"}
    made: type[ComposedTable]

    def table(self, entry: Entry, old: nn.Embedding) -> ComposedTable:
        """What stands in place of a table, without its values. Raises: ValueError where the entry does not fit it."""
        raise NotImplementedError

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        """What is new learns as the old table did, but for codes."""
        path, old = plain_table(model)
        new = self.table(entry, old).to(old.weight.device)
        for parameter in new.parameters():
            parameter.requires_grad_(parameter.is_floating_point() and old.weight.requires_grad)
        model.set_submodule(path, new)

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        return tensors_of(model, [module for module in model.modules() if isinstance(module, self.made)])

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """The whole table, whichever structures it has."""
        path = table_path(model)
        for name in [name for name in state if name.startswith(f"{path}.")]:
            del state[name]
        state[f"{path}.weight"] = whole_table(model.get_submodule(path))


def _unknown(module: nn.Module) -> NoReturn:
    raise ValueError(f"a {type(module).__name__} is no table of tokens that is known here")


@singledispatch
def tokens_of(module: nn.Module) -> int:
    """Rows of the table."""
    _unknown(module)


@singledispatch
def width_of(module: nn.Module) -> int:
    """Numbers in a row."""
    _unknown(module)


@singledispatch
def select_tokens(module: nn.Module, rows: torch.Tensor, padding: int | None) -> None:
    """Keep some rows, in place; rows: (kept,) old indices in their new order. padding: the new index of the padding."""
    _unknown(module)


@torch.no_grad()
def whole_table(module: nn.Module) -> torch.Tensor:
    """(tokens, width), all rows as they are looked up; of a plain table the parameter itself."""
    if is_plain_table(module):
        return module.weight.detach()
    device = next(module.parameters()).device
    rows = torch.arange(tokens_of(module), device=device).split(ROWS_AT_ONCE)
    return torch.cat([module(some) for some in rows])


def table_path(model: PreTrainedModel) -> str:
    """The name of the table of tokens among the model's modules."""
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    return f"{prefix}{architecture_of(model).word_embedding}"


def is_plain_table(module: nn.Module) -> TypeGuard[nn.Embedding]:
    """Whether it lies whole, in floating-point numbers."""
    return type(module) is nn.Embedding


def plain_table(model: PreTrainedModel) -> tuple[str, nn.Embedding]:
    """(its name, the table) that can still be compressed: of a factored one the first factor.

    Raises: ValueError where it is compressed already.
    """
    path = table_path(model)
    table = model.get_submodule(path)
    if isinstance(table, ComposedTable) and isinstance(getattr(table, "first", None), nn.Module):
        path, table = f"{path}.first", table.get_submodule("first")
    if not is_plain_table(table):
        raise ValueError("its word embedding is compressed already")
    return path, table


def rows_of_tokens(model: PreTrainedModel, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """By their names in the model, the tensors of its table of tokens with some rows alone. rows: (kept,) indices."""
    path = table_path(model)
    table = model.get_submodule(path)
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*table.parameters(), *table.buffers())}
    shorter = copy.deepcopy(table, shared)
    select_tokens(shorter, rows, None)
    return {f"{path}.{name}": values for name, values in shorter.state_dict().items()}


def own_copy(module: nn.Module) -> Any:
    """A module of its own on the same tensors and children, of which others can take the place in it alone."""
    made = copy.copy(module)
    made._parameters, made._buffers = dict(module._parameters), dict(module._buffers)
    made._modules = dict(module._modules)
    return made


@tokens_of.register
def _(module: nn.Embedding) -> int:
    return module.num_embeddings


@width_of.register
def _(module: nn.Embedding) -> int:
    return module.embedding_dim


@select_tokens.register
def _(module: nn.Embedding, rows: torch.Tensor, padding: int | None) -> None:
    module.weight = chosen(module.weight, rows)
    module.num_embeddings = len(rows)
    if module.padding_idx is not None:
        module.padding_idx = padding
