"""A step that nobody has thought of: a class and a line in the registry, and everything that recipes can do it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field

from asc_core.compress import Cut, Step, StepContext
from asc_core.encoder import Encoder
from asc_core.evaluate import measure
from asc_core.evaluate.reuse import Reuse, States, unchanged
from asc_core.loading import load_encoder
from asc_core.recipes import Recipe, registry
from asc_core.recipes.stored import pinned_recipes, stored_recipe
from asc_core.study import Study
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.test_cli import run
from tests.tiny import save_checkpoint

pytestmark = pytest.mark.slow


class Quieten(Step):
    """Word embeddings times a number."""

    kind: ClassVar[str] = "quieten"
    times: float = Field(gt=0, le=1)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        quiet = encoder.copy()
        with torch.no_grad():
            quiet.model.get_input_embeddings().weight.mul_(self.times)
        return Encoder(quiet.model, encoder.tokenizer, encoder.source, encoder.name)

    def describe(self) -> str:
        return f"embeddings times {self.times:g}"


class Lying(Quieten):
    """Says that it changes no layer, which is true, and that nothing else is new, which is not."""

    kind: ClassVar[str] = "lying"

    def lineage(self, encoder: Encoder) -> tuple[str, ...] | None:
        return tuple(map(unchanged, range(encoder.shape.layers)))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.STEPS, Quieten.kind, Quieten)


TASK = toy_task(validation=120)
ENCODER = encoder_for(TASK)
RECIPE = Recipe((Quieten(times=0.5), Cut(plan=Plan.full(ENCODER.shape).drop(0, head=1))), task="toy")


def test_it_goes_through_a_file(tmp_path: Path) -> None:
    RECIPE.save(tmp_path / "recipe.json")
    again = Recipe.load(tmp_path / "recipe.json")
    assert (again, again.key) == (RECIPE, RECIPE.key)
    assert RECIPE.key != Recipe((Quieten(times=0.4), RECIPE.steps[1])).key
    assert torch.equal(*(r.apply(ENCODER).model.get_input_embeddings().weight for r in (RECIPE, again)))


def test_it_is_kept_pinned_and_found_in_a_study(tmp_path: Path) -> None:
    study = Study.open(tmp_path)
    study.save_recipe(RECIPE, "quiet")
    assert stored_recipe(study, RECIPE.key) == RECIPE
    assert pinned_recipes(study) == {"quiet": RECIPE}


def test_nothing_is_reused_of_a_step_that_says_nothing_of_its_layers() -> None:
    states = States()

    def statistics(recipe: Recipe, reuse: bool) -> np.ndarray:
        made = recipe.made(ENCODER, TASK)
        keys = made.prefix_keys(TASK)
        return measure(made.encoder, TASK, reuse=Reuse(states, keys) if reuse and keys else None).statistics

    cut = RECIPE.steps[1:]
    for recipe in (Recipe(cut), RECIPE, Recipe((Quieten(times=0.01), *cut)), Recipe((*cut, Quieten(times=0.01)))):
        assert np.array_equal(statistics(recipe, reuse=True), statistics(recipe, reuse=False))
    assert Recipe(cut).made(ENCODER).prefix_keys(TASK) is not None
    assert RECIPE.made(ENCODER).prefix_keys(TASK) is None
    lying = Recipe((Lying(times=0.01), *cut))
    statistics(Recipe(cut), reuse=True)
    assert not np.array_equal(statistics(lying, reuse=True), statistics(lying, reuse=False)), "reuse would be seen"


def test_it_is_applied_and_exported_on_the_command_line(tmp_path: Path) -> None:
    save_checkpoint(ENCODER, tmp_path / "model")
    Recipe(RECIPE.steps).save(tmp_path / "recipe.json")
    for verb, more in (("compress", ()), ("export", ("--dtype", "float32"))):
        out = tmp_path / verb
        made = run(verb, tmp_path / "model", "--recipe", tmp_path / "recipe.json", *more, "-o", out)
        assert made["max_difference"] < 1e-4
        assert "embeddings times 0.5" in (out / "README.md").read_text()
        assert [step["step"] for step in json.loads((out / "recipe.json").read_text())["steps"]] == ["quieten", "cut"]
        found = load_encoder(out).model.get_input_embeddings().weight
        torch.testing.assert_close(found, ENCODER.model.get_input_embeddings().weight / 2)
