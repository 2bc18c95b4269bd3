"""What a token's leaving does: the gradients say what happens, and the rule orders tokens by it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.compress.token_effects import TokenEffects, fisher_projection, fitted_rules, price_curves, token_effects
from asc_core.progress import Progress
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task


def random_effects(rule: torch.Tensor, texts: int = 40, tokens: int = 9) -> TokenEffects:
    """Effects whose logarithm is what the rule says and a number of each text's own."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(texts, tokens, len(rule), generator=generator)
    real = torch.arange(tokens)[None] < torch.randint(3, tokens + 1, (texts, 1), generator=generator)
    return TokenEffects(real, [states], [(states @ rule + 5 * torch.randn(texts, 1, generator=generator)).exp()])


def test_the_rule_is_found_whatever_the_texts_are_worth() -> None:
    rule = torch.tensor([1.0, -0.5, 0.0, 0.2])
    (found,) = fitted_rules(iter([random_effects(rule)]))
    torch.testing.assert_close(found, rule, atol=0.02, rtol=0)


def test_prices_are_the_effects_of_those_that_leave() -> None:
    effects = torch.tensor([[9.0, 1.0, 4.0, 2.0], [9.0, 3.0, 1.0, 7.0]])
    states = effects.log()[..., None]
    real = torch.tensor([[True] * 4, [True, True, True, False]])
    curves = price_curves(iter([TokenEffects(real, [states], [effects])]), [torch.ones(1)], [250, 500, 1000])
    # 1 of 4 and 1 of 3 stay, then 2 of 4 and 2 of 3, then all; the first tokens always
    np.testing.assert_allclose(curves, [[1 + 2 + 4 + 3 + 1, 1 + 2 + 1, 0]], rtol=1e-6)


def test_the_projection_has_the_fisher_information_for_second_moments() -> None:
    logits = torch.tensor([[1.0, -0.5, 0.3, 2.0]], requires_grad=True)
    generator = np.random.default_rng(0)

    def draw(number: int, shape: torch.Size) -> torch.Tensor:
        return torch.from_numpy(generator.standard_normal(shape, np.float32))

    mask = torch.ones(1, 4, dtype=torch.bool)
    total = torch.zeros(4, 4)
    for _ in range(4000):
        (gradient,) = torch.autograd.grad(fisher_projection({"logits": logits}, mask, draw, False), [logits])
        total += gradient.T @ gradient / 4000
    shares = logits.detach()[0].softmax(0)
    torch.testing.assert_close(total, shares.diag() - torch.outer(shares, shares), atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_has_effects_and_those_of_whole_texts_do_not_depend_on_the_batch(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = toy_task(kind)
    encoder = encoder_for(task)
    features = task.features(task.examples("train", 6, 0), encoder)

    def found() -> list[float]:
        rows = np.arange(len(features))
        batches = list(token_effects(encoder, task, features, rows, 0, Progress()))
        assert all(len(b.states) == len(b.effects) == 2 for b in batches)
        return sorted(float(e) for b in batches for layer in b.effects for e in layer[b.real])

    together = found()
    assert min(together) >= 0
    assert max(together) > 0
    if task.head == "sequence-classification":  # random numbers of tokens are drawn with the padding's
        monkeypatch.setattr(sys.modules[token_effects.__module__], "BATCH_TOKENS", {"cpu": 1})
        np.testing.assert_allclose(found(), together, rtol=1e-2, atol=1e-4 * max(together))


def test_an_effect_is_what_closing_the_mask_a_little_changes() -> None:
    """The last layer alone, as a finite difference: its gate on one token, seen in the logits."""
    task = toy_task()
    encoder = encoder_for(task)
    features = task.features(task.examples("train", 1, 0), encoder)
    (found,) = token_effects(encoder, task, features, np.arange(1), 0, Progress())
    batch = task.batch(features, np.arange(1), encoder)
    layer: Any = encoder.model.bert.encoder.layer[-1]
    tokens = int(batch.inputs["attention_mask"].sum())
    closed = []
    with torch.no_grad():
        states: list[torch.Tensor] = []
        hook = layer.register_forward_pre_hook(lambda module, args: states.append(args[0]))
        wanted = encoder.model(**batch.inputs).logits[0]
        hook.remove()
        for token in range(1, tokens):
            gate = torch.zeros(1, 1, tokens, tokens)
            gate[..., token] = -1e-2
            last = layer(states[0], gate)
            said = encoder.model.classifier(encoder.model.bert.pooler(last))[0]
            change = (said - wanted) / 1e-2
            shares = wanted.softmax(0)
            closed.append(float(change @ (shares.diag() - torch.outer(shares, shares)) @ change))
    rank = np.corrcoef(np.argsort(np.argsort(closed)), np.argsort(np.argsort(found.effects[1][0, 1:tokens])))[0, 1]
    assert rank > 0.5  # two draws stand for the mean
