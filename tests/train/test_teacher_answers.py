"""A teacher that is asked once says what it would say each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.tasks.soft_targets import OUTPUTS
from asc_core.train import distil as module
from asc_core.train import teacher_answers
from asc_core.train.distil import Terms, distil
from asc_core.train.teacher_answers import TeacherAnswers
from tests.evaluate.toy_tasks import encoder_for, toy_task

KINDS = ("text-classification", "tagging", "intent-slots", "question-answering")
ALONE = Terms(labels=0, hidden=0)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_teacher(kind: str) -> None:
    task = toy_task(kind, train=150)
    encoder = encoder_for(task)
    features = task.features(task.examples("train"), encoder)
    known = TeacherAnswers(encoder, task, features, encoder, lambda batch: batch)
    rows = np.asarray([3, 140, 7, 7, 64])
    batch = task.batch(features, rows, encoder)
    with torch.no_grad():
        wanted = encoder.model(**batch.inputs)
    found = known.of(rows, batch.mask.shape[1])
    names = [name for name in OUTPUTS if getattr(wanted, name, None) is not None]
    assert sorted(vars(found)) == sorted(names)
    for name in names:
        mine, theirs = getattr(found, name), getattr(wanted, name)
        assert mine.shape == theirs.shape
        for place, length in enumerate(features.lengths[rows]):
            of_tokens = theirs.dim() == 3 or name in ("start_logits", "end_logits")
            end = int(length) if of_tokens else None
            torch.testing.assert_close(mine[place][:end], theirs[place][:end], rtol=1e-5, atol=1e-5)


def test_an_answer_does_not_depend_on_who_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_answers, "BLOCK", 8)
    task = toy_task(train=40)
    encoder = encoder_for(task)
    features = task.features(task.examples("train"), encoder)
    found = []
    for order in (range(40), range(39, -1, -1)):
        known = TeacherAnswers(encoder, task, features, encoder, lambda batch: batch)
        for row in order:
            known.of(np.asarray([row]), 64)
        found.append(known.of(np.arange(40), 64).logits)
    assert torch.equal(*found)


@pytest.mark.parametrize(("steps", "looks"), [(3, 6), (12, 12)])  # one epoch, and four: the student's alone
def test_it_is_asked_once_where_outputs_alone_are_learnt(
    steps: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task(train=48, validation=16)
    teacher = encoder_for(task)
    made: list[Any] = []
    monkeypatch.setattr(module.ForwardPass, "look", _counting(made, module.ForwardPass.look))
    distil(teacher, teacher, task, steps=steps, batch_size=16, terms=ALONE, patience=None)
    assert len(made) == looks


def test_what_does_not_fit_into_memory_is_asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(train=48, validation=16)
    teacher = encoder_for(task)
    whole = distil(teacher, teacher, task, steps=6, batch_size=16, terms=ALONE).encoder
    monkeypatch.setattr(teacher_answers, "MOST_BYTES", 10)
    made = []
    monkeypatch.setattr(module.ForwardPass, "look", _counting(made, module.ForwardPass.look))
    again = distil(teacher, teacher, task, steps=6, batch_size=16, terms=ALONE).encoder
    assert len(made) == 12
    for mine, theirs in zip(again.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    task = toy_task("intent-slots", train=96, validation=16)
    teacher = encoder_for(task)
    options: dict[str, Any] = {"steps": 14, "batch_size": 16, "terms": ALONE, "patience": None, "lr": 1e-3}
    whole = distil(teacher, teacher, task, tmp_path / "whole", **options).encoder
    seen: list[Any] = []

    def stop(*event: Any) -> None:
        seen.append(event)
        if len(seen) == 11:
            raise Cancelled

    with pytest.raises(Cancelled):
        distil(teacher, teacher, task, tmp_path / "killed", progress=Progress(stop), **options)
    assert distil(teacher, teacher, task, tmp_path / "killed", **options).encoder.weights == whole.weights


def _counting(made: list[Any], look: Any) -> Any:
    def counted(self: Any, batch: Any) -> None:
        made.append(batch)
        look(self, batch)

    return counted
