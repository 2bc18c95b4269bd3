"""A table of tokens by hashing: {"kind": "hashed", "pool": rows of the pool, "functions": 2, "seed": 0}.

Hash functions of a token's number name rows of a pool that all tokens share; its row is their sum, each times an
importance weight that is the token's own (hash embeddings, Svenstrup et al. 2017, arXiv 1709.03933). A function is
(a n + b mod p) mod pool with p = 2^31 - 1 (Carter and Wegman 1979); a and b come from the seed, so that they are the
same in every process, and nothing but the seed is stored. A token keeps the number that it was hashed by: once some
tokens have gone, those of the others lie beside the weights.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import PreTrainedModel

from .embeddings import (
    ComposedTable,
    TableStructure,
    own_copy,
    plain_table,
    select_tokens,
    tokens_of,
    width_of,
)
from .linears import chosen
from .packed import in_a_graph
from .structure import Entry

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

PRIME = (1 << 31) - 1
MOST_FUNCTIONS = 16


def hash_functions(functions: int, seed: int) -> tuple[tuple[int, int], ...]:
    """(a, b) of each, 1 <= a < p and 0 <= b < p."""
    found = []
    for number in range(functions):
        digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=16).digest()
        a, b = (int.from_bytes(half, "little") for half in (digest[:8], digest[8:]))
        found.append((1 + a % (PRIME - 1), b % PRIME))
    return tuple(found)


def hashed_rows(numbers: torch.Tensor, pool: int, functions: int, seed: int) -> torch.Tensor:
    """(..., functions) int64, the rows of the pool for tokens of these numbers (...)."""
    numbers = numbers.long()
    return torch.stack([(a * numbers + b) % PRIME % pool for a, b in hash_functions(functions, seed)], -1)


class HashedTable(ComposedTable):
    """weights (tokens, functions) of rows of a pool (pool, width), in place of a table.

    numbers: (tokens,) int32 that tokens are hashed by, None = their own. rows: (tokens, functions) int32, what the
    functions say, where a graph holds the table.
    """

    numbers: nn.Parameter | None
    rows: nn.Parameter | None

    def __init__(
        self, tokens: int, width: int, pool: int, functions: int, seed: int, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.functions, self.seed, self.padding_idx = functions, seed, padding_idx
        self.weights: nn.Module = nn.Embedding(tokens, functions)
        self.pool: nn.Module = nn.Embedding(pool, width)
        self.register_parameter("numbers", None)
        self.register_parameter("rows", None)

    def rows_for(self, ids: torch.Tensor) -> torch.Tensor:
        """(..., functions)"""
        if self.rows is not None:
            return self.rows[ids].long()
        numbers = ids if self.numbers is None else self.numbers[ids]
        return hashed_rows(numbers, tokens_of(self.pool), self.functions, self.seed)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return (self.weights(ids)[..., None] * self.pool(self.rows_for(ids))).sum(-2)


class Hashed(TableStructure):
    kind = "hashed"
    after = TableStructure.after | {"embedding-factors"}
    made = HashedTable
    fields = frozenset({"pool", "functions", "seed"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        pool, functions, seed = entry["pool"], entry["functions"], entry["seed"]
        if type(pool) is not int or not 1 <= pool <= config.vocab_size:
            raise ValueError(f"its pool of {pool!r} rows is none of 1 to {config.vocab_size}, the tokens there are")
        if type(functions) is not int or not 1 <= functions <= MOST_FUNCTIONS:
            raise ValueError(f"its {functions!r} hash functions are none of 1 to {MOST_FUNCTIONS}")
        if type(seed) is not int or not 0 <= seed < 1 << 63:
            raise ValueError(f"its seed {seed!r} is no whole number from 0 to 2^63")

    def table(self, entry: Entry, old: nn.Embedding) -> HashedTable:
        if entry["pool"] > old.num_embeddings:
            raise ValueError(f"its pool of {entry['pool']} rows is larger than its {old.num_embeddings} tokens")
        sizes = old.num_embeddings, old.embedding_dim, entry["pool"], entry["functions"], entry["seed"]
        return HashedTable(*sizes, old.padding_idx)


def hashed_tensors(model: PreTrainedModel, weights: torch.Tensor, pool: torch.Tensor) -> dict[str, torch.Tensor]:
    """Tensors of what `build` makes of a model's table. weights: (tokens, functions). pool: (pool, width)."""
    path, _ = plain_table(model)
    return {f"{path}.weights.weight": weights, f"{path}.pool.weight": pool}


@tokens_of.register
def _(module: HashedTable) -> int:
    return tokens_of(module.weights)


@width_of.register
def _(module: HashedTable) -> int:
    return width_of(module.pool)


@select_tokens.register
def _(module: HashedTable, rows: torch.Tensor, padding: int | None) -> None:
    if module.numbers is None:
        device = next(module.parameters()).device
        module.numbers = nn.Parameter(rows.to(device, torch.int32), requires_grad=False)
    else:
        module.numbers = chosen(module.numbers, rows)
    select_tokens(module.weights, rows, None)
    if module.padding_idx is not None:
        module.padding_idx = padding


@in_a_graph.register
def _(module: HashedTable) -> nn.Module:
    """Rows of the pool as numbers: runtimes that multiply in 32 bits would hash otherwise."""
    made = own_copy(module)
    ids = torch.arange(tokens_of(module), device=next(module.parameters()).device)
    made.rows, made.numbers = nn.Parameter(module.rows_for(ids).int(), requires_grad=False), None
    return made
