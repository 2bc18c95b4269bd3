"""The law of the device's tokens: whatever a text holds, they are those of the tokenizers library."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from asc_core.export.answer.numpy_model import Tokens
from asc_core.export.device_tokenizer import described, refusal
from tests.tiny import tokenizer as tiny_tokenizer
from tests.vocabulary.tokenizers_of_each_kind import TRAINED

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the cat play ing ed un a e i n o s t à é ß ñ İ ı σ ς ᄀ ᅡ ᆨ 人 豈 豈 を か ゙ 。 ¿ ; ; . , ' - [ ] # ü U A"
PIECES = [*SPECIAL, *(form for word in WORDS.split() for form in (word, f"##{word}"))]
NORMALIZERS: dict[str, Any] = {
    "uncased": normalizers.BertNormalizer(),
    "cased": normalizers.BertNormalizer(lowercase=False),
    "accents stay": normalizers.BertNormalizer(strip_accents=False),
    "as it is": normalizers.BertNormalizer(
        clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False
    ),
    "lower case": normalizers.Lowercase(),
    "in a row": normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
    "none": None,
}
# The table of a normaliser takes seconds to ask for.
KINDS = [kind if kind == "uncased" else pytest.param(kind, marks=pytest.mark.slow) for kind in NORMALIZERS]


@cache
def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(PIECES))}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=20))
    if NORMALIZERS[kind] is not None:
        core.normalizer = NORMALIZERS[kind]
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {f"{name[1:-1].lower()}_token": name for name in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


@cache
def tokens_of(kind: str) -> Tokens:
    return Tokens(json.loads(json.dumps(described(tokenizer_of(kind)))))


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
near_texts = st.lists(
    st.one_of(
        st.sampled_from([*"".join(WORDS.split()), *SPECIAL, " ", "\t", "\u00a0", "\u0301", "가", "각", "A\u0308"]),
        any_text,
    ),
    max_size=12,
).map("".join)
texts = st.one_of(any_text, near_texts)


def same(kind: str, given: list[str], most: int) -> None:
    lists = [[text] for text in given]  # by itself, an empty second text would count as none
    encoded = tokenizer_of(kind)(*lists, truncation=True, max_length=most, return_token_type_ids=True)
    found = tokens_of(kind).encoded(given, most)
    assert [[token[0] for token in found]] == encoded["input_ids"]
    assert [[token[1] for token in found]] == encoded["token_type_ids"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(first=texts, second=st.none() | texts, most=st.integers(4, 40))
@example(first="", second=None, most=4)
@example(first="", second="", most=4)
@example(first="the cat" * 2000, second="a 😀 👩‍👩‍👧 \uac00 \u0378 [MASK][SEP] x", most=40)
def test_ids_and_types_are_those_of_the_library(kind: str, first: str, second: str | None, most: int) -> None:
    same(kind, [first] if second is None else [first, second], most)


@pytest.mark.parametrize("kind", ["uncased", pytest.param("cased", marks=pytest.mark.slow)])
@settings(max_examples=100, deadline=None)
@given(text=near_texts)
def test_places_in_the_text_are_those_of_the_library(kind: str, text: str) -> None:
    library = Tokenizer.from_str(tokenizer_of(kind).backend_tokenizer.to_str())
    library.no_truncation()
    encoding = library.encode(text)
    found = tokens_of(kind).encoded([text], 1 << 20)
    for (number, _, inside, start, end), expected in zip(found, encoding.offsets, strict=True):
        if inside == 0 and number != 1:
            assert text[start] == text[expected[0]]
            assert start < end <= expected[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uncased", "cased", "lower case"])
def test_every_character_there_is_is_read_as_the_library_reads_it(kind: str) -> None:
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    library = Tokenizer.from_str(tokenizer_of(kind).backend_tokenizer.to_str())
    library.no_truncation()
    for start in range(0, len(codes), 64):
        text = "".join(f"a{chr(code)}e {chr(code)} " for code in codes[start : start + 64])
        assert [token[0] for token in tokens_of(kind).encoded([text], 1 << 20)] == library.encode(text).ids


def changed(**parts: Any) -> PreTrainedTokenizerFast:
    core = Tokenizer.from_str(tokenizer_of("uncased").backend_tokenizer.to_str())
    for name, part in parts.items():
        setattr(core, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=core)


def with_token(token: AddedToken) -> PreTrainedTokenizerFast:
    other = changed()
    other.add_tokens([token])
    return other


@pytest.mark.parametrize(
    ("tokenizer", "says"),
    [
        (TRAINED["unigram"], "model is Unigram, not WordPiece"),
        (TRAINED["byte-level bpe"], "model is BPE, not WordPiece"),
        (changed(normalizer=normalizers.NFKC()), "normalises texts by NFKC"),
        (changed(pre_tokenizer=pre_tokenizers.Whitespace()), "finds words by Whitespace"),
        (changed(post_processor=processors.ByteLevel()), "puts no template around a text"),
        (with_token(AddedToken("dog", single_word=True)), "'dog' is looked for in texts in another way"),
        (object(), "has no form that the tokenizers library reads"),
    ],
)
def test_what_it_cannot_split_is_refused_with_the_way_out(tokenizer: Any, says: str) -> None:
    said = refusal(tokenizer)
    assert said is not None
    assert says in said
    assert "Export it as ONNX" in said


@pytest.mark.parametrize("kind", NORMALIZERS)
def test_what_it_splits_is_not_refused(kind: str) -> None:
    assert refusal(tokenizer_of(kind)) is None


def test_template_of_two_texts_and_a_shorter_text() -> None:
    tokenizer = tiny_tokenizer()
    tokens = Tokens(json.loads(json.dumps(described(tokenizer))))
    question, context = "who is in paris ?", "the cat sat on the mat " * 20
    encoded = tokenizer(question, context, truncation="only_second", max_length=24, return_token_type_ids=True)
    found = tokens.encoded([question, context], 24, only_last=True)
    assert [token[0] for token in found] == encoded["input_ids"]
    assert [token[1] for token in found] == encoded["token_type_ids"]
    assert context[found[-2][3] : found[-2][4]] in "the cat sat on the mat"
