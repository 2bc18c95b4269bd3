from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.scores import sweep
from asc_core.values import Plan
from tests.scores.test_sensitivity import flat
from tests.scores.toy import ToyTask
from tests.test_surgery import VARIANTS
from tests.tiny import tiny

METHODS = ("confidence", "attention-entropy")


@torch.no_grad()
def slow(encoder, task) -> dict[str, np.ndarray]:
    """method -> scores of all heads, from the attentions that transformers itself gives out, token by token."""
    eager = encoder.copy().model
    eager.set_attn_implementation("eager")
    rows = len(encoder.shape.heads)
    found: dict[str, list[list[list[float]]]] = {m: [[[] for _ in range(4)] for _ in range(rows)] for m in METHODS}
    features = task.features(task.examples("train"), encoder)
    for i in range(len(features)):
        inputs = task.batch(features, [i], encoder).inputs
        for layer, probabilities in enumerate(eager(**inputs, output_attentions=True).attentions):
            queries = len(probabilities[0]) // encoder.shape.heads[0]  # that share a key: they are one head
            for query, weights in enumerate(probabilities[0]):
                head = query // queries
                for p in weights.double():
                    entropy = -float(sum(w * w.log() for w in p if w > 0))
                    row = encoder.shape.rows[layer]
                    found["confidence"][row][head].append(float(p.max()))
                    found["attention-entropy"][row][head].append(1 - entropy / np.log(len(p)))
    return {
        m: np.asarray([[np.mean(values) for values in heads] for heads in each]).ravel() for m, each in found.items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_scores_equal_those_of_every_token_by_itself(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    expected = slow(encoder, ToyTask(4))
    scores = sweep(encoder, ToyTask(4, padding=3), METHODS, batch_tokens=40)
    for method, values in expected.items():
        assert np.ptp(values) > 1e-2
        np.testing.assert_allclose(flat(scores[method].values, "heads"), values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "deberta-v2"])
def test_eager_attention_is_only_used_when_it_is_asked_for_and_never_on_the_encoder_itself(architecture: str) -> None:
    encoder = tiny(architecture)
    before = encoder.model.config._attn_implementation
    hooks = sum(len(m._forward_hooks) for m in encoder.model.modules())
    with_attention = sweep(encoder, ToyTask(5), ["confidence", "fisher"])
    assert encoder.model.config._attn_implementation == before
    assert sum(len(m._forward_hooks) for m in encoder.model.modules()) == hooks
    without = sweep(encoder, ToyTask(5), ["fisher"])
    np.testing.assert_allclose(
        flat(with_attention["fisher"].values, "heads"), flat(without["fisher"].values, "heads"), rtol=1e-3
    )


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "deberta-v2"])
def test_a_row_without_heads_has_no_attention_scores(architecture: str) -> None:
    encoder = tiny(architecture)
    smaller = encoder.cut(Plan(encoder.shape, ((), (0, 2), (1,)), (tuple(range(5)), (), (3,)), (0, 1, 2)))
    scores = sweep(smaller, ToyTask(4), METHODS)
    for method in METHODS:
        assert [len(h) for h in scores[method].values.heads or ()] == [0, 2, 1]
        assert np.isfinite(flat(scores[method].values, "heads")).all()


def test_an_encoder_that_gives_no_probabilities_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    attention = modeling.submodule(modeling.rows_of(encoder.model)[1], "attention.self")
    assert isinstance(attention, nn.Module)

    class Silent(type(attention)):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)[0], None

    attention.__class__ = Silent
    with pytest.raises(UserError, match=r"\(bert\) gives no probabilities: leave out"):
        sweep(encoder, ToyTask(3), ["confidence"])
