from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core.errors import UserError
from asc_core.tasks.texts import unlabelled
from asc_core.train.augmented import AugmentedTeaching
from asc_core.train.distil import Teaching, Terms
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task

LINE = "the cat sat on the mat"


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"question-answering"}))
def test_further_texts_are_learnt_without_labels_beside_the_tasks_own(kind: str, tmp_path: Path) -> None:
    task = toy_task(kind, train=24)
    teacher = encoder_for(task)
    student = teacher.cut(Plan.full(teacher.shape).drop(1))
    texts = tmp_path / "texts.txt"
    texts.write_text("\t".join([LINE] * (2 if kind == "pair-classification" else 1)) + "\n")
    terms = Terms()
    augmented = AugmentedTeaching(teacher, student, task, terms, texts)
    alone = Teaching(teacher, student, task, terms)
    features = task.features(task.examples("train", 6, 0), student)
    batch = task.batch(features, range(6), student)
    more = unlabelled(task).batch(augmented.features, [0] * 6, student)
    wanted = (alone.loss(student, task, batch) + alone.loss(student, unlabelled(task), more)) / 2
    torch.testing.assert_close(augmented.loss(student, task, batch), wanted)
    assert augmented.identity() != alone.identity()


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("text-classification", "\n \n", "has no texts"),
        ("pair-classification", f"{LINE}\t{LINE}\n{LINE}\n", "line 2: toy-pair-classification has 2 text"),
        ("question-answering", LINE, "takes no file of texts"),
    ],
)
def test_a_file_that_does_not_fit_is_said(kind: str, content: str, says: str, tmp_path: Path) -> None:
    task = toy_task(kind, train=24)
    teacher = encoder_for(task)
    (tmp_path / "texts.txt").write_text(content)
    with pytest.raises(UserError, match=says):
        AugmentedTeaching(teacher, teacher, task, Terms(), tmp_path / "texts.txt")
    with pytest.raises(UserError, match="cannot be read"):
        AugmentedTeaching(teacher, teacher, toy_task(), Terms(), tmp_path / "no")
