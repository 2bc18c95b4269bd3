"""The same for the table of tokens: rows are chosen, counted and put by type of module."""

from __future__ import annotations

from functools import singledispatch
from typing import NoReturn

import torch
from torch import nn

from .linears import chosen


def _unknown(module: nn.Module) -> NoReturn:
    raise ValueError(f"a {type(module).__name__} is no table of tokens that is known here")


@singledispatch
def tokens_of(module: nn.Module) -> int:
    """Rows of the table."""
    _unknown(module)


@singledispatch
def select_tokens(module: nn.Module, rows: torch.Tensor, padding: int | None) -> None:
    """Keep some rows, in place; rows: (kept,) old indices in their new order. padding: the new index of the padding."""
    _unknown(module)


@tokens_of.register
def _(module: nn.Embedding) -> int:
    return module.num_embeddings


@select_tokens.register
def _(module: nn.Embedding, rows: torch.Tensor, padding: int | None) -> None:
    module.weight = chosen(module.weight, rows)
    module.num_embeddings = len(rows)
    if module.padding_idx is not None:
        module.padding_idx = padding
