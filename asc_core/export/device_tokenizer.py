"""What a device's file says of a tokenizer: its pieces, and what each character becomes, asked of the tokenizer itself.

WordPiece behind BERT's own rules reads one character at a time, so the library is asked once for each there is, and
whoever reads the file needs no tables of Unicode, whose versions differ. Only what can make a difference is kept: a
character that no piece holds makes its word unknown, whatever else it would become.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from tokenizers import Tokenizer

OTHERWISE = "Export it as ONNX, whose answers come with the tokenizers library, or in the compact format."
_NORMALIZERS = ("BertNormalizer", "Lowercase", "NFD", "StripAccents")
_PROCESSORS = ("TemplateProcessing", "BertProcessing")
_WITH = (
    '{{"version": "1.0", "added_tokens": [], "normalizer": {normalizer}, "pre_tokenizer": {pre_tokenizer}, '
    '"post_processor": null, "decoder": null, "truncation": null, "padding": null, '
    '"model": {{"type": "WordPiece", "vocab": {{"a": 0}}, "unk_token": "a", "continuing_subword_prefix": "##", '
    '"max_input_chars_per_word": 100}}}}'
)
_BETWEEN = "0123456789"  # stands between the characters that are asked for; no single one becomes that
_AT_ONCE = 1 << 12
# Where nothing is assigned, and where all is private: one of them answers for the others.
_ALIKE = ((0x40000, 0xE0000), (0xF0000, 0xFFFFE), (0x100000, 0x10FFFE))
_ASKED = ((0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xF0000), (0xFFFFE, 0x100000), (0x10FFFE, 0x110000))


def refusal(tokenizer: Any) -> str | None:
    """Why a file cannot say how these texts become tokens; None where it can."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return f"The tokenizer ({type(tokenizer).__name__}) has no form that the tokenizers library reads. {OTHERWISE}"
    said = json.loads(backend.to_str())
    reason = next(_reasons(said, tokenizer), None)
    return None if reason is None else f"The device format splits texts as BERT does, and {reason}. {OTHERWISE}"


def _reasons(said: Mapping[str, Any], tokenizer: Any) -> Iterator[str]:
    if said["model"]["type"] != "WordPiece":
        yield f"this tokenizer's model is {said['model']['type']}, not WordPiece"
    others = [kind for kind in _kinds(said["normalizer"]) if kind not in _NORMALIZERS]
    if others:
        yield f"this tokenizer normalises texts by {others[0]}"
    if _kinds(said["pre_tokenizer"]) != ["BertPreTokenizer"]:
        yield f"this tokenizer finds words by {' and '.join(_kinds(said['pre_tokenizer'])) or 'nothing'}"
    if (said["post_processor"] or {}).get("type") not in _PROCESSORS:
        yield "this tokenizer puts no template around a text"
    for token in said["added_tokens"]:
        if any(token[name] for name in ("single_word", "lstrip", "rstrip", "normalized")):
            yield f"its token {token['content']!r} is looked for in texts in another way"
    if getattr(tokenizer, "truncation_side", "right") != "right":
        yield "this tokenizer shortens texts at their beginning"
    if said["model"]["type"] == "WordPiece" and len(_combining(said)) > 1:
        yield "pieces of this tokenizer have several combining characters, whose order in a text would count"


def _kinds(part: Mapping[str, Any] | None) -> list[str]:
    """Types of a normaliser or pre-tokeniser, those of a sequence one by one."""
    if part is None:
        return []
    inside = part.get("normalizers") or part.get("pretokenizers")
    return [part["type"]] if inside is None else [kind for one in inside for kind in _kinds(one)]


def _alphabet(said: Mapping[str, Any]) -> frozenset[str]:
    return frozenset("".join(said["model"]["vocab"]))


def _combining(said: Mapping[str, Any]) -> list[str]:
    """Those that a decomposition would put into order, where pieces hold them and the normaliser leaves them."""
    decomposes = any(
        kind == "NFD" or (kind == "BertNormalizer" and _strips_accents(said["normalizer"]))
        for kind in _kinds(said["normalizer"])
    )
    marks = [character for character in _alphabet(said) if unicodedata.combining(character)] if decomposes else []
    return [mark for mark in marks if mark in _read_as(json.dumps(said["normalizer"]))(mark)]


def _strips_accents(normalizer: Mapping[str, Any]) -> bool:
    parts = [part for part in normalizer.get("normalizers", [normalizer]) if part["type"] == "BertNormalizer"]
    return any(part["lowercase"] if part["strip_accents"] is None else part["strip_accents"] for part in parts)


