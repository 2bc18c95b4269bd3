"""A table of tokens in codes: {"kind": "codes", "codebooks": 32, "entries": 16, "blocks": false}.

Each token has a code for each codebook, which names one of its entries. Its row is the sum of those entries (Shu and
Nakayama 2018, arXiv 1711.01068), or where there are blocks, they lie side by side: each codebook is of so many columns
(product quantization, Jegou et al. 2011). Codes lie packed, a line a token, as in `packed.py`, so that there are as
many entries as a few bits can tell apart. Codebooks are a plain table, which learns when the model is trained; the
codes stay.
"""

from __future__ import annotations

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
from .packed import bytes_of_line, in_a_graph, packed, unpacked
from .structure import Entry

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

ENTRIES = (2, 4, 8, 16, 32, 64, 128, 256)
MOST_CODEBOOKS = 1 << 10


class CodedTable(ComposedTable):
    """codes (tokens, bytes) into codebooks (codebooks * entries, width of a row or of a block), in place of a table.

    bits: of a code, as it lies; 8 in a graph, which does not unpack.
    """

    def __init__(
        self, tokens: int, width: int, books: int, entries: int, blocks: bool, padding_idx: int | None = None
    ) -> None:
        super().__init__()
        self.books, self.entries, self.blocks, self.padding_idx = books, entries, blocks, padding_idx
        self.bits = entries.bit_length() - 1
        codes = torch.zeros(tokens, bytes_of_line(self.bits, books), dtype=torch.uint8)
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.codebooks: nn.Module = nn.Embedding(books * entries, width // books if blocks else width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        codes = unpacked(self.codes[ids], self.bits, self.books).long()
        found = self.codebooks(codes + self.entries * torch.arange(self.books, device=codes.device))
        return found.flatten(-2) if self.blocks else found.sum(-2)


class Codes(TableStructure):
    kind = "codes"
    after = TableStructure.after | {"embedding-factors"}
    made = CodedTable
    fields = frozenset({"codebooks", "entries", "blocks"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        books, entries = entry["codebooks"], entry["entries"]
        if type(books) is not int or not 1 <= books <= MOST_CODEBOOKS:
            raise ValueError(f"its {books!r} codebooks are none of 1 to {MOST_CODEBOOKS}")
        if type(entries) is not int or entries not in ENTRIES:
            raise ValueError(f"its codebooks of {entries!r} entries are none of {', '.join(map(str, ENTRIES))}")
        if type(entry["blocks"]) is not bool:
            raise ValueError(f"its blocks are {entry['blocks']!r}, neither true nor false")

    def table(self, entry: Entry, old: nn.Embedding) -> CodedTable:
        books, width = entry["codebooks"], old.embedding_dim
        if books > width:
            raise ValueError(f"its rows have {width} columns, fewer than {books} codebooks")
        if entry["blocks"] and width % books:
            less = max(n for n in range(1, books) if width % n == 0)
            more = min(n for n in range(books, width + 1) if width % n == 0)
            raise ValueError(
                f"{books} blocks of the same width do not fill {width} columns: {less} or {more} codebooks do"
            )
        return CodedTable(old.num_embeddings, width, books, entry["entries"], entry["blocks"], old.padding_idx)


def codes_tensors(
    model: PreTrainedModel, codes: torch.Tensor, codebooks: torch.Tensor, entries: int
) -> dict[str, torch.Tensor]:
    """Tensors of what `build` makes of a model's table, by their names in the new model.

    codes: (tokens, codebooks) uint8. codebooks: (codebooks, entries, width of a row or of a block).
    """
    path, _ = plain_table(model)
    return {
        f"{path}.codes": packed(codes, entries.bit_length() - 1),
        f"{path}.codebooks.weight": codebooks.flatten(0, 1),
    }


@tokens_of.register
def _(module: CodedTable) -> int:
    return module.codes.shape[0]


@width_of.register
def _(module: CodedTable) -> int:
    return width_of(module.codebooks) * (module.books if module.blocks else 1)


@select_tokens.register
def _(module: CodedTable, rows: torch.Tensor, padding: int | None) -> None:
    module.codes = chosen(module.codes, rows)
    if module.padding_idx is not None:
        module.padding_idx = padding


@in_a_graph.register
def _(module: CodedTable) -> nn.Module:
    """A byte for each code: runtimes gather bytes, and not all of them shift bits."""
    if module.bits == 8:
        return module
    made = own_copy(module)
    made.codes = nn.Parameter(unpacked(module.codes, module.bits, module.books), requires_grad=False)
    made.bits = 8
    return made
