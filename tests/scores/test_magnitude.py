from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.scores.magnitude import chance, magnitude
from asc_core.values import Plan
from tests.tiny import ARCHITECTURES, tiny


def removed_weights(encoder, plan: Plan) -> float:
    """Sum of squares of the weights of linears that a cut takes away, biases not counted."""

    def total(model: torch.nn.Module) -> float:
        return sum(
            float(m.weight.detach().double().square().sum()) for m in model.modules() if isinstance(m, torch.nn.Linear)
        )

    return total(encoder.model) - total(encoder.cut(plan).model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_magnitude_is_the_norm_of_what_a_cut_takes_away(architecture: str) -> None:
    encoder = tiny(architecture)
    scores, full = magnitude(encoder), Plan.full(encoder.shape)
    assert scores.heads is not None
    assert scores.neurons is not None
    row = len(encoder.shape.heads) - 1
    for part in (0, 3):
        assert scores.heads[row][part] ** 2 == pytest.approx(removed_weights(encoder, full.drop(row, head=part)))
        assert scores.neurons[row][part] ** 2 == pytest.approx(removed_weights(encoder, full.drop(row, neuron=part)))
    if not encoder.shape.shares_weights:
        assert scores.layers is not None
        assert scores.layers[row] ** 2 == pytest.approx(removed_weights(encoder, full.drop(row)))


def test_sublayers_add_up_their_parts() -> None:
    scores = magnitude(tiny("modernbert"))
    np.testing.assert_allclose(scores.attention**2, [(h**2).sum() for h in scores.heads])
    np.testing.assert_allclose(scores.layers**2, scores.attention**2 + scores.ffn**2)


def test_chance_follows_its_seed() -> None:
    encoder = tiny()
    first, again, other = (np.concatenate(chance(encoder, seed).heads) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()
    assert len(np.unique(first)) == len(first)
