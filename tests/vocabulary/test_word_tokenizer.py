"""Words are what stands between spaces, without the signs at their ends."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.vocabulary.word_tokenizer import SPECIAL, one_word, texts_of, word_tokenizer, words_in
from tests.evaluate.toy_tasks import toy_task
from tests.scores.toy import ToyTask


def split_slowly(text: str) -> list[str]:
    """ASCII alone."""
    found = []
    for word in text.split():
        head, middle, tail = re.fullmatch(r"([^a-z0-9]*)(.*?)([^a-z0-9]*)", word).groups()  # type: ignore[union-attr]
        found += [*head, *([middle] if middle else []), *tail]
    return found


@given(st.text("ab1.,'($-  ", max_size=20))
def test_signs_at_the_ends_of_a_word_are_words_and_those_inside_belong_to_it(text: str) -> None:
    counted = words_in(word_tokenizer(()), [text])
    assert sorted(counted.elements()) == sorted(split_slowly(text))


@given(st.lists(st.sampled_from(["now", "o'clock", "5:30", "(", "x", "I"]), min_size=1, max_size=8))
def test_words_that_come_apart_are_read_as_those_of_the_joined_text(words: list[str]) -> None:
    tokenizer = word_tokenizer(["now", "o'clock", "5:30", "(", "i"])
    apart = tokenizer([words], is_split_into_words=True)["input_ids"]
    assert apart == tokenizer([" ".join(words)])["input_ids"]
    assert len(apart[0]) == len(words) + 1


def test_a_text_of_no_words_still_has_a_token_and_two_texts_are_told_apart() -> None:
    tokenizer = word_tokenizer(["a", "b"])
    assert tokenizer("")["input_ids"] == [tokenizer.sep_token_id]
    assert tokenizer("a", "b")["input_ids"] == [3, 2, 4, 2]
    assert tokenizer.padding_side == "right"
    assert [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.sep_token_id] == [0, 1, 2]


def test_case_counts_only_where_it_is_asked_for() -> None:
    assert word_tokenizer(["a"], lower=True)("A")["input_ids"] == [3, 2]
    assert word_tokenizer(["a"], lower=False)("A")["input_ids"] == [1, 2]
    assert one_word(word_tokenizer(()), "Now") == "now"


@pytest.mark.parametrize("text", ["", "two words", "(now", *SPECIAL])
def test_what_would_be_read_as_no_word_or_several_is_none_of_a_vocabulary(text: str) -> None:
    assert one_word(word_tokenizer((), lower=False), text) is None


def test_a_tasks_texts_are_those_of_all_its_columns() -> None:
    pairs = toy_task("pair-classification", train=3)
    assert len(list(texts_of(pairs, "train"))) == 6
    assert all(isinstance(text, str) for text in texts_of(toy_task("tagging", train=3), "train"))
    with pytest.raises(UserError, match="no texts to find words in"):
        list(texts_of(ToyTask(), "train"))
