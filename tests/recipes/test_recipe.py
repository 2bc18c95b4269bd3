from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from asc_core.errors import UserError
from asc_core.recipes import Recipe
from asc_core.values import Plan, Provenance
from tests.tiny import logits, padded_batch, tiny


def test_a_recipe_survives_its_file_and_makes_the_same_model(tmp_path: Path) -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape, Provenance(weights=encoder.weights, task="toy")).drop(0, head=1).drop(2)
    recipe = Recipe.of(plan)
    recipe.save(tmp_path / "recipe.json")
    again = Recipe.load(tmp_path / "recipe.json")
    assert again == recipe
    assert again.key == recipe.key == plan.key
    inputs = padded_batch()
    expected = logits(encoder.cut(plan), inputs)
    torch.testing.assert_close(logits(again.apply(encoder), inputs), expected, atol=0, rtol=0)


def test_a_cut_model_can_be_cut_again_by_a_second_step() -> None:
    encoder = tiny()
    first = Plan.full(encoder.shape).drop(1)
    second = Plan.full(encoder.cut(first).shape).drop(1, head=0)
    twice = Recipe((*Recipe.of(first).steps, *Recipe.of(second).steps)).apply(encoder)
    at_once = encoder.cut(Plan.full(encoder.shape).drop(1).drop(2, head=0))
    inputs = padded_batch()
    torch.testing.assert_close(logits(twice, inputs), logits(at_once, inputs), atol=1e-6, rtol=0)


def test_other_weights_of_the_same_shape_must_be_asked_for() -> None:
    mine, yours = tiny(seed=0), tiny(seed=1)
    plan = Plan.full(mine.shape, Provenance(weights=mine.weights)).drop(0)
    Recipe.of(plan).apply(mine)
    with pytest.raises(UserError, match="--transfer"):
        Recipe.of(plan).apply(yours)
    Recipe.of(plan, transfer=True).apply(yours)
    Recipe.of(plan).transferred().apply(yours)


GOOD_PLAN = Plan.full(tiny().shape).to_json()


@pytest.mark.parametrize(
    ("content", "says"),
    {
        "not an object": ([], "is not a recipe"),
        "another format": ({"format": "x", "steps": []}, "is not a recipe"),
        "unknown step": ({"format": "asc-recipe/1", "steps": [{"step": "explode"}]}, 'step 1: "step" must be one of'),
        "a list for a step's name": ({"format": "asc-recipe/1", "steps": [{"step": ["plan"]}]}, "must be one of"),
        "a seed below 0": ({"format": "asc-recipe/1", "steps": [{"step": "finetune", "seed": -1}]}, "seed"),
        "unknown field": (
            {"format": "asc-recipe/1", "steps": [{"step": "plan", "plan": GOOD_PLAN, "run": "rm"}]},
            "run",
        ),
        "broken plan": ({"format": "asc-recipe/1", "steps": [{"step": "plan", "plan": {}}]}, "plan"),
        "original is no text": ({"format": "asc-recipe/1", "original": 3, "steps": []}, "original"),
    }.values(),
)
def test_a_bad_recipe_file_is_refused_in_one_sentence(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=says) as caught:
        Recipe.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
