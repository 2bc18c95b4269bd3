"""What is frequent in general: by the tokenizer's own order, an assumption that is tested, or by a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from asc_core.compress.vocabulary import Vocabulary
from asc_core.errors import UserError
from asc_core.vocabulary import general_order, token_model
from tests.vocabulary.tokenizers_of_each_kind import SPECIAL, TRAINED, wrapped

WORDS = [f"{a}{b}" for a in "bcdfghjklm" for b in ("ab", "ec", "id", "of", "ug")]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]


def word_pieces(words: list[str]) -> object:
    names = [*SPECIAL, "[unused0]", "[unused1]", *LETTERS, *words]
    core = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return wrapped(core)


def counted(tokenizer: object, often: dict[str, int]) -> np.ndarray:
    model = token_model(tokenizer)
    counts = np.zeros(len(model.names), int)
    for name, times in often.items():
        counts[model.ids[name]] = times
    return counts


OFTEN = {word: 200 - 3 * place for place, word in enumerate(WORDS)}


def test_a_vocabulary_written_most_frequent_first_is_seen_to_be_so() -> None:
    tokenizer = word_pieces(WORDS)
    model = token_model(tokenizer)
    found = general_order(tokenizer, model, counted(tokenizer, OFTEN))
    assert [model.names[token] for token in found.tokens] == [*WORDS, "[unused0]", "[unused1]"]
    assert found.agreement == pytest.approx(1)
    assert found.note.startswith("Assumed: the tokenizer's own order is that of general frequency.")
    assert "correlation with the application's own counts is 1.00 on 50 tokens." in found.note


def test_a_vocabulary_in_another_order_is_said_to_be_no_better_than_chance() -> None:
    shuffled = np.random.default_rng(1).permutation(WORDS).tolist()
    tokenizer = word_pieces(shuffled)
    found = general_order(tokenizer, token_model(tokenizer), counted(tokenizer, OFTEN))
    assert found.agreement is not None
    assert abs(found.agreement) < 0.2
    assert "little better than chance: name a text file of general language (margin_texts)" in found.note


def test_a_text_file_says_what_is_frequent_whatever_the_vocabularys_order(tmp_path: Path) -> None:
    shuffled = np.random.default_rng(1).permutation(WORDS).tolist()
    tokenizer = word_pieces(shuffled)
    text = tmp_path / "general.txt"
    text.write_text("\n".join(" ".join([word] * OFTEN[word]) for word in WORDS))
    model = token_model(tokenizer)
    found = general_order(tokenizer, model, counted(tokenizer, OFTEN), str(text))
    assert [model.names[token] for token in found.tokens][: len(WORDS)] == WORDS
    assert found.from_text
    assert found.agreement == pytest.approx(1)
    assert "Assumed" not in found.note
    text.write_text(" ".join(reversed(WORDS[:3])) + " bab")
    again = general_order(tokenizer, model, counted(tokenizer, OFTEN), str(text))
    assert model.names[again.tokens[0]] == "bab", "a file that was changed is read again"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "There is no text file"), (b"", "holds no text"), (b"\xff\xfe\x00", "cannot be read as UTF-8")],
    ids=["missing", "empty", "not text"],
)
def test_a_file_that_says_nothing_is_refused(content: bytes | None, sentence: str, tmp_path: Path) -> None:
    tokenizer = TRAINED["wordpiece"]
    file = tmp_path / "general.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        general_order(tokenizer, token_model(tokenizer), np.zeros(len(tokenizer), int), str(file))


@pytest.mark.parametrize("path", ["/dev/zero", ".", "a\0b"])
def test_what_never_ends_or_is_no_file_is_not_read(path: str) -> None:
    tokenizer = TRAINED["wordpiece"]
    with pytest.raises(UserError, match="There is no text file"):
        general_order(tokenizer, token_model(tokenizer), np.zeros(len(tokenizer), int), path)
    assert Vocabulary(margin=1, margin_texts=path).cache_key()[1]["margin_texts"] == ""


def test_byte_pairs_are_ordered_by_merges_and_unigram_by_log_probability() -> None:
    for kind in ("byte-level bpe", "unigram"):
        model = token_model(TRAINED[kind])
        tokens = general_order(TRAINED[kind], model, np.zeros(len(model.names), int)).tokens
        assert set(tokens) == set(model.names) - model.needed
        if kind == "unigram":
            values = [model.log_probability(token) for token in tokens]
            assert values == sorted(values, reverse=True)
        else:
            first = [model.ids[model.merged(*pair)] for pair in model.merges]
            assert list(tokens) == [token for token in dict.fromkeys(first) if token not in model.needed]


def test_of_too_few_tokens_no_correlation_is_said() -> None:
    tokenizer = word_pieces(WORDS)
    found = general_order(tokenizer, token_model(tokenizer), counted(tokenizer, {"bab": 3}))
    assert found.agreement is None
    assert "too few of these tokens (1)" in found.note
