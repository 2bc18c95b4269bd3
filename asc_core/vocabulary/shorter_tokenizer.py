"""A tokenizer without some of its tokens: texts of kept tokens are split as before, others into smaller pieces.

WordPiece takes the longest piece that it has, Unigram the likeliest path, byte-pair encoding the earliest merge: none
of them splits a text differently because of pieces that it would not have used. What could not be spelled any more
would become unknown, so single characters (or bytes) stay.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Tokenizer

from asc_core.vocabulary.token_model import TokenModel, token_model


def shorter_tokenizer(tokenizer: Any, used: Collection[int]) -> tuple[Any, list[int]]:
    """(a tokenizer of the used tokens and those that it cannot do without, their old ids in the order of the new ones).

    Raises: UserError where the tokenizer is of a kind that cannot be rebuilt.
    """
    old = token_model(tokenizer)
    kept = sorted(old.with_parts(set(used) | old.needed))
    new = {number: position for position, number in enumerate(kept)}
    data = old.data
    _rebuild_model(old, new)
    for token in data["added_tokens"]:
        token["id"] = new[token["id"]]
    if data.get("padding"):
        data["padding"]["pad_id"] = new[data["padding"]["pad_id"]]
    _renumber(data.get("post_processor"), new)
    shorter = copy.deepcopy(tokenizer)
    shorter._tokenizer = Tokenizer.from_str(json.dumps(data))
    return shorter, kept


def _rebuild_model(old: TokenModel, new: Mapping[int, int]) -> None:
    """Leave the kept tokens alone in a tokenizer's model, under their new numbers, in place."""
    model = old.model
    if old.kind == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new]
        model["unk_id"] = None if model.get("unk_id") is None else new[int(model["unk_id"])]
        return
    model["vocab"] = {token: new[number] for token, number in old.ids.items() if number in new}
    if old.kind == "BPE":
        kept = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in old.merges
            if left in kept and right in kept and old.merged(left, right) in kept
        ]


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    """Give a post-processor the new ids of the special tokens that it adds, in place."""
    if not isinstance(processor, dict):
        return
    for part in processor.get("processors", ()):
        _renumber(part, new)
    for name in ("sep", "cls"):
        if isinstance(processor.get(name), list):
            processor[name][1] = new[processor[name][1]]
    if isinstance(processor.get("special_tokens"), dict):
        for token in processor["special_tokens"].values():
            token["ids"] = [new[old] for old in token["ids"]]
