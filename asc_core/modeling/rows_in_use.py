"""A table of tokens while a model learns: only the rows that its texts look up, under the numbers that they have.

Of 200,000 words, an application's texts use a few thousand. Gradients, moments and checkpoints of all the others would
be most of a training's time and memory, and nothing would come of them.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .embeddings import tokens_of


class RowsInUse(nn.Module):
    """weight: (rows, width), of some rows of a table. places: (tokens,) where each token's row lies, -1 = nowhere."""

    places: torch.Tensor

    def __init__(self, table: nn.Embedding, rows: torch.Tensor):
        """rows: (rows,) numbers in the table, each once."""
        super().__init__()
        self.table = (table,)  # in a tuple, so that it is no child: it is no part of what learns
        rows = rows.to(table.weight.device)
        self.weight = nn.Parameter(table.weight.detach()[rows].clone())
        places = torch.full((table.num_embeddings,), -1, device=rows.device)
        places[rows] = torch.arange(len(rows), device=rows.device)
        self.register_buffer("places", places, persistent=False)
        self.padding = None if table.padding_idx is None else int(places[table.padding_idx])

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return functional.embedding(self.places[ids], self.weight, self.padding)

    def whole(self) -> nn.Embedding:
        """The table, in place, with the rows as they are now."""
        (table,) = self.table
        rows = torch.nonzero(self.places >= 0)[:, 0]
        with torch.no_grad():
            table.weight[rows] = self.weight[self.places[rows]]
        return table


def leave_rows_in_use(model: nn.Module, path: str, rows: torch.Tensor) -> bool:
    """Put `RowsInUse` in the place of a plain table; whether it was one. path: the table's. rows: numbers in it."""
    table = model.get_submodule(path)
    if type(table) is not nn.Embedding:
        return False
    model.set_submodule(path, RowsInUse(table, rows))
    return True


def put_rows_back(model: nn.Module, path: str) -> None:
    """Undo it, in place: the table, with what its rows have learnt."""
    there = model.get_submodule(path)
    if isinstance(there, RowsInUse):
        model.set_submodule(path, there.whole())


@tokens_of.register
def _(module: RowsInUse) -> int:
    return len(module.places)
