"""Greedy layer pruning against whole models, each of them cut and run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.scores.greedy_layers import greedy_layers
from asc_core.tasks.base import Batch
from asc_core.values import Plan
from tests.scores.toy import ToyTask
from tests.tiny import tiny


class DecidedTask(ToyTask):
    def predict(self, output: Any, batch: Batch) -> list[Any]:
        return list(output.logits.argmax(-1).numpy())


TASK = DecidedTask(30)


def mean_loss(encoder: Encoder) -> float:
    features = TASK.features(TASK.examples("train"), encoder)
    batch = TASK.batch(features, range(len(features)), encoder)
    with torch.no_grad():
        return float(TASK.loss(encoder.model(**batch.inputs), batch).mean())


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_layer_that_goes_is_the_one_without_which_the_loss_is_least(architecture: str, seed: int) -> None:
    encoder = tiny(architecture, seed=seed, num_hidden_layers=4)
    plan = Plan.full(encoder.shape)
    for found in greedy_layers(encoder, TASK):
        assert found == plan
        if len(plan.layers) > 1:
            plan = min((plan.drop(layer) for layer in plan.layers), key=lambda p: mean_loss(encoder.cut(p)))
    assert len(found.layers) == 1


def test_shared_layers_and_tasks_without_labels_are_refused() -> None:
    with pytest.raises(UserError, match="share weights"):
        next(greedy_layers(tiny("albert"), TASK))
    plans = greedy_layers(tiny(), ToyTask(9, labelled=False))
    next(plans)
    with pytest.raises(UserError, match="no labels"):
        next(plans)
