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

from asc_core.errors import UserError

_BYTES = {f"<0x{byte:02X}>" for byte in range(256)}


def shorter_tokenizer(tokenizer: Any, used: Collection[int]) -> tuple[Any, list[int]]:
    """(a tokenizer of the used tokens and those that it cannot do without, their old ids in the order of the new ones).

    Raises: UserError where the tokenizer is of a kind that cannot be rebuilt.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError("The tokenizer is none of the tokenizers library, so its vocabulary cannot be shortened.")
    data = json.loads(backend.to_str())
    model = data["model"]
    vocabulary = _vocabulary(model)
    needed = set(tokenizer.all_special_ids) | {token["id"] for token in data["added_tokens"]}
    needed |= {i for token, i in vocabulary.items() if _spells(token, model)}
    if isinstance(model.get("unk_token"), str) and model["unk_token"] in vocabulary:
        needed.add(vocabulary[model["unk_token"]])
    if model.get("unk_id") is not None:
        needed.add(int(model["unk_id"]))
    kept = sorted(_with_parts(set(used) | needed, model, vocabulary))
    new = {old: number for number, old in enumerate(kept)}
    _rebuild_model(model, new)
    for token in data["added_tokens"]:
        token["id"] = new[token["id"]]
    if data.get("padding"):
        data["padding"]["pad_id"] = new[data["padding"]["pad_id"]]
    _renumber(data.get("post_processor"), new)
    shorter = copy.deepcopy(tokenizer)
    shorter._tokenizer = Tokenizer.from_str(json.dumps(data))
    return shorter, kept


def _vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {piece: number for number, (piece, _) in enumerate(model["vocab"])}
    if model["type"] in ("WordPiece", "BPE", "WordLevel"):
        return dict(model["vocab"])
    raise UserError(f"The tokenizer's model is {model['type']}, whose vocabulary cannot be shortened.")


def _spells(token: str, model: Mapping[str, Any]) -> bool:
    """Whether a token is a single character (or byte), from which any word can be put together."""
    if model["type"] == "WordLevel":
        return False
    bare = token.removeprefix(model.get("continuing_subword_prefix") or "")
    bare = bare.removesuffix(model.get("end_of_word_suffix") or "")
    return len(bare) <= 1 or token in _BYTES


def _with_parts(kept: set[int], model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> set[int]:
    """Byte-pair encoding builds a token of two others, so these stay, and what they are built of."""
    if model["type"] != "BPE":
        return kept
    parts: dict[int, list[int]] = {}
    for left, right in _merges(model):
        result = vocabulary.get(_merged(left, right, model))
        if result is not None and left in vocabulary and right in vocabulary:
            parts.setdefault(result, []).extend((vocabulary[left], vocabulary[right]))
    waiting = list(kept)
    while waiting:
        for part in parts.get(waiting.pop(), ()):
            if part not in kept:
                kept.add(part)
                waiting.append(part)
    return kept


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Older files write a pair as one string."""
    pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"])
    return [(left, right) for left, right in pairs]


def _merged(left: str, right: str, model: Mapping[str, Any]) -> str:
    return left + right.removeprefix(model.get("continuing_subword_prefix") or "")


def _rebuild_model(model: dict[str, Any], new: Mapping[int, int]) -> None:
    """Leave the kept tokens alone in a tokenizer's model, under their new numbers, in place."""
    if model["type"] == "Unigram":
        model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new]
        model["unk_id"] = None if model.get("unk_id") is None else new[int(model["unk_id"])]
        return
    model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    if model["type"] == "BPE":
        kept = model["vocab"]
        model["merges"] = [
            [left, right]
            for left, right in _merges(model)
            if left in kept and right in kept and _merged(left, right, model) in kept
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
