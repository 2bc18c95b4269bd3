"""The step: heads at their optimum, a threshold that keeps to what may be lost, and a forecast that comes true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from asc_core.compress.early_exit import EarlyExit, combined, fitted_head, left_at
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.per_example import measure
from asc_core.loading import load_encoder
from asc_core.plan.encoder_cost import task_cost
from asc_core.recipes.registry import parse_step, step_json
from asc_core.tasks import load_task
from tests.evaluate.toy_tasks import encoder_for, toy_task


def test_a_head_is_at_its_optimum_and_finds_a_linear_teacher() -> None:
    generator = torch.Generator().manual_seed(0)
    states = 3 + torch.randn(500, 6, generator=generator) * torch.tensor([1.0, 5, 0.2, 1, 1, 1])
    teacher = torch.randn(3, 6, generator=generator)
    wanted = functional.linear((states - 3), teacher).softmax(-1)
    weight, bias = fitted_head(states, wanted, 0)
    said = functional.linear(states, weight, bias).argmax(-1)
    assert (said == wanted.argmax(-1)).float().mean() > 0.95


def test_a_text_leaves_at_the_first_head_that_is_sure() -> None:
    first = torch.tensor([[5.0, 0], [0, 0], [0, 0]])
    second = torch.tensor([[0, 5.0], [0, 5], [0, 0]])
    last = torch.tensor([[0.0, 1], [1, 0], [1, 0]])
    assert left_at([first, second], 0.9).tolist() == [0, 1, 2]
    assert combined([first, second], last, 0.9).tolist() == [[5, 0], [0, 5], [1, 0]]
    assert torch.equal(combined([first, second], last, 1.0), last)


@pytest.fixture(scope="module")
def demo() -> tuple[Encoder, object]:
    return load_encoder("demo:sentiment", device="cpu"), load_task("demo:sentiment")


@pytest.mark.parametrize("most_lost", [0.03])
def test_not_more_is_lost_than_may_be_and_the_shares_are_those_that_leave(demo: tuple, most_lost: float) -> None:
    encoder, task = demo
    context = StepContext(task=task)
    made = EarlyExit(most_lost=most_lost, samples=100).apply(encoder, context)
    before, after = (measure(one, task, "validation", limit=100) for one in (encoder, made))
    assert before.statistics.mean() - after.statistics.mean() <= most_lost + 1e-9
    assert task_cost(made, task).flops < task_cost(encoder, task).flops
    assert "100 % at worst" in str(context.done)
    entry = made.structures[-1]
    features = task.features(task.examples("validation", 100, 0), encoder)
    batch = task.batch(features, np.arange(40), encoder)
    with torch.inference_mode():
        assert torch.isfinite(made.model(**batch.inputs).logits).all()
    assert 0 < sum(entry["leaving"]) <= 1


def test_sure_as_given_is_taken_and_1_is_the_model_itself() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    context = StepContext(task=task)
    made = EarlyExit(sure=1, samples=32, layers=(2,)).apply(encoder, context)
    assert made.structures[-1] == {"kind": "exits", "layers": [1], "sure": 1.0, "leaving": [0.0]}
    assert "no validation text leaves" in str(context.done)
    assert task_cost(made, task).flops == task_cost(encoder, task).flops
    before, after = (measure(one, task, "validation") for one in (encoder, made))
    assert np.array_equal(before.statistics, after.statistics)


def test_a_task_without_labels_counts_answers() -> None:
    task = toy_task(label=None)
    encoder = encoder_for(task)
    made = EarlyExit(most_lost=0.1, samples=64).apply(encoder, StepContext(task=task))
    features = task.features(task.examples("validation", 64, 0), encoder)
    batch = task.batch(features, np.arange(len(features)), encoder)
    with torch.inference_mode():
        changed = made.model(**batch.inputs).logits.argmax(-1) != encoder.model(**batch.inputs).logits.argmax(-1)
    assert float(changed.float().mean()) <= 0.1 + 1e-6


def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    step = parse_step({"step": "early-exit", "most_lost": 0.02}, "here")
    assert parse_step(step_json(step), "here") == step
    assert step.describe() == "texts leave early, at most 2 points lost"
    task = toy_task()
    with pytest.raises(UserError, match="No text can leave behind layer 3: name layers from 1 to 2"):
        EarlyExit(layers=(3,)).apply(encoder_for(task), StepContext(task=task))
    tagging = toy_task("tagging")
    with pytest.raises(UserError, match="only a head that classifies whole texts"):
        EarlyExit().apply(encoder_for(tagging), StepContext(task=tagging))
    with pytest.raises(UserError, match="needs the task's texts"):
        EarlyExit().apply(encoder_for(task), StepContext())
