"""Answers in every form that files have are found where they stand."""

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from asc_core.tasks.answers import place
from tests.tiny import tiny

CONTEXT = "rome is a big city , paris is a big city ."
ANSWER = "big city"
AT = CONTEXT.rindex(ANSWER)  # the second place, so that a dropped offset shows
ENCODER = tiny(head="question-answering")


def _task(value: Any, context: str = CONTEXT, **options: Any) -> Task:
    row = {"question": "what is paris ?", "context": context, "answers": value}
    return task_from_rows("t", "question-answering", {}, {"train": lambda: [row], "test": lambda: [row]}, **options)


def _span(task: Task) -> tuple[str, int, tuple[str, ...]]:
    """(the answer's text by its characters, its first character, what is said)"""
    examples = task.examples("test")
    answers = examples.rows[0]["answers"]
    return answers["text"][0], answers["answer_start"][0], tuple(note for note in examples.notes if "answers" in note)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"text": [ANSWER], "answer_start": [AT]}, id="the hub's"),
        pytest.param({"text": ANSWER, "answer_start": AT}, id="one answer"),
        pytest.param([{"text": ANSWER, "answer_start": AT}], id="SQuAD's"),
        pytest.param({"text": [ANSWER], "answer_start": [float(AT)]}, id="floats"),
        pytest.param({"text": [ANSWER], "answer_start": [str(AT)]}, id="text"),
        pytest.param({"text": [ANSWER], "answer_start": [f"{AT}.0"]}, id="floats as text"),
        pytest.param({"text": np.asarray([ANSWER]), "answer_start": np.asarray([AT])}, id="arrays"),
        pytest.param(f"{{'text': ['{ANSWER}'], 'answer_start': [{AT}]}}", id="as Python prints it"),
        pytest.param(
            f"{{'text': array(['{ANSWER}'], dtype=object), 'answer_start': array([{AT}], dtype=int32)}}",
            id="as pandas writes it",
        ),
        pytest.param(f'{{"text": ["{ANSWER}"], "answer_start": [{AT}]}}', id="JSON in a cell"),
    ],
)
def test_the_place_is_read_whatever_its_type(value: Any) -> None:
    task = _task(value)
    assert not task.no_answer
    assert _span(task) == (ANSWER, AT, ())
    features = task.features(task.examples("test"), ENCODER)
    first, last = features.targets[0]  # type: ignore[index]
    assert [CONTEXT[slice(*features.extra["offsets"][0][i])] for i in (first, last)] == ["big", "city"]
    assert features.extra["offsets"][0][first, 0] == AT


@pytest.mark.parametrize(
    ("value", "at", "said"),
    [
        pytest.param({"text": [ANSWER], "answer_start": [None]}, CONTEXT.index(ANSWER), "no answer_start", id="null"),
        pytest.param({"text": [ANSWER]}, CONTEXT.index(ANSWER), "no answer_start", id="absent"),
        pytest.param([ANSWER], CONTEXT.index(ANSWER), "no answer_start", id="a list of texts"),
        pytest.param(ANSWER, CONTEXT.index(ANSWER), "no answer_start", id="a text, as in a table"),
        pytest.param(f"['{ANSWER}']", CONTEXT.index(ANSWER), "no answer_start", id="a list as text"),
        pytest.param({"text": [ANSWER], "answer_start": [AT + 3]}, AT, "another place", id="a little off"),
        pytest.param({"text": [f" {ANSWER}\n"], "answer_start": [AT]}, AT, "spelled otherwise", id="blanks around"),
        pytest.param({"text": ["big\u00a0 city"], "answer_start": [AT]}, AT, "spelled otherwise", id="no-break"),
    ],
)
def test_a_place_that_had_to_be_looked_up_is_said(value: Any, at: int, said: str) -> None:
    text, start, notes = _span(_task(value))
    assert (text, start) == (ANSWER, at)
    assert said in notes[0]
    assert "1 of 1 examples" in notes[0]


@given(
    before=st.text("aé ü\u00a0", max_size=8),
    answer=st.text("éüñ½ c", min_size=1, max_size=6),
    after=st.text("xé ", max_size=5),
    forms=st.permutations(["NFC", "NFD"]),
)
def test_unicode_forms_make_no_difference(before: str, answer: str, after: str, forms: list[str]) -> None:
    wanted = unicodedata.normalize(forms[0], answer)
    if not wanted.strip():
        return
    context = unicodedata.normalize(forms[1], f"{before}|{answer}|{after}")
    found = place(wanted, None, context)
    assert found is not None
    first, end, _ = found
    same = unicodedata.normalize("NFKD", context[first:end]).split()
    assert same == unicodedata.normalize("NFKD", wanted).split()


def test_signs_may_stand_apart_from_words_and_words_may_not_be_parts_of_others() -> None:
    context = "it was a design - build , partnering ( and art ) party ."
    found = place("design-build, partnering (and art)", None, context)
    assert found is not None
    assert context[found[0] : found[1]] == "design - build , partnering ( and art )"
    assert place("part-y", None, context) is None
    assert place("sign-build", None, context) is None


@pytest.mark.parametrize("value", [None, [], "", float("nan"), {"text": [], "answer_start": []}, {"text": [""]}, "[]"])
def test_no_answer_is_no_answer(value: Any) -> None:
    assert _task(value).no_answer
    with pytest.raises(UserError, match="has no answer; for SQuAD"):
        _task(value, no_answer=False).examples("test")


@pytest.mark.parametrize(
    ("value", "said"),
    [(3, "'answers' is not"), ([[1]], "'answers' is not"), ({"text": [1]}, "'answers' is not"), ("york", "not stand")],
)
def test_what_is_no_answer_is_told_with_its_row(value: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"row 1: .*{said}"):
        _task(value).examples("test")