def described(tokenizer: Any) -> dict[str, Any]:
    """What the file says of it, as `numpy_model.Tokens` reads it."""
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    model, vocabulary = said["model"], said["model"]["vocab"]
    pieces: list[str | None] = [None] * (max(vocabulary.values()) + 1)
    for piece, number in vocabulary.items():
        pieces[number] = piece
    return {
        "pieces": pieces,
        "unknown": vocabulary[model["unk_token"]],
        "prefix": model["continuing_subword_prefix"],
        "most_characters": model["max_input_chars_per_word"],
        "special": {token["content"]: token["id"] for token in said["added_tokens"]},
        **dict(zip(("single", "pair"), _templates(said["post_processor"]), strict=True)),
        **_characters(said),
    }


def _templates(processor: Mapping[str, Any]) -> tuple[list[list[int]], list[list[int]]]:
    """Of one text and of two: (id of a special token, text or -1, type) each."""
    if processor["type"] == "BertProcessing":
        first, last = processor["cls"][1], processor["sep"][1]
        single = [[first, -1, 0], [0, 0, 0], [last, -1, 0]]
        return single, [*single, [0, 1, 1], [last, -1, 1]]
    made = []
    for name in ("single", "pair"):
        found = []
        for part in processor[name]:
            ((kind, said),) = part.items()
            if kind == "Sequence":
                found.append([0, "AB".index(said["id"]), said["type_id"]])
            else:
                found += [[i, -1, said["type_id"]] for i in processor["special_tokens"][said["id"]]["ids"]]
        made.append(found)
    return made[0], made[1]


def _characters(said: Mapping[str, Any]) -> dict[str, Any]:
    """characters: of each that becomes something else, what; starts, ends, kinds: ranges where all become alike."""
    alphabet = _alphabet(said)
    unknown = next(chr(code) for code in range(0xFFFF, 0, -1) if chr(code) not in alphabet)
    mapped: dict[str, str] = {}
    ranges: list[list[Any]] = []
    for start, end, seen in _seen(json.dumps(said["normalizer"]), json.dumps(said["pre_tokenizer"])):
        kind = {"": "dropped", " ": "space"}.get(seen)
        if kind is None and start + 1 == end:
            own = chr(start)
            read = "".join(one if one in alphabet or one == " " else unknown for one in seen)
            itself = own if own in alphabet else unknown
            kind = "alone" if read == f" {itself} " else None
            if kind is None and read != itself and (own in alphabet or unknown not in read or " " in read):
                mapped[own] = read
        if kind is not None:
            if ranges and ranges[-1][1] == start - 1 and ranges[-1][2] == kind:
                ranges[-1][1] = end - 1
            else:
                ranges.append([start, end - 1, kind])
    starts, ends, kinds = (list(column) for column in zip(*ranges, strict=True)) if ranges else ([], [], [])
    return {"characters": mapped, "starts": starts, "ends": ends, "kinds": kinds}


@cache
def _seen(normalizer: str, pre_tokenizer: str) -> tuple[tuple[int, int, str], ...]:
    """(first, behind the last, what is read there) of all characters that are not read as they are.

    What is read is the normalised character, with a space for what ends a word and around what is one by itself.
    """
    normal, splits = _read_as(normalizer), _splits(pre_tokenizer)
    found = [(start, end, seen) for start, end in _ALIKE for seen in normal(chr(start)) if seen != chr(start)]
    for part in _parts():
        for character, seen in zip(part, normal(part), strict=True):
            read = re.sub(" +", " ", "".join(splits.get(one, one) for one in seen))
            if read != character:
                found.append((ord(character), ord(character) + 1, read))
    return tuple(sorted(found))


def _parts() -> Iterator[str]:
    """All characters that are asked for, some thousands at a time."""
    for start, end in _ASKED:
        for first in range(start, end, _AT_ONCE):
            yield "".join(map(chr, range(first, min(end, first + _AT_ONCE))))


def _read_as(normalizer: str) -> Callable[[str], list[str]]:
    """characters -> what each of them is after it, by itself; normalizer: as it stands in tokenizer.json."""
    said = json.loads(normalizer)
    if said is None:
        return list
    asked = Tokenizer.from_str(_WITH.format(normalizer=normalizer, pre_tokenizer="null")).normalizer

    def read(characters: str) -> list[str]:
        return asked.normalize_str(_BETWEEN + _BETWEEN.join(characters) + _BETWEEN).split(_BETWEEN)[1:-1]

    return read


@cache
def _splits(pre_tokenizer: str) -> dict[str, str]:
    """What ends a word -> a space, what is one by itself -> it between spaces."""
    asked = Tokenizer.from_str(_WITH.format(normalizer="null", pre_tokenizer=pre_tokenizer)).pre_tokenizer
    found = {}
    for part in _parts():
        inside = [False] * (2 * len(part) + 1)
        for _, (start, end) in asked.pre_tokenize_str("a" + "a".join(part) + "a"):
            inside[start:end] = [True] * (end - start)
            if end - start == 1 and start % 2:
                found[part[start // 2]] = f" {part[start // 2]} "
        found |= {character: " " for place, character in enumerate(part) if not inside[2 * place + 1]}
    return found
