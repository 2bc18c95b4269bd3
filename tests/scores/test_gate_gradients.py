"""The table of gradients: one row a text, as if each had been computed alone; and its sums as gradients of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core import modeling, scores
from asc_core.scores.gate_gradients import gate_gradients
from tests.scores.toy import PairTask, ToyTask, single_example_gradients
from tests.tiny import tiny


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "deberta-v2"])
def test_each_texts_gradients_are_those_of_a_backward_pass_of_its_own(architecture: str) -> None:
    encoder, task = tiny(architecture), ToyTask(9)
    table = gate_gradients(encoder, task, batch_tokens=40)
    wanted = single_example_gradients(encoder, task)
    np.testing.assert_allclose(np.hstack(table.heads), wanted["heads"], atol=2e-5)
    np.testing.assert_allclose(np.hstack(table.neurons), wanted["neurons"], atol=2e-5)


def test_fisher_is_the_score_of_that_name() -> None:
    encoder, task = tiny(), ToyTask(20)
    heads, neurons = gate_gradients(encoder, task).fisher()
    found = scores.sweep(encoder, task, ["fisher"])["fisher"].values
    assert found.heads is not None
    assert found.neurons is not None
    np.testing.assert_allclose(np.hstack(heads), np.hstack(found.heads), rtol=1e-4)
    np.testing.assert_allclose(np.hstack(neurons), np.hstack(found.neurons), rtol=1e-4)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_what_feeds_a_neuron_has_the_sum_of_weight_times_gradient(architecture: str) -> None:
    encoder, task = tiny(architecture), ToyTask(12)
    table = gate_gradients(encoder, task, feeders=True, batch_tokens=40)
    assert table.feeders is not None
    features = task.features(task.examples("train"), encoder)
    batch = task.batch(features, range(12), encoder)
    task.loss(encoder.model(**batch.inputs), batch).sum().backward()
    description = modeling.architecture_of(encoder.model)
    for row, layer in enumerate(modeling.rows_of(encoder.model)):
        wanted = torch.zeros(encoder.shape.neurons[row])
        for linear in modeling.feeding(description, layer, "ffn"):
            into = (linear.weight * linear.weight.grad).sum(1)
            if linear.bias is not None:
                into = into + linear.bias * linear.bias.grad
            wanted = wanted + into.view(-1, len(wanted)).sum(0)
        np.testing.assert_allclose(table.feeders[row].sum(0), wanted.detach().numpy(), atol=1e-4)


def test_a_feature_of_two_texts_is_one_row() -> None:
    table = gate_gradients(tiny(), PairTask(7), feeders=True)
    assert table.feeders is not None
    assert {len(rows) for rows in (*table.heads, *table.neurons, *table.feeders)} == {7}
