"""A table of tokens of low rank: {"kind": "embedding-factors", "rank": 64}.

A narrow table and a matrix that widens its rows, as ALBERT has from the beginning (Lan et al. 2020, arXiv 1909.11942,
section 3.1). Only the rows that are asked for are multiplied. The narrow table can be given codes afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel

from .embeddings import (
    ComposedTable,
    TableStructure,
    select_tokens,
    table_path,
    tokens_of,
    width_of,
)
from .factor import MOST_RANK
from .linears import rows_of_matrix
from .structure import Entry

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class FactoredTable(ComposedTable):
    """second(first(ids)): first (tokens, rank), second (width, rank)."""

    def __init__(self, tokens: int, rank: int, width: int, padding_idx: int | None = None):
        super().__init__()
        self.padding_idx = padding_idx
        self.first: nn.Module = nn.Embedding(tokens, rank)
        self.second: nn.Module = nn.Linear(rank, width, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(ids))


class EmbeddingFactors(TableStructure):
    kind = "embedding-factors"
    made = FactoredTable
    fields = frozenset({"rank"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        rank = entry["rank"]
        if type(rank) is not int or not 1 <= rank <= MOST_RANK:
            raise ValueError(f"its word embedding has no rank of {rank!r}")

    def table(self, entry: Entry, old: nn.Embedding) -> FactoredTable:
        tokens, width, rank = old.num_embeddings, old.embedding_dim, entry["rank"]
        if rank > min(tokens, width):
            raise ValueError(f"its word embedding of {tokens} rows and {width} columns has no rank of {rank}")
        return FactoredTable(tokens, rank, width, old.padding_idx)


def embedding_factors_tensors(
    model: PreTrainedModel, first: torch.Tensor, second: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Tensors of what `build` makes of a model's table. first: (tokens, rank). second: (width, rank)."""
    path = table_path(model)
    return {f"{path}.first.weight": first, f"{path}.second.weight": second}


@tokens_of.register
def _(module: FactoredTable) -> int:
    return tokens_of(module.first)


@width_of.register
def _(module: FactoredTable) -> int:
    return rows_of_matrix(module.second)


@select_tokens.register
def _(module: FactoredTable, rows: torch.Tensor, padding: int | None) -> None:
    select_tokens(module.first, rows, padding)
    if module.padding_idx is not None:
        module.padding_idx = padding
