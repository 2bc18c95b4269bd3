"""Distillation: its terms against slow code, and that a cut model learns from the original."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.predictions import predict
from asc_core.progress import Progress
from asc_core.tasks import Task
from asc_core.tasks.soft_targets import relative_error, soft_targets
from asc_core.train.distil import (
    ForwardPass,
    Teaching,
    Terms,
    distil,
    matching_layers,
    relation_loss,
)
from asc_core.train.finetune import finetune
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task
from tests.tiny import ARCHITECTURES, logits, padded_batch

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = {"batch_size": 16, "lr": 1e-2}
ALL = Terms(relations=1.0)


def a_batch(task: Task, encoder: Encoder) -> Any:
    features = task.features(task.examples("train", 6, 0), encoder)
    return task.batch(features, range(len(features)), encoder)


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def divergence(teacher: list[float], student: list[float]) -> float:
    return sum(t * math.log(t / s) for t, s in zip(softmax(teacher), softmax(student), strict=True))


def test_soft_targets_against_slow_code() -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(4, 3, generator=generator) for _ in range(2))
    temperature, mask = 2.0, torch.ones(4, 5, dtype=torch.bool)
    found = soft_targets(SimpleNamespace(logits=mine), SimpleNamespace(logits=theirs), mask, temperature)
    rows = [divergence((t / 2).tolist(), (m / 2).tolist()) for m, t in zip(mine, theirs, strict=True)]
    assert float(found) == pytest.approx(4 * sum(rows) / 4, rel=1e-5)


def test_padding_counts_in_no_term() -> None:
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    a, b = (torch.randn(2, 5, 8, generator=generator) for _ in range(2))
    tokens, spans = ((torch.randn(2, 5, 3, generator=generator), torch.randn(2, 5, generator=generator)) for _ in "ab")

    def terms(a: torch.Tensor, b: torch.Tensor, tokens: Any, spans: Any) -> list[float]:
        of_tokens = [SimpleNamespace(logits=one) for one in (tokens[0], b[..., :3])]
        of_spans = [SimpleNamespace(start_logits=one) for one in (spans[1], b[..., 0])]
        return [
            float(relative_error(a, b, mask)),
            float(relation_loss(a, b, 2, mask)),
            float(soft_targets(*of_tokens, mask, 1.0)),
            float(soft_targets(*of_spans, mask, 1.0)),
        ]

    before = terms(a, b, tokens, spans)
    for tensor in (a, b, tokens[0]):
        tensor[0, 3:] = 99.0
    spans[1][0, 3:] = 99.0
    assert terms(a, b, tokens, spans) == pytest.approx(before, rel=1e-5)
    assert all(value > 0.01 for value in before)


def test_value_relations_against_slow_code() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(1, 3, 4, generator=generator), torch.randn(1, 3, 8, generator=generator)
    found = relation_loss(student, teacher, 2, torch.ones(1, 3, dtype=torch.bool))

    def related(values: torch.Tensor, group: int, token: int) -> list[float]:
        width = values.shape[-1] // 2
        part = values[0, :, group * width : (group + 1) * width]
        return [float(part[token] @ other) / math.sqrt(width) for other in part]

    each = [divergence(related(teacher, g, t), related(student, g, t)) for g in range(2) for t in range(3)]
    assert float(found) == pytest.approx(sum(each) / 6, rel=1e-4)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_teacher_itself_has_nothing_to_learn_and_a_cut_model_has(kind: str) -> None:
    task = toy_task(kind, train=24)
    teacher = encoder_for(task)
    batch = a_batch(task, teacher)
    terms = Terms(labels=0, relations=1.0)
    nothing = Teaching(teacher, teacher, task, terms).loss(teacher, task, batch)
    assert float(nothing.detach()) == pytest.approx(0, abs=1e-5)
    smaller = teacher.cut(Plan.full(teacher.shape).drop(0, head=0).drop(1))
    something = Teaching(teacher, smaller, task, terms).loss(smaller, task, batch)
    assert float(something.detach()) > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_shows_its_values_and_its_layers(architecture: str) -> None:
    task = toy_task(train=24)
    encoder = encoder_for(task, architecture)
    seen = ForwardPass(encoder, related=True)
    with torch.no_grad():
        seen.look(a_batch(task, encoder))
    assert len(seen.states) == encoder.shape.layers
    last = encoder.shape.rows[-1]
    assert seen.values.shape[-1] == encoder.shape.heads[last] * modeling.key_width(encoder.model.config)


def test_values_are_those_of_the_value_projection() -> None:
    task = toy_task(train=24)
    encoder = encoder_for(task)
    seen, batch = ForwardPass(encoder, related=True), a_batch(task, encoder)
    with torch.no_grad():
        seen.look(batch)
        value = encoder.model.base_model.encoder.layer[-1].attention.self.value
        torch.testing.assert_close(seen.values, value(seen.states[-2]))


def test_layers_of_a_cut_model_are_matched_with_those_that_they_were() -> None:
    teacher = encoder_for(toy_task())
    layers = teacher.shape.layers
    smaller = teacher.cut(Plan.full(teacher.shape).drop(0))
    assert matching_layers(smaller, teacher) == tuple(range(1, layers))
    again = smaller.cut(Plan.full(smaller.shape).drop(layers - 2))
    assert matching_layers(again, smaller) == tuple(range(layers - 2))
    assert matching_layers(again, teacher) == tuple(range(1, layers - 1))


@pytest.mark.parametrize("lora_rank", [None, 4])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_cut_model_comes_closer_to_the_original(labelled: bool, lora_rank: int | None) -> None:
    taught = toy_task(train=320)
    teacher = finetune(encoder_for(taught), taught, epochs=6, **FAST).encoder
    task = taught if labelled else toy_task(train=320, label=None)
    smaller = teacher.cut(Plan.full(teacher.shape).drop(0))
    before = teacher.weights
    result = distil(smaller, teacher, task, steps=60, terms=ALL, lora_rank=lora_rank, patience=None, **FAST)
    del teacher.__dict__["weights"]
    assert teacher.weights == before
    assert result.history[0].epoch == 0
    assert result.best_metric >= result.history[0].metric
    assert result.encoder.shape == smaller.shape
    features = taught.features(taught.examples("validation"), teacher)

    def distance(encoder: Encoder) -> float:
        pairs = zip(predict(encoder, taught, features), predict(teacher, taught, features), strict=True)
        return sum(float(abs(a - b).sum()) for a, b in pairs)

    assert distance(result.encoder) < 0.5 * distance(smaller)


def test_steps_that_only_harm_are_not_kept() -> None:
    task = toy_task(train=64)
    teacher = finetune(encoder_for(task), task, epochs=6, **FAST).encoder
    spoiled = distil(teacher, teacher, task, steps=8, lr=0.5, batch_size=16)
    assert spoiled.best_metric == spoiled.history[0].metric
    torch.testing.assert_close(logits(spoiled.encoder, padded_batch()), logits(teacher, padded_batch()))


@pytest.mark.parametrize(
    ("change", "says"),
    [({"soft": -1.0}, "soft = -1"), ({"temperature": 0.0}, "temperature"), ({"hidden": float("nan")}, "hidden")],
)
def test_terms_that_make_no_sense_are_refused(change: dict[str, float], says: str) -> None:
    task = toy_task(train=24)
    encoder = encoder_for(task)
    with pytest.raises(UserError, match=says):
        distil(encoder, encoder, task, steps=1, terms=Terms(**change), progress=Progress())


def test_relations_are_left_out_where_there_are_no_heads_to_relate() -> None:
    task = toy_task(train=24)
    teacher = encoder_for(task)
    last = teacher.shape.layers - 1
    plan = Plan.full(teacher.shape)
    for head in range(teacher.shape.heads[last]):
        plan = plan.drop(last, head=head)
    smaller = teacher.cut(plan)
    teaching = Teaching(teacher, smaller, task, Terms(relations=1.0))
    assert math.isfinite(float(teaching.loss(smaller, task, a_batch(task, teacher)).detach()))
    with pytest.raises(UserError, match="nothing to learn from"):
        Teaching(teacher, smaller, task, Terms(labels=0, soft=0, hidden=0, relations=1.0))


def test_no_term_at_all_is_refused() -> None:
    task = toy_task(train=24, label=None)
    encoder = encoder_for(toy_task(train=24))
    with pytest.raises(UserError, match="nothing to learn from"):
        Teaching(encoder, encoder, task, Terms(soft=0, hidden=0))


def test_a_teacher_of_another_kind_is_refused() -> None:
    task = toy_task(train=24)
    with pytest.raises(UserError, match="architecture and head"):
        distil(encoder_for(task), encoder_for(task, "distilbert"), task, steps=1)
    with pytest.raises(UserError, match="hidden size or labels"):
        distil(encoder_for(task), encoder_for(toy_task(), hidden_size=32), task, steps=1)


def test_soft_targets_of_many_decisions_against_slow_code() -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = (torch.randn(4, 3, generator=generator) for _ in range(2))
    mask, outputs = torch.ones(4, 5, dtype=torch.bool), (SimpleNamespace(logits=mine), SimpleNamespace(logits=theirs))
    found = soft_targets(*outputs, mask, 2.0, binary=True)
    each = [divergence([t / 2, 0.0], [m / 2, 0.0]) for t, m in zip(theirs.flatten(), mine.flatten(), strict=True)]
    assert float(found) == pytest.approx(4 * sum(each) / 4, rel=1e-5)


def test_a_constant_on_all_logits_is_seen_where_each_is_a_decision() -> None:
    task = toy_task("multi-label", train=20)
    teacher = encoder_for(task)
    student = teacher.copy()
    with torch.no_grad():
        student.model.classifier.bias -= 10
    shown = Teaching(teacher, student, task, Terms(labels=0.0, hidden=0.0))
    batch = a_batch(task, teacher)
    assert float(shown.loss(teacher, task, batch)) == pytest.approx(0, abs=1e-6)
    assert float(shown.loss(student, task, batch)) > 1


def test_layers_of_a_shallower_model_are_spread_evenly() -> None:
    teacher, student = (encoder_for(toy_task(), num_hidden_layers=n) for n in (6, 3))
    assert matching_layers(student, teacher) == (1, 3, 5)
    assert matching_layers(student.cut(Plan.full(student.shape).drop(0)), teacher) == (2, 5)
