from __future__ import annotations

import pytest
import torch

from asc_core.compress.share import Share
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.modeling import layers_of
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny


@pytest.mark.parametrize("weights", ["lower", "upper", "mean"])
@pytest.mark.parametrize("architecture", ["bert", "modernbert", "mpnet", "deberta-v2", "eurobert"])
def test_both_layers_run_on_one_set_of_weights(architecture: str, weights: str) -> None:
    encoder = tiny(architecture, num_hidden_layers=4)
    shared = Share(lower=2, weights=weights).apply(encoder, StepContext())  # type: ignore[arg-type]
    layers = layers_of(shared.model)
    assert layers[1] is layers[2]
    assert shared.shape.rows == (0, 1, 1, 2)
    lower, upper = (layers_of(encoder.model)[i].state_dict() for i in (1, 2))
    for name, found in layers[1].state_dict().items():
        wanted = {"lower": lower[name], "upper": upper[name], "mean": (lower[name] + upper[name]) / 2}[weights]
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    before = logits(encoder, padded_batch())
    assert (logits(shared, padded_batch()) - before).abs().max() > 1e-3
    torch.testing.assert_close(logits(encoder, padded_batch()), before, atol=0, rtol=0)


def test_the_pair_that_changes_least_is_found() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    layers = layers_of(encoder.model)
    layers[2].load_state_dict(layers[1].state_dict())  # layers 2 and 3 are alike already
    shared = Share().apply(encoder, StepContext(task))
    assert shared.structures[-1]["layers"] == [0, 1, 1]
    torch.testing.assert_close(logits(shared, padded_batch()), logits(encoder, padded_batch()), atol=1e-5, rtol=0)


def test_what_cannot_be_shared_is_said() -> None:
    encoder = tiny()
    with pytest.raises(UserError, match="Layers 3 and 4 cannot share their weights; 1 and 2, 2 and 3 can"):
        Share(lower=3).apply(encoder, StepContext())
    with pytest.raises(UserError, match="no two adjacent layers"):
        Share(lower=1).apply(tiny("albert"), StepContext())
    uneven = encoder.cut(Plan.full(encoder.shape).drop(0, head=1).drop(2, head=0).drop(2, head=1))
    with pytest.raises(UserError, match="share before cutting"):
        Share(lower=1).apply(uneven, StepContext())


def test_texts_are_needed_only_to_choose() -> None:
    assert Share().needs_task
    assert not Share(lower=1).needs_task
