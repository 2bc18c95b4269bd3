from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.compress.share import Share
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling import layers_of
from asc_core.recipes.registry import parse_step, step_json
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import checked_in_process
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


TASK = toy_task(train=64, validation=8)
ABLE = ["bert", "deberta-v2", "distilbert", "eurobert", "mpnet"]  # layers of one kind: ModernBERT's take turns


def distance(one: object, other: object) -> float:
    return float((logits(one, padded_batch()) - logits(other, padded_batch())).square().mean())  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ABLE)
def test_differences_of_full_rank_are_the_layers_as_they_were(architecture: str) -> None:
    encoder = encoder_for(TASK, architecture)
    shared = Share(lower=2, differences=99, weights="fitted").apply(encoder, StepContext(TASK))
    assert shared.shape.rows == (0, 1, 1)
    far = distance(encoder, Share(lower=2).apply(encoder, StepContext()))
    assert distance(encoder, shared) < 1e-6 * far


def test_the_higher_the_rank_the_nearer_the_original_and_the_dearer() -> None:
    encoder = encoder_for(TASK)
    found = [
        Share(lower=2, differences=rank, weights="fitted").apply(encoder, StepContext(TASK)) for rank in (0, 8, 16)
    ]
    far = [distance(encoder, one) for one in found]
    assert far == sorted(far, reverse=True)
    sizes = [one.parameters for one in found]
    assert sizes == sorted(sizes)
    row = sum(
        m.weight.numel()
        for m in modeling.matrices(modeling.architecture_of(encoder.model), layers_of(encoder.model)[1]).values()
    )
    assert encoder.parameters - sizes[0] == row  # of two layers one set of matrices is left; biases and norms stay


def test_what_is_shared_is_stored_once_and_answers_as_in_memory(tmp_path: Path) -> None:
    encoder = encoder_for(TASK, num_hidden_layers=4)
    shared = Share(groups=((1, 2), (3, 4)), differences=2, weights="fitted").apply(encoder, StepContext(TASK))
    with checked_in_process():
        export(shared, tmp_path / "out")
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(shared, padded_batch()), atol=1e-5, rtol=0)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(tensor.numel() for tensor in stored.values()) == shared.parameters < encoder.parameters
    assert again.shape.rows == (0, 0, 1, 1)


@pytest.mark.parametrize("weights", ["lower", "fitted"])
@pytest.mark.parametrize("differences", [None, 2])
def test_neighbours_that_are_alike_are_merged_first(weights: str, differences: int | None) -> None:
    encoder = encoder_for(TASK, num_hidden_layers=5)
    layers = layers_of(encoder.model)
    layers[2].load_state_dict(layers[1].state_dict())
    layers[4].load_state_dict(layers[3].state_dict())
    step = Share(keep=3, weights=weights, differences=differences)  # type: ignore[arg-type]
    context = StepContext(TASK)
    shared = step.apply(encoder, context)
    assert shared.shape.rows == (0, 1, 1, 2, 2)
    assert "layers 2 and 3, 4 and 5" in str(context.done)
    torch.testing.assert_close(logits(shared, padded_batch()), logits(encoder, padded_batch()), atol=1e-3, rtol=0)
    assert len(Share(keep=1, weights="fitted").apply(encoder, StepContext(TASK)).shape.heads) == 1


def test_fitted_weights_are_nearer_than_anyones() -> None:
    encoder = encoder_for(TASK)
    far = {
        weights: distance(encoder, Share(lower=2, weights=weights).apply(encoder, StepContext(TASK)))  # type: ignore[arg-type]
        for weights in ("lower", "upper", "mean", "fitted")
    }
    assert far["fitted"] == min(far.values())


def test_groups_need_not_be_neighbours_and_a_pair_is_found_without_being_named() -> None:
    encoder = encoder_for(TASK)
    assert Share(groups=((3, 1),), weights="mean").apply(encoder, StepContext()).shape.rows == (0, 1, 0)
    found = Share(differences=1).apply(encoder, StepContext(TASK))
    assert len(found.shape.heads) == 2
    assert found.structures[-1]["kind"] == "differences"


def test_recipes_of_before_there_were_groups_make_what_they_made() -> None:
    assert Share(lower=1).cache_key() == ["share", {"lower": 1, "weights": "lower", "samples": 64, "seed": 0}]
    assert Share().cache_key() == ["share", {"lower": None, "weights": "lower", "samples": 64, "seed": 0}]
    keys = [str(Share(**given).cache_key()) for given in ({}, {"differences": 0}, {"keep": 2}, {"groups": ((1, 2),)})]  # type: ignore[arg-type]
    assert len(set(keys)) == 4
    step = Share(groups=((1, 2), (3, 4)), differences=4, weights="fitted")
    assert parse_step(step_json(step), "here") == step


@pytest.mark.parametrize(
    "given", [{"lower": 1, "keep": 2}, {"groups": [[1]]}, {"groups": [[1, 2], [2, 3]]}, {"groups": [[0, 1]]}]
)
def test_a_choice_that_contradicts_itself_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Share(**given)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="share"):
        parse_step({"step": "share", **given}, "here")


def test_groups_that_cannot_be_are_said() -> None:
    encoder = encoder_for(TASK)
    with pytest.raises(UserError, match="keep fewer"):
        Share(keep=3).apply(encoder, StepContext(TASK))
    with pytest.raises(UserError, match="Layers 1 and 9 of tiny-bert cannot share"):
        Share(groups=((1, 9),)).apply(encoder, StepContext())
    uneven = encoder.cut(Plan.full(encoder.shape).drop(2, head=0))
    with pytest.raises(UserError, match="2 sets of weights at least"):
        Share(keep=1).apply(uneven, StepContext(TASK))
