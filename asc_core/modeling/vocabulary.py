"""A shorter table of tokens: {"kind": "vocabulary", "rows", "special": {"pad_token_id": ..., ...}}.

rows: how many tokens are left. special: the configuration's token ids, in the new numbers. Which tokens they are, the
tokenizer knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from .architectures import ARCHITECTURES, architecture_name
from .embeddings import select_tokens, table_path, tokens_of
from .structure import Entry, State, Structure, tensors_of

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

SPECIAL = (
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "cls_token_id",
    "sep_token_id",
    "mask_token_id",
    "unk_token_id",
)


class Vocabulary(Structure):
    kind = "vocabulary"
    ordinary = True
    after = frozenset({"cut", "factor", "share", "vocabulary"})
    fields = frozenset({"rows", "special"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        rows, special = entry["rows"], entry["special"]
        if type(rows) is not int or not 1 <= rows <= config.vocab_size:
            raise ValueError(f"its vocabulary of {rows!r} is none of {config.vocab_size} tokens")
        if not isinstance(special, dict) or not set(special) <= set(SPECIAL):
            raise ValueError(f"its special tokens are none of {', '.join(SPECIAL)}")
        if not all(type(token) is int and 0 <= token < rows for token in special.values()):
            raise ValueError("its special tokens are not in its vocabulary")
        table = ARCHITECTURES[architecture_name(config)]
        if table.padding_shifts_positions and special.get("pad_token_id", config.pad_token_id) != config.pad_token_id:
            raise ValueError("its padding token has another number, from which this architecture counts positions")

    def changes(self, config: PreTrainedConfig) -> tuple[str, ...]:
        return ("vocab_size", *(name for name in SPECIAL if isinstance(getattr(config, name, None), int)))

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        """Of a model with weights the first rows stay: which ones it should be, comes with the weights."""
        table = model.get_submodule(table_path(model))
        if entry["rows"] > tokens_of(table):
            raise ValueError(f"its vocabulary of {entry['rows']} is none of {tokens_of(table)} tokens")
        select_tokens(table, torch.arange(entry["rows"]), entry["special"].get("pad_token_id"))
        for name, value in {"vocab_size": entry["rows"], **entry["special"]}.items():
            setattr(model.config, name, value)
        if hasattr(model, "vocab_size"):
            model.vocab_size = entry["rows"]

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        return tensors_of(model, model.get_submodule(table_path(model)).modules())

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Nothing: the original's class takes any number of tokens, and the configuration has it."""
