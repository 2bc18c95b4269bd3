"""From texts to token ids and padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.tasks.base import Features, Reader


UNKNOWN_SHARE = 0.05  # of the tokens, from which on they are spoken of
CHARACTERS_A_TOKEN = 32  # that a token covers at most, in all but odd texts


def tokenizer_of(reader: Reader, fast: bool = False) -> Any:
    """Raises: UserError where the checkpoint has no tokenizer, or not one that knows where its tokens stand."""
    tokenizer = reader.tokenizer
    if tokenizer is None:
        raise UserError(f"The model {reader.name} has no tokenizer; put its tokenizer.json into {reader.source}.")
    if fast and not tokenizer.is_fast:
        raise UserError(
            f"The tokenizer of {reader.name} does not tell where its tokens stand in the text, which this task needs; "
            f"put a tokenizer.json (a fast tokenizer) into {reader.source}."
        )
    return tokenizer


def length_limit(wanted: int | None, default: int, reader: Reader, task: str) -> int:
    """Tokens of a feature at most; as many as there are positions where some were dropped.

    Raises: UserError where the task asks for more than the encoder can take.
    """
    tokenizer_of(reader)
    if wanted is None or getattr(reader, "shortened", False):  # readers of others need not know of it
        return min(default if wanted is None else wanted, reader.max_length)
    if wanted > reader.max_length:
        raise UserError(
            f"max_length = {wanted} of the task {task} is more than the {reader.max_length} tokens that "
            f"{reader.name} can take; set max_length = {reader.max_length} or less in the task file."
        )
    return wanted


def takes_token_types(reader: Reader) -> bool:
    """Whether the model tells first and second text apart by token types (BERT does, RoBERTa and DistilBERT do not)."""
    return reader.type_vocab_size > 1


def _beginnings(tokenizer: Any, texts: Sequence[str], limit: int) -> list[str]:
    """The same texts, those cut that are far longer than `limit` tokens: what is cut off is never reached.

    A cut is between two words, and behind more than `limit` tokens, so that the first `limit` tokens stay the same.
    """
    beginnings = list(texts)
    for index, text in enumerate(texts):
        characters = limit * CHARACTERS_A_TOKEN
        while len(text) > 2 * characters:
            cut = text.rfind(" ", 0, characters)
            beginning = text[: cut if cut > 0 else characters]
            tokens = tokenizer(beginning, add_special_tokens=False, return_attention_mask=False, verbose=False)
            if len(tokens["input_ids"]) > limit + 1:
                beginnings[index] = beginning
                break
            characters *= 2
    return beginnings


def tokenise(
    reader: Reader, first: Sequence[str], second: Sequence[str] | None, limit: int
) -> tuple[list[np.ndarray], list[np.ndarray] | None, list[int]]:
    """Texts, or pairs of texts, to (token ids of each, token types of each or None, which of them lost text)."""
    tokenizer = tokenizer_of(reader)
    types_wanted = second is not None and takes_token_types(reader)
    first = _beginnings(tokenizer, first, limit)
    second = None if second is None else _beginnings(tokenizer, second, limit)

    def run(rows: Sequence[int] | range, **options: Any) -> Any:
        texts = [[first[i] for i in rows]]
        if second is not None:
            texts.append([second[i] for i in rows])
        return tokenizer(
            *texts, return_attention_mask=False, return_token_type_ids=types_wanted, verbose=False, **options
        )

    encoded = run(range(len(first)))
    ids = [np.asarray(x, dtype=np.int32) for x in encoded["input_ids"]]
    types = [np.asarray(x, dtype=np.int32) for x in encoded["token_type_ids"]] if types_wanted else None
    long = [i for i, x in enumerate(ids) if len(x) > limit]
    if long:  # cut here, so that every text that lost something is counted
        cut = run(long, truncation=True, max_length=limit)
        for position, i in enumerate(long):
            ids[i] = np.asarray(cut["input_ids"][position], dtype=np.int32)
            if types is not None:
                types[i] = np.asarray(cut["token_type_ids"][position], dtype=np.int32)
    return ids, types, long


def tokenise_words(
    reader: Reader, texts: Sequence[Sequence[str]], limit: int, apart: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Words of each text to (token ids, word whose first token each token is or -1, how many texts lost words).

    apart: each word is tokenised for itself. By default the words are joined by spaces and tokens assigned by where
    they stand, so that a tokenizer that treats the beginning of a text in its own way (byte-level BPE) sees words as
    it does in running text.
    """
    tokenizer = tokenizer_of(reader, fast=True)
    shortened = [words[: limit * CHARACTERS_A_TOKEN] for words in texts]  # a word without any token is a rare one
    joined = [" ".join(words) for words in shortened]
    encoded = tokenizer(
        [list(words) for words in shortened] if apart else joined,
        is_split_into_words=apart,
        truncation=True,
        max_length=limit,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids, firsts, truncated = [], [], 0
    for words, text, encoding in zip(shortened, joined, encoded.encodings, strict=True):
        ids.append(np.asarray(encoding.ids, dtype=np.int32))
        firsts.append(_firsts_apart(encoding) if apart else _firsts_joined(encoding, words, text))
        truncated += len(encoding.ids) >= limit and len(encoding.overflowing) > 0
    return ids, firsts, truncated


def beyond(
    reader: Reader, ids: Sequence[np.ndarray], types: Sequence[np.ndarray] | None = None
) -> tuple[int, str] | None:
    """(the first feature that the model cannot read, why), where its tokenizer knows more tokens than the model."""
    known, kinds = reader.tokens, reader.type_vocab_size  # looked up in the model, which takes longer than a text
    for row, tokens in enumerate(ids):
        if len(tokens) and tokens.max() >= known:
            token = int(tokens[tokens >= known][0])
            text = tokenizer_of(reader).convert_ids_to_tokens(token)
            return row, (
                f"the token {text!r} has the number {token}, and {reader.name} has embeddings for {known} "
                f"tokens only (its tokenizer knows {len(tokenizer_of(reader))}); give it the tokenizer that it was "
                "trained with, or take the checkpoint whose embeddings were resized."
            )
        if types is not None and len(types[row]) and types[row].max() >= kinds:
            return row, (
                f"the tokenizer gives a text the token type {int(types[row].max())}, and {reader.name} knows "
                f"{kinds}; give it the tokenizer that it was trained with."
            )
    return None


def _firsts_apart(encoding: Any) -> np.ndarray:
    first = np.full(len(encoding.ids), -1, dtype=np.int32)
    last = -1
    for token, word in enumerate(encoding.word_ids):
        if word is not None and word > last:
            first[token] = last = word
    return first


def _firsts_joined(encoding: Any, words: Sequence[str], text: str) -> np.ndarray:
    word_of_character = np.repeat(np.arange(len(words)), [len(w) + 1 for w in words])
    first = np.full(len(encoding.ids), -1, dtype=np.int32)
    last = -1
    for token, ((start, end), sequence) in enumerate(zip(encoding.offsets, encoding.sequence_ids, strict=True)):
        if sequence is None or end <= start:
            continue
        if text[start] == " ":  # tokenizers that keep the space before a word with it
            start += 1
        word = int(word_of_character[start]) if start < len(text) else last
        if word > last:
            first[token], last = word, word
    return first


def unknown(reader: Reader, ids: Sequence[np.ndarray], texts: Sequence[str]) -> tuple[str, ...]:
    """What is to be said where the tokenizer does not know much of the texts.

    ids: tokens of each feature. texts: some of those they are from, to find examples in.
    """
    share = unknown_share(reader, ids)
    if share < UNKNOWN_SHARE:
        return ()
    mark = reader.tokenizer.unk_token_id
    words: dict[str, None] = {}
    for word in (word[:40] for text in texts[:50] for word in text[:2000].split()):
        if word not in words and mark in reader.tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"]:
            words[word] = None
        if len(words) == 5:
            break
    such = f", such as {', '.join(words)}" if words else ""
    return (
        f"The tokenizer of {reader.name} does not know {100 * share:.0f} % of the tokens{such}: is it the one that the "
        "model was trained with, and is the language of the texts the model's?",
    )


def unknown_share(reader: Reader, ids: Sequence[np.ndarray]) -> float:
    """Of all tokens, those that stand for what the tokenizer does not know."""
    mark, total = reader.tokenizer.unk_token_id, sum(map(len, ids))
    return 0.0 if mark is None or not total else sum(int((x == mark).sum()) for x in ids) / total


def pad(arrays: Sequence[np.ndarray], value: int, length: int | None = None) -> np.ndarray:
    """(len(arrays), longest) int64, filled up on the right."""
    longest = max((len(a) for a in arrays), default=0) if length is None else length
    padded = np.full((len(arrays), longest), value, dtype=np.int64)
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = array
    return padded


def model_inputs(
    ids: Sequence[np.ndarray], token_types: Sequence[np.ndarray] | None, reader: Reader
) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and, where given, token_type_ids: (rows, T) each, on the reader's device."""
    padding = reader.tokenizer.pad_token_id
    if padding is None or padding >= reader.tokens:  # added to the tokenizer alone; what is masked may be any token
        padding = 0
    inputs = {
        "input_ids": pad(ids, padding),
        "attention_mask": pad([np.ones(len(x), dtype=np.int64) for x in ids], 0),
    }
    if token_types is not None:
        inputs["token_type_ids"] = pad(token_types, 0)
    return {name: torch.from_numpy(array).to(reader.device) for name, array in inputs.items()}


def feature_inputs(features: Features, rows: Sequence[int] | np.ndarray, reader: Reader) -> dict[str, torch.Tensor]:
    types = features.token_types
    return model_inputs(
        [features.input_ids[i] for i in rows], None if types is None else [types[i] for i in rows], reader
    )
