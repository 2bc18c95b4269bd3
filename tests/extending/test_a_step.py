"""A step that nobody has thought of: a class and a line in the registry, and everything that recipes can do it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic import Field

from asc_core.bounded_cache import BoundedCache
from asc_core.compress import Cut
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.evaluate.prefix_cache import CachedRunner, PrefixReuse, prefix_shelf, unchanged
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


TASK = toy_task()
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


@torch.inference_mode()
def test_nothing_is_reused_of_a_step_that_says_nothing_of_its_layers() -> None:
    states = prefix_shelf(BoundedCache(1 << 30))
    batch = TASK.batch(TASK.features(TASK.examples("validation", 8, 0), ENCODER), range(8), ENCODER)

    def right_with_reuse(recipe: Recipe) -> bool:
        """Whether the logits are those of the whole model, where states of earlier calls are reused."""
        made = recipe.made(ENCODER, TASK)
        keys, expected = made.prefix_keys(TASK), made.encoder.model(**batch.inputs).logits
        if keys is None:
            return True  # nothing is reused
        model = CachedRunner(made.encoder, PrefixReuse(states, keys), 1000)
        return all(torch.allclose(model(batch.inputs).logits, expected, atol=1e-5) for _ in range(2))

    cut = RECIPE.steps[1:]
    assert Recipe(cut).made(ENCODER).prefix_keys(TASK) is not None
    assert RECIPE.made(ENCODER).prefix_keys(TASK) is None
    for recipe in (Recipe(cut), RECIPE, Recipe((*cut, Quieten(times=0.01)))):
        assert right_with_reuse(recipe)
    assert not right_with_reuse(Recipe((Lying(times=0.01), *cut))), "a wrong key would be seen here"


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
