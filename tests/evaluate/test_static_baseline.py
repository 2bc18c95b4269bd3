from __future__ import annotations

import pytest

from asc_core.errors import UserError
from asc_core.evaluate import evaluate
from asc_core.evaluate.static_baseline import KINDS, static_baseline, static_refusal
from tests.evaluate.toy_tasks import KINDS as ALL_KINDS
from tests.evaluate.toy_tasks import encoder_for, toy_task


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_say_the_class_are_found_without_a_transformer(kind: str) -> None:
    task = toy_task(kind)
    encoder = encoder_for(task)
    floor = static_baseline(encoder, task)
    assert evaluate(floor, task).value > 0.9
    assert 0 < floor.bytes < 4 * encoder.parameters


def test_the_classes_are_in_the_encoders_order() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    encoder.model.config.id2label = {0: "positive", 1: "negative"}
    assert evaluate(static_baseline(encoder, task), task).value > 0.9


@pytest.mark.parametrize("kind", sorted(set(ALL_KINDS) - set(KINDS)))
def test_where_a_task_has_no_such_floor_it_is_said(kind: str) -> None:
    task = toy_task(kind, train=8, validation=8)
    assert kind in str(static_refusal(task))
    with pytest.raises(UserError, match="no static floor"):
        static_baseline(encoder_for(task), task)


def test_without_labels_there_is_nothing_to_fit() -> None:
    task = toy_task(label=None, train=8, validation=8)
    assert "labelled training texts" in str(static_refusal(task))
