from __future__ import annotations

from typing import Any

import pytest
import torch

from asc_core.compress.calibration import RowNoise
from asc_core.compress.row_weights import row_gradients, row_weights
from asc_core.scores.sensitivity import random_projection
from asc_core.vocabulary import token_counts
from tests.evaluate.toy_tasks import encoder_for, toy_task


def test_by_use_a_row_weighs_one_more_than_it_is_used() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    found, counts = row_weights(encoder, task, "use"), torch.from_numpy(token_counts(encoder, task))
    torch.testing.assert_close(found, ((counts + 1) / (counts + 1).double().mean()).float())
    assert len(found) == encoder.tokens


@pytest.mark.parametrize("kind", ["text-classification", "pair-classification", "regression", "tagging"])
def test_gradients_are_those_of_each_text_alone(kind: str) -> None:
    task = toy_task(kind, train=12)
    encoder = encoder_for(task)
    found, uses = row_gradients(encoder, task, samples=12)
    features = task.features(task.examples("train", 12, 0), encoder)
    slow, tokens = torch.zeros(encoder.tokens, dtype=torch.float64), 0
    for row in range(len(features)):
        batch = task.batch(features, [row], encoder)
        seen: list[torch.Tensor] = []

        def keep(module: Any, inputs: Any, output: torch.Tensor, seen: list[torch.Tensor] = seen) -> torch.Tensor:
            seen.append(output.detach().requires_grad_())
            return seen[-1]

        hook = encoder.model.get_input_embeddings().register_forward_hook(keep)
        output = encoder.model(**batch.inputs)
        hook.remove()
        noise = RowNoise(0, [row], batch.rows_per_feature)
        (gradient,) = torch.autograd.grad(random_projection(output, batch.mask, noise), seen)
        for ids, mask, of in zip(batch.inputs["input_ids"], batch.mask, gradient, strict=True):
            for token, real, vector in zip(ids.tolist(), mask.tolist(), of, strict=True):
                if real:
                    slow[token] += float(vector.square().sum())
                    tokens += 1
    assert uses == tokens
    torch.testing.assert_close(found, slow, atol=1e-6, rtol=1e-3)


def test_by_outputs_unused_rows_weigh_an_average_use_and_the_model_stays_as_it_was() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    before = encoder.weights
    found, (sums, uses) = row_weights(encoder, task, "outputs"), row_gradients(encoder, task)
    assert encoder.weights == before
    assert not encoder.model.get_input_embeddings()._forward_hooks
    unused = sums == 0
    assert unused.any()
    assert found.mean() == pytest.approx(1, abs=1e-5)
    expected = sums + sums.sum() / uses
    torch.testing.assert_close(found.double(), expected / expected.mean(), atol=1e-5, rtol=1e-5)
    assert (found > 0).all()
