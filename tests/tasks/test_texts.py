"""Texts alone: the same tokens as the task's, for a model with any head."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import asc_core
from asc_core.compress import calibrate, refit
from asc_core.errors import UserError
from asc_core.tasks.texts import Texts
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task

OTHER = toy_task("tagging")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_texts_are_the_tasks_own_tokens_and_any_model_can_read_them(kind: str) -> None:
    task = toy_task(kind, train=30)
    mine, foreign = encoder_for(task), encoder_for(OTHER)
    expected = task.features(task.examples("train", 12, 3), mine)
    texts = Texts(task)
    found = texts.features(texts.examples("train", 12, 3), foreign)
    assert [ids.tolist() for ids in found.input_ids] == [ids.tolist() for ids in expected.input_ids]
    assert found.example.tolist() == expected.example.tolist()
    assert (found.token_types is None) == (expected.token_types is None)
    assert found.targets is None
    assert task.labelled  # the task itself still knows what it is for


def test_of_several_tasks_there_are_about_as_many_of_each() -> None:
    tasks = [toy_task("pair-classification", train=40), toy_task("tagging", train=40), toy_task("regression", train=40)]
    texts = Texts(*tasks)
    encoder = encoder_for(OTHER).copy()
    encoder.tokenizer = copy.deepcopy(encoder.tokenizer)
    encoder.tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    examples = texts.examples("train", 20, 0)
    counts = np.bincount([row["task"] for row in examples.rows])
    assert counts.sum() == 20
    assert counts.max() - counts.min() <= 1
    features = texts.features(examples, encoder)
    assert len(features) == 20
    assert features.token_types is not None
    assert [len(a) for a in features.token_types] == [len(a) for a in features.input_ids]


def test_label_free_scores_and_a_refit_need_texts_alone() -> None:
    encoder = encoder_for(OTHER)
    texts = Texts(toy_task("pair-classification", train=40))
    scores = asc_core.score(encoder, texts, ["obs", "asc-b"], samples=30)
    assert scores["obs"].values.heads is not None
    plan = Plan.full(encoder.shape).drop(0, head=0).drop(1, head=2)
    smaller, repairs = refit(encoder, plan, calibrate(encoder, texts, samples=30))
    assert len(repairs) == 2 * smaller.shape.layers


def test_texts_have_nothing_to_learn() -> None:
    encoder = encoder_for(OTHER)
    with pytest.raises(UserError, match="texts alone"):
        asc_core.score(encoder, Texts(OTHER), ["fisher"], samples=8)
