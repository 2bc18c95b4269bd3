"""Which task a table is for: kinds, columns and labels as people have them in their files."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.tasks import load_task
from asc_core.tasks.guess import Given, Guess, guess
from asc_core.tasks.sources import Table

WORDS = "the film was a story about an actor who never found his way home in time for dinner".split()
DRAW = random.Random(0)


def sentence(at_least: int = 5) -> str:
    return " ".join(DRAW.choices(WORDS, k=DRAW.randint(at_least, 12)))


def guessed(make: Any, count: int = 60, **given: Any) -> Guess:
    rows = [make(i) for i in range(count)]
    return guess(Table(rows, "data.csv", tuple(rows[0])), Given(**given))


@pytest.mark.parametrize(
    ("make", "kind", "texts", "label"),
    [
        (lambda i: {"id": i, "text": sentence(), "label": "ab"[i % 2]}, "text-classification", ("text",), "label"),
        (lambda i: {"v1": "ham spam".split()[i % 2], "v2": sentence()}, "text-classification", ("v2",), "v1"),
        (lambda i: {"review": sentence(), "sentiment": i % 2}, "text-classification", ("review",), "sentiment"),
        (lambda i: {"review": sentence(), "stars": 1 + i % 5}, "text-classification", ("review",), "stars"),
        (lambda i: {"review": sentence(), "toxicity": i / 7}, "regression", ("review",), "toxicity"),
        (
            lambda i: {"premise": sentence(), "hypothesis": sentence(), "label": i % 3},
            "pair-classification",
            ("premise", "hypothesis"),
            "label",
        ),
        (
            lambda i: {
                "Quality": i % 2,
                "#1 ID": 900 + i,
                "#2 ID": 70 + i,
                "#1 String": sentence(),
                "#2 String": sentence(),
            },
            "pair-classification",
            ("#1 String", "#2 String"),
            "Quality",
        ),
        (
            lambda i: {"sentence_A": sentence(), "sentence_B": sentence(), "score": i / 12},
            "regression",
            ("sentence_A", "sentence_B"),
            "score",
        ),
        (lambda i: {"text": sentence(), "tags": ["x", "y"][: i % 3]}, "multi-label", ("text",), "tags"),
        (lambda i: {"text": sentence(), "genres": ["a", "a|b", "c", "b|c"][i % 4]}, "multi-label", ("text",), "genres"),
        (
            lambda i: {"comment": sentence(), "toxic": i % 2, "threat": i % 3 // 2, "insult": 0},
            "multi-label",
            ("comment",),
            ("toxic", "threat", "insult"),
        ),
        (
            lambda i: {"tokens": (words := sentence().split()), "ner_tags": ["O"] * len(words)},
            "tagging",
            ("tokens",),
            "ner_tags",
        ),
        (
            lambda i: {"question": sentence(), "context": sentence(), "answers": {"text": ["a"], "answer_start": [0]}},
            "question-answering",
            ("question", "context"),
            "answers",
        ),
        (lambda i: {"text": sentence()}, "text-classification", ("text",), None),
        (
            lambda i: {"headline": sentence(), "body": sentence(9), "topic": "xyz"[i % 3]},
            "text-classification",
            ("body",),
            "topic",
        ),
    ],
)
def test_kind_texts_and_label(make: Any, kind: str, texts: tuple[str, ...], label: Any) -> None:
    found = guessed(make)
    assert (found.kind, found.texts, found.label) == (kind, texts, label)
    assert found.notes


def test_intents_with_slots() -> None:
    found = guessed(lambda i: {"words": (w := sentence().split()), "slots": ["O"] * len(w), "intent": "xy"[i % 2]})
    assert (found.kind, found.texts, found.label, found.slots) == ("intent-slots", ("words",), "intent", "slots")


def test_what_is_given_is_not_guessed_and_not_said() -> None:
    given = {"kind": "regression", "texts": ("title",), "label": "stars"}
    found = guessed(lambda i: {"title": sentence(), "text": sentence(), "label": "ab"[i % 2], "stars": i % 5}, **given)
    assert (found.kind, found.texts, found.label, found.notes) == ("regression", ("title",), "stars", ())


def test_another_possible_label_and_other_texts_are_named() -> None:
    found = guessed(lambda i: {"text": sentence(), "abstract": sentence(), "label": i % 2, "year": 1990 + i % 9})
    said = " ".join(found.notes)
    assert "could also be 'year'" in said
    assert "Left out, though there is text in it: 'abstract'" in said


def test_without_a_name_the_column_of_the_fewest_values_is_the_label_and_the_longest_the_text() -> None:
    found = guessed(
        lambda i: {"Titel": sentence(3)[:20], "Inhalt": sentence(8), "Datum": f"2020-{i % 12}", "Art": "ab"[i % 2]}
    )
    assert (found.texts, found.label) == (("Inhalt",), "Art")


def test_a_column_that_is_mostly_empty_is_not_the_text() -> None:
    found = guessed(lambda i: {"remark": sentence(9) if i % 9 == 0 else "", "words": sentence(4), "label": i % 2})
    assert found.texts == ("words",)


def test_a_sorted_file_is_looked_at_all_over() -> None:
    found = guessed(lambda i: {"text": sentence(), "label": "a" if i < 6000 else "b"}, 12_000)
    assert (found.kind, found.label) == ("text-classification", "label")


def test_no_labels_where_none_are_wanted() -> None:
    assert guessed(lambda i: {"text": sentence(), "label": i % 2}, unlabelled=True).label is None


@pytest.mark.parametrize(
    ("make", "given", "said"),
    [
        (lambda i: {"a": i, "b": i / 2}, {}, "no column that looks like text: its columns are 'a', 'b'"),
        (
            lambda i: {"sentence": "" if i % 8 else f"s {i}", "word": WORDS[i % 9], "tag": ["O", "O", "B-x"][i % 3]},
            {},
            "has one word a row",
        ),
        (lambda i: {"text": sentence()}, {"texts": ("txt",)}, "has no column 'txt'; its columns are 'text'"),
        (lambda i: {"text": sentence()}, {"kind": "clustering"}, "There is no kind of task 'clustering'"),
    ],
)
def test_what_cannot_be_is_refused(make: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        guessed(make, **given)


CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["O", "B-x", "a b c d"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["text", "label", "tokens", "tags", "x1", "x2", ""]), CELLS), max_size=8)
)
@settings(max_examples=200, deadline=None)
def test_whatever_rows_hold_there_is_a_task_or_a_sentence(rows: list[dict[str, Any]]) -> None:
    with contextlib.suppress(UserError):
        load_task(rows).examples("train")
