"""What a tokenizer's tokens are made of: which ones it cannot do without, and what stands in for one that goes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

from asc_core.errors import UserError

_BYTES = {f"<0x{byte:02X}>" for byte in range(256)}
Kept = Callable[[int], bool]


class TokenModel:
    """A tokenizer of the tokenizers library as plain data.

    data: as it stands in tokenizer.json. kind: WordPiece, BPE or Unigram. ids: number of each token of the model.
    needed: tokens without which some text could not be spelled any more, or which the tokenizer itself adds.
    """

    def __init__(self, data: dict[str, Any], special: Collection[int]):
        self.data = data
        self.model: dict[str, Any] = data["model"]
        self.kind: str = self.model["type"]
        self.ids = _ids(self.model)
        self._prefix: str = self.model.get("continuing_subword_prefix") or ""
        self._suffix: str = self.model.get("end_of_word_suffix") or ""
        self.needed = frozenset({*special, *(token["id"] for token in data["added_tokens"]), *self._spelling()})

    def _spelling(self) -> set[int]:
        """Single characters (or bytes), from which any word can be put together, and what stands for the unknown."""
        found = {number for token, number in self.ids.items() if self._spells(token)}
        unknown = self.model.get("unk_token")
        if isinstance(unknown, str) and unknown in self.ids:
            found.add(self.ids[unknown])
        if self.model.get("unk_id") is not None:
            found.add(int(self.model["unk_id"]))
        return found

    def _spells(self, token: str) -> bool:
        return len(token.removeprefix(self._prefix).removesuffix(self._suffix)) <= 1 or token in _BYTES

    @cached_property
    def names(self) -> dict[int, str]:
        """Of the model's tokens and those that were added to it."""
        added = {token["id"]: token["content"] for token in self.data["added_tokens"]}
        return {number: token for token, number in self.ids.items()} | added

    @cached_property
    def merges(self) -> list[tuple[str, str]]:
        """Of byte-pair encoding, the earliest first. Older files write a pair as one string."""
        pairs = (pair.split(" ", 1) if isinstance(pair, str) else pair for pair in self.model.get("merges", ()))
        return [(left, right) for left, right in pairs]

    def merged(self, left: str, right: str) -> str:
        return left + right.removeprefix(self._prefix)

    @cached_property
    def halves(self) -> dict[int, list[tuple[int, int]]]:
        """Of byte-pair encoding: the pairs that each token is merged of, the earliest first."""
        found: dict[int, list[tuple[int, int]]] = {}
        for left, right in self.merges:
            result = self.ids.get(self.merged(left, right))
            if result is not None and left in self.ids and right in self.ids:
                found.setdefault(result, []).append((self.ids[left], self.ids[right]))
        return found

    def with_parts(self, tokens: Collection[int]) -> set[int]:
        """Byte-pair encoding builds a token of two others, so these stay, and what they are built of."""
        kept = set(tokens)
        if self.kind != "BPE":
            return kept
        waiting = list(kept)
        while waiting:
            for half in self.halves.get(waiting.pop(), ()):
                waiting += set(half) - kept
                kept.update(half)
        return kept

    def pieces(self, token: int, kept: Kept | None = None) -> list[int] | None:
        """What a token is spelled with where it is gone; None where nothing spells it.

        kept: whether another token is still there, by default every one is. Within a text, neighbours may be merged
        with these pieces; that is left out here.
        """
        there = kept or (lambda _: True)
        return _SPELLED[self.kind](self, token, lambda other: other != token and there(other))

    def spelled_greedily(self, token: int, kept: Kept) -> list[int] | None:
        """WordPiece: the longest piece that there is, and so on."""
        name = self.names[token]
        continues = name.startswith(self._prefix) and len(name) > len(self._prefix) > 0
        rest, found = name.removeprefix(self._prefix) if continues else name, []
        while rest:
            prefix = self._prefix if continues else ""
            for length in range(len(rest), 0, -1):
                number = self.ids.get(prefix + rest[:length])
                if number is not None and kept(number):
                    break
            else:
                return None
            found.append(number)
            rest, continues = rest[length:], True
        return found or None

    def spelled_by_halves(self, token: int, kept: Kept) -> list[int] | None:
        """Byte-pair encoding: the two that its last merge would have joined, and theirs where these are gone."""
        halves = self.halves.get(token)
        if not halves:
            return None
        found: list[int] = []
        for half in halves[0]:
            spelled = [half] if kept(half) else self.spelled_by_halves(half, kept)
            if spelled is None:
                return None
            found += spelled
        return found

    def spelled_likeliest(self, token: int, kept: Kept) -> list[int] | None:
        """Unigram: the likeliest path (Viterbi) through its characters."""
        name = self.names[token]
        best: list[tuple[float, int, int]] = [(0.0, -1, 0)]  # log-probability up to here, last piece, where it begins
        for end in range(1, len(name) + 1):
            found = (-math.inf, -1, 0)
            for begin in range(end):
                number = self.ids.get(name[begin:end])
                if number is not None and kept(number) and best[begin][0] > -math.inf:
                    found = max(found, (best[begin][0] + self.log_probability(number), number, begin))
            best.append(found)
        pieces, place = [], len(name)
        while place > 0:
            _, number, begin = best[place]
            if number < 0:
                return None
            pieces.append(number)
            place = begin
        return pieces[::-1] or None

    def log_probability(self, token: int) -> float:
        """Of a Unigram model's piece."""
        return float(self.model["vocab"][token][1])


_SPELLED: dict[str, Callable[[TokenModel, int, Kept], list[int] | None]] = {
    "WordPiece": TokenModel.spelled_greedily,
    "BPE": TokenModel.spelled_by_halves,
    "Unigram": TokenModel.spelled_likeliest,
}


def token_model(tokenizer: Any) -> TokenModel:
    """Raises: UserError where the tokenizer is of a kind whose tokens have no smaller pieces, or is no fast one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError("The tokenizer is none of the tokenizers library, so its vocabulary cannot be shortened.")
    data = json.loads(backend.to_str())
    kind = data["model"]["type"]
    if kind == "WordLevel":
        raise UserError(
            "The tokenizer is a list of whole words (WordLevel): a word that goes has no smaller pieces and would be "
            "unknown, so its vocabulary cannot be shortened. Leave out the step."
        )
    if kind not in _SPELLED:
        raise UserError(f"The tokenizer's model is {kind}, whose vocabulary cannot be shortened. Leave out the step.")
    return TokenModel(data, tokenizer.all_special_ids)


def _ids(model: Mapping[str, Any]) -> dict[str, int]:
    if model["type"] == "Unigram":
        return {piece: number for number, (piece, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])
