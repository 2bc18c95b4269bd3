"""Texts with dropped pieces, evaluated apart: the two parts make the whole, and the rest is answered as before."""

from __future__ import annotations

import pytest

from asc_core.compress.step import StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.errors import UserError
from asc_core.evaluate import evaluate
from asc_core.vocabulary import evaluate_apart
from tests.vocabulary.tokenizers_of_each_kind import TRAINED
from tests.vocabulary.toy_application import NEW, SEEN, encoder_of, task_of


@pytest.mark.parametrize("kind", TRAINED)
def test_the_parts_make_the_whole_and_the_rest_is_answered_as_before(kind: str) -> None:
    encoder, task = encoder_of(kind), task_of(SEEN, NEW)
    smaller = Vocabulary().apply(encoder, StepContext(task))
    found = evaluate_apart(encoder, smaller, task)
    changed, rest = found.on_changed, found.on_rest
    assert changed is not None
    assert rest is not None
    whole = evaluate(smaller, task, against=encoder)
    count = int(found.changed.changed.sum())
    assert (changed.examples, rest.examples) == (count, 60 - count)
    assert changed.value * count + rest.value * (60 - count) == pytest.approx(60 * whole.value)
    assert rest.difference == 0
    for is_changed, row in zip(found.changed.changed, task.examples("validation").rows, strict=True):
        same = encoder.tokenizer.tokenize(row["text"]) == smaller.tokenizer.tokenize(row["text"])
        assert same != is_changed
    assert 0 < found.changed.coverage < 1
    assert f"{count:,} of 60 examples" in found.notes[0]
    assert len(found.notes) == 3


def test_a_margin_of_everything_changes_no_text() -> None:
    encoder, task = encoder_of("wordpiece"), task_of(SEEN, NEW)
    smaller = Vocabulary(margin=encoder.tokens).apply(encoder, StepContext(task))
    assert smaller.tokens == encoder.tokens
    with pytest.raises(UserError, match="no dropped pieces"):
        evaluate_apart(encoder, smaller, task)


def test_a_part_without_a_value_is_said_to_be_too_small() -> None:
    encoder, task = encoder_of("wordpiece"), task_of(SEEN, SEEN)
    smaller = Vocabulary().apply(encoder, StepContext(task))
    found = evaluate_apart(encoder, smaller, task)
    assert found.on_changed is None
    assert found.changed.share == 0
    assert len(found.notes) == 2, "nothing is said of texts that are not there"


def test_without_labels_the_parts_are_agreement_with_the_original() -> None:
    encoder, task = encoder_of("wordpiece"), task_of(SEEN, NEW, labelled=False)
    found = evaluate_apart(encoder, Vocabulary().apply(encoder, StepContext(task)), task)
    assert found.on_rest is not None
    assert found.on_rest.value == 1
