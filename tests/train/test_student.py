"""Fresh students: what they are made of, that they are taught, and that a killed recipe makes the same one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.compress.step import StepContext
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate.predictions import predict
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.scores.sweep import sweep
from asc_core.train.finetune import finetune
from asc_core.train.steps import Distil
from asc_core.train.student import Student, evenly
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

TASK = toy_task(train=96, validation=32)
FAST: dict[str, Any] = {"steps": 6, "lr": 1e-2, "batch_size": 16, "samples": 48}


def test_a_student_has_the_size_that_was_asked_for() -> None:
    encoder = encoder_for(TASK, num_hidden_layers=4)
    context = StepContext(TASK)
    made = Student(depth=2, heads=2, width=7, **FAST).apply(encoder, context)
    assert (made.shape.layers, made.shape.heads, made.shape.neurons) == (2, (2, 2), (7, 7))
    assert "student of 2 layers of 2 heads and 7 neurons" in str(context.done)
    same = Student(**FAST).plan(encoder, StepContext(TASK))
    assert same.keeps_all


def test_important_parts_are_those_of_highest_score_and_the_layers_that_are_missed() -> None:
    encoder = encoder_for(TASK, num_hidden_layers=4)
    plan = Student(depth=3, width=5, method="magnitude", **FAST).plan(encoder, StepContext(TASK))
    scores = sweep(encoder, TASK, ["magnitude"], samples=48)["magnitude"].values.neurons
    assert scores is not None
    for row, kept in zip(scores, plan.neurons, strict=True):
        gone = [neuron for neuron in range(len(row)) if neuron not in kept]
        assert len(kept) == 5
        assert row[list(kept)].min() >= row[gone].max()
    assert all(len(heads) == 4 for heads in plan.heads)
    assert len(plan.layers) == 3


def test_evenly_made_students_begin_as_distilbert_does() -> None:
    assert evenly(12, 6) == (0, 2, 4, 7, 9, 11)
    assert evenly(12, 12) == tuple(range(12))
    assert evenly(6, 1) == (5,)
    for there in range(1, 20):
        for count in range(1, there + 1):
            places = evenly(there, count)
            assert len(set(places)) == count
            assert list(places) == sorted(places)
            assert np.ptp(np.diff(places)) <= 1 if count > 2 else True
    encoder = encoder_for(TASK, num_hidden_layers=4)
    plan = Student(depth=2, heads=2, width=5, parts="evenly", **FAST).plan(encoder, StepContext(TASK))
    assert (plan.layers, plan.heads[0], plan.neurons[0]) == ((0, 3), (0, 3), (0, 5, 10, 14, 19))


def test_a_student_comes_closer_to_its_teacher_by_what_it_is_taught() -> None:
    taught = toy_task(train=320)
    teacher = finetune(encoder_for(taught), taught, epochs=6, batch_size=16, lr=1e-2).encoder
    options = {**FAST, "steps": 60, "patience": None}
    step = Student(depth=1, heads=1, width=3, parts="evenly", **options)
    begun, made = teacher.cut(step.plan(teacher, StepContext(taught))), step.apply(teacher, StepContext(taught))
    features = taught.features(taught.examples("validation"), teacher)

    def distance(encoder: Any) -> float:
        pairs = zip(predict(encoder, taught, features), predict(teacher, taught, features), strict=True)
        return sum(float(abs(a - b).sum()) for a, b in pairs)

    assert distance(made) < 0.5 * distance(begun)


def test_what_follows_a_student_still_learns_from_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    from asc_core.train import steps

    seen: list[Any] = []
    kept = steps.distil

    def listen(student: Any, teacher: Any, *args: Any, **options: Any) -> Any:
        seen.append((student, teacher))
        return kept(student, teacher, *args, **options)

    monkeypatch.setattr(steps, "distil", listen)
    encoder = encoder_for(TASK)
    made = Recipe((Student(depth=2, **FAST), Distil(steps=2, batch_size=16))).made(encoder, TASK)
    assert [teacher.weights for _, teacher in seen] == [encoder.weights] * 2
    assert made.before_cut is encoder


def test_a_killed_recipe_goes_on_to_the_same_student(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("the cat sat\na dog ran under the tree\n\nwho is big ?\n")
    recipe = Recipe((Student(depth=2, width=8, texts=str(tmp_path / "more.txt"), **FAST),))
    whole = recipe.apply(encoder_for(TASK), TASK)
    progress = Progress()

    def report(done: int, total: int, what: str) -> None:
        if what == "training steps" and done == 3:
            progress.cancel.set()

    progress.report = report
    with pytest.raises(Cancelled):
        recipe.apply(encoder_for(TASK), TASK, progress, folder=tmp_path / "state")
    for _ in range(2):
        again = recipe.apply(encoder_for(TASK), TASK, folder=tmp_path / "state")
        torch.testing.assert_close(logits(again, padded_batch()), logits(whole, padded_batch()), atol=0, rtol=0)


def test_its_file_says_all_and_other_texts_are_another_student(tmp_path: Path) -> None:
    step = Student(depth=2, heads=3, width=9, parts="evenly", **FAST)
    assert parse_step(step_json(step), "here") == step
    keys = [str(step.cache_key())]
    for content in ("a cat\n", "a dog\n"):
        (tmp_path / "more.txt").write_text(content)
        keys.append(str(step.model_copy(update={"texts": str(tmp_path / "more.txt")}).cache_key()))
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"depth": 9}, "has 3 layers: ask for no more"),
        ({"heads": 5}, "has 4 heads a layer"),
        ({"width": 21}, "has 20 neurons a layer"),
        ({"width": 5, "method": "confidence"}, "confidence says nothing of single neurons"),
    ],
)
def test_what_cannot_be_is_said(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Student(**fields, **FAST).apply(encoder_for(TASK), StepContext(TASK))


def test_a_student_of_layers_that_share_their_weights_is_refused() -> None:
    with pytest.raises(UserError, match="share their weights"):
        Student(depth=1, **FAST).apply(tiny("albert"), StepContext(TASK))
