"""What `asc check` says of a task: counts that are right, and problems that do not end it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asc_core.tasks import load_task
from asc_core.tasks.check import Check, Spread, check_task
from tests.tiny import WORDS, tiny

PLAIN = [word for word in WORDS[5:] if word.isalpha()]


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"{PLAIN[i % 20]} {PLAIN[i // 20 % 20]} {'cat ' * (i // 400)}", "label": "ab"[i % 2]}
            for i in range(start, start + count)]  # fmt: skip


TRAIN = rows(60)
TEST = [*rows(40, 100), TRAIN[0], TRAIN[2] | {"text": TRAIN[2]["text"].upper()}, TRAIN[0] | {"label": "b"}]


def checked(reader: Any = None, **options: Any) -> Check:
    return check_task(load_task({"train": TRAIN, "test": TEST}, name="t"), reader, **options)


def test_counts_of_every_split() -> None:
    found = checked()
    assert [(one.split, one.examples) for one in found.splits] == [("train", 54), ("validation", 6), ("test", 43)]
    test = found.splits[2]
    assert test.labels == {"a": 22, "b": 21}
    assert (test.duplicates, test.differ) == (1, 1)
    assert test.in_train == 3
    assert test.words == Spread(2, 2, 2, 2, 2)
    assert found.splits[0].in_train is None
    assert (found.encoder, found.matches, found.problems) == (None, None, ())
    assert any("different label" in note for note in found.notes)


def test_with_an_encoder_also_tokens_and_matches() -> None:
    found = checked(tiny(labels=["b", "a"], num_labels=2))
    assert found.matches == {"a": "a", "b": "b"}
    tokens = found.splits[0].tokens
    assert tokens is not None
    assert (tokens.lengths, tokens.truncated, tokens.unknown) == (Spread(4, 4, 4, 4, 4), 0, 0.0)
    long = load_task([{"text": f"cat {i} dog " * 40, "label": "ab"[i % 2]} for i in range(40)], max_length=16)
    short = check_task(long, tiny(labels=["a", "b"], num_labels=2)).splits[0].tokens
    assert short is not None
    assert (short.truncated, short.limit, short.lengths.highest) == (36, 16, 16)
    assert short.unknown > 0.1


def test_labels_that_do_not_match_are_a_problem_and_tokens_are_counted_all_the_same() -> None:
    found = checked(tiny(labels=["x", "y"], num_labels=2))
    assert found.matches is None
    assert len(found.problems) == 1
    assert "do not match" in found.problems[0]
    assert found.splits[0].tokens is not None


def test_a_bad_row_is_a_problem_of_its_split_alone() -> None:
    found = check_task(load_task({"train": TRAIN, "test": [*TEST, {"text": "", "label": "a"}]}, name="t"))
    assert found.problems == (found.splits[2].problem,)
    assert "row 44: the field 'text' is empty" in found.splits[2].problem
    assert found.splits[0].examples == 54


def test_a_sample_is_tokenised_where_there_is_much() -> None:
    tokens = checked(tiny(labels=["a", "b"], num_labels=2), limit=10).splits[0].tokens
    assert tokens is not None
    assert tokens.examples == 10


@pytest.mark.parametrize(
    ("data", "labels", "numbers"),
    [
        ([{"text": f"cat {i}", "y": i / 7} for i in range(50)], None, True),
        (
            [{"tokens": ["cat", "sat", PLAIN[i % 20]], "tags": ["B-x", "O", "O"]} for i in range(30)],
            {"O", "B-x"},
            False,
        ),
        ([{"text": f"cat {i}", "tags": ["p", "q"][: i % 3]} for i in range(50)], {"p", "q"}, False),
        (
            [
                {"question": f"who {i} ?", "context": f"the cat {PLAIN[i % 20]} sat", "answers": "cat"}
                for i in range(30)
            ],
            {"with an answer"},
            False,
        ),
    ],
)
def test_labels_of_every_kind(data: Any, labels: set[str] | None, numbers: bool) -> None:
    one = check_task(load_task(data)).splits[0]
    assert (None if one.labels is None else set(one.labels)) == labels
    assert (one.numbers is not None) is numbers


def test_it_is_said_in_lines_and_as_json() -> None:
    found = checked(tiny(labels=["a", "b"], num_labels=2))
    text = "\n".join(found.lines())
    for said in ("test: 43 examples", "a 22, b 21", "3 with a text of train", "labels = outputs of", "note: "):
        assert said in text
    assert json.loads(json.dumps(found.to_json()))["splits"][2]["labels"] == {"a": 22, "b": 21}
