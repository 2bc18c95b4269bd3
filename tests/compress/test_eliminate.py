"""The step: within the budget, better than leaving by chance, and said in words where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core import modeling
from asc_core.compress.eliminate import EliminateTokens
from asc_core.compress.matrix_scan import MatrixScanner
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from asc_core.plan.encoder_cost import task_cost
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.tasks import load_task
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny


@pytest.mark.parametrize("kind", ["text-classification", "question-answering", "tagging", "intent-slots"])
def test_it_keeps_to_the_budget_and_says_what_it_changed(kind: str) -> None:
    task = toy_task(kind)
    encoder, context = encoder_for(task), StepContext(task=task)
    made = EliminateTokens(keep=0.75, samples=64).apply(encoder, context)
    share = task_cost(made, task).flops / task_cost(encoder, task).flops
    assert 0.6 < share <= 0.75
    assert context.done is not None
    assert "of the tokens enter the layers" in context.done
    assert modeling.structures_of(made.model.config)[-1]["safe"] == [2, 3]


def test_what_leaves_by_its_effect_changes_less_than_what_leaves_the_other_way_round() -> None:
    encoder, task = load_encoder("demo:qa", device="cpu"), load_task("demo:qa")  # random ones are far from linear
    layers = encoder.shape.layers
    keep = (*[1.0] * (layers // 2), *[0.6] * (layers - layers // 2))
    made = EliminateTokens(schedule=keep, samples=32).apply(encoder, StepContext(task=task))
    other = made.copy()
    with torch.no_grad():
        other.model.get_parameter(modeling.effect_name(other.model, layers // 2)).neg_()
    scanner = MatrixScanner(encoder, task, samples=32, split="validation")
    assert scanner.effect_of(made.model).divergence < 0.5 * scanner.effect_of(other.model).divergence


def test_the_same_texts_and_seed_make_the_same_model() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    step = EliminateTokens(keep=0.8, samples=32)
    first, second = (step.apply(encoder, StepContext(task=task)) for _ in range(2))
    assert first.weights == second.weights


def test_a_recipe_of_a_cut_and_tokens_goes_through_its_file() -> None:
    step = parse_step({"step": "eliminate-tokens", "schedule": [1, 0.6, 0.5], "by": "attention"}, "here")
    assert parse_step(step_json(step), "here") == step
    assert not step.needs_task
    made = Recipe((step,)).apply(tiny())
    assert np.isfinite(logits(made, padded_batch()).numpy()).all()
    assert step.describe() == "tokens leave by attention received: 1 0.6 0.5 of them enter the layers"
    with pytest.raises(UserError, match="cannot follow"):
        Recipe((step, parse_step({"step": "factor"}, "here")))


def test_what_cannot_be_is_said_in_a_sentence() -> None:
    task = toy_task()
    context = StepContext(task=task)
    with pytest.raises(UserError, match=r"keep = 0\.2: all tokens enter the first layer, so at least 0\.\d+"):
        EliminateTokens(keep=0.2, samples=16).apply(encoder_for(task), context)
    with pytest.raises(UserError, match="count positions themselves"):
        EliminateTokens().apply(encoder_for(task, "mpnet"), context)
    with pytest.raises(UserError, match="2 layers, the model has 3"):
        EliminateTokens(schedule=(1, 0.5), by="attention").apply(tiny(), StepContext())


def test_short_texts_are_said_to_have_little_to_spare() -> None:
    task = toy_task()
    context = StepContext(task=task)
    EliminateTokens(keep=0.8, samples=16).apply(encoder_for(task), context)
    assert "of which few can be spared" in str(context.done)
