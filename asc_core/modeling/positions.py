"""A shorter table of positions: {"kind": "positions", "rows"}. Longer texts are cut off, as by any model.

rows: of the table, with those that an architecture keeps before the first token's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import architecture_of, most_tokens, submodule
from .embeddings import select_tokens, tokens_of
from .quantize import POSITIONS
from .structure import Entry, State, Structure

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

MOST = 1 << 20  # of an uncut model
OTHERS = frozenset(
    {
        "codes",
        "cut",
        "differences",
        "embedding-factors",
        "exits",
        "factor",
        "hashed",
        "quantize",
        "share",
        "sparse",
        "tokens",
        "vocabulary",
    }
)


class Positions(Structure):
    kind = "positions"
    ordinary = True
    after = OTHERS | {"positions"}
    before = OTHERS
    fields = frozenset({"rows"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        most = getattr(config, "max_position_embeddings", None)
        if type(most) is not int or not 1 <= most <= MOST:
            raise ValueError(f"a {config.model_type} model has no table of positions that could be shorter")
        rows = entry["rows"]
        if type(rows) is not int or not rows - rows_before(config) >= 1 or rows > most:
            raise ValueError(f"its positions of {rows!r} are none of {most}")

    def changes(self, config: PreTrainedConfig) -> tuple[str, ...]:
        return ("max_position_embeddings",)

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        """The first rows stay, so that a model with weights needs no others."""
        table = positions_of(model)
        if table is None or entry["rows"] > tokens_of(table):
            raise ValueError(f"a {model.config.model_type} model has no table of {entry['rows']} positions or more")
        rows = entry["rows"]
        select_tokens(table, torch.arange(rows), getattr(table, "padding_idx", None))
        holder: Any = submodule(model.base_model, POSITIONS.rpartition(".")[0])
        for name in ("position_ids", "token_type_ids"):  # one for each position
            values = getattr(holder, name, None)
            if isinstance(values, torch.Tensor):
                holder.register_buffer(name, values[:, :rows].clone(), persistent=False)
        model.config.max_position_embeddings = rows

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Nothing: the original's class takes any number of positions, and the configuration has it."""


def positions_of(model: PreTrainedModel) -> nn.Module | None:
    """The table of positions that are added to the tokens' embeddings; None where an architecture has none."""
    return submodule(model.base_model, POSITIONS) if architecture_of(model).positions_at_input else None


def rows_before(config: PreTrainedConfig) -> int:
    """Rows of the table before that of a text's first token."""
    most = most_tokens(config)
    return 0 if most is None else int(config.max_position_embeddings) - most
