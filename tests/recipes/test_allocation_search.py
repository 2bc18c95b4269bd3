"""One budget over all families, on a tiny model: what is made meets it, is a recipe, and is not priced twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.compress.factor import Factor
from asc_core.errors import UserError
from asc_core.evaluate.speeds import Conditions
from asc_core.recipes import Recipe
from asc_core.recipes.allocation import Bound
from asc_core.recipes.allocation_search import FAMILIES, Allocator
from asc_core.scores.sweep import sweep
from asc_core.study import Study
from tests.evaluate.toy_tasks import encoder_for, toy_task, written
from tests.tiny import save_checkpoint

TASK = toy_task(train=24, validation=24)


def allocator(budget: str, study: Path | None = None, **more: object) -> Allocator:
    encoder = encoder_for(TASK)
    scores = sweep(encoder, TASK, ["magnitude"], samples=8)["magnitude"]
    kept = Study.open(study) if study is not None else None
    return Allocator(encoder, TASK, Bound.parse(budget), scores=scores, study=kept, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("budget", ["bytes=40%", "flops=55%"])
def test_what_is_made_meets_the_budget_and_its_recipe_makes_it_again(budget: str) -> None:
    search = allocator(budget)
    *_, made = search.search(most=2)
    best = made[0]
    assert best.meets
    again = best.recipe.apply(search.encoder, TASK)
    assert search._footprint(again) == best.footprint
    axis = search.bound.axis
    assert best.footprint.of(axis) <= search.bound.on(search.dense)
    assert best.found.complete


def test_a_budget_of_all_of_it_leaves_the_original() -> None:
    *_, made = allocator("bytes=100%").search(most=1)
    assert made[0].title == "the original"
    assert made[0].footprint.bytes == allocator("bytes=100%").dense.bytes
    assert made[0].found.difference == 0


def test_only_families_that_are_allowed_are_used() -> None:
    *_, made = allocator("bytes=60%", families=("bits",)).search(most=3)
    assert {step.kind for one in made for step in one.recipe.steps} == {"quantize"}


def test_the_smallest_that_loses_few_enough_points_is_looked_for() -> None:
    search = allocator("bytes", points=100.0)
    every = list(search.search(most=3))
    first, made = every[0], every[-1]
    assert made[0].meets
    assert made[0].footprint.bytes == min(one.footprint.bytes for one in made if one.meets)
    assert first[0].footprint.bytes < 0.5 * search.dense.bytes, "everything may go, so the smallest is tried first"
    strict = allocator("bytes", points=0.0)
    *_, made = strict.search(most=2)
    assert made[0].expected <= 0


def test_training_comes_before_what_rounds() -> None:
    *_, made = allocator("bytes=30%", steps=2, families=("cut", "bits")).search(most=1)
    trained = next(one for one in made if one.trained)
    kinds = [step.kind for step in trained.recipe.steps]
    assert kinds == ["cut", "distil", "quantize"] or kinds == ["distil", "quantize"]


def test_training_does_not_make_it_larger_where_the_original_lies_in_half_precision() -> None:
    search = allocator("bytes=60%", steps=2, families=("cut", "bits"))
    search.encoder = search.encoder.with_model(search.encoder.model, packing="float16")
    search.scores = sweep(search.encoder, TASK, ["magnitude"], samples=8)["magnitude"]
    *_, made = search.search(most=1)
    (trained,) = (one for one in made if one.trained)
    (before,) = (one for one in made if not one.trained)
    assert trained.footprint.bytes == before.footprint.bytes


def test_prices_are_kept_for_the_next_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = allocator("bytes=50%", tmp_path / "study").price()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("priced again")

    monkeypatch.setattr(Allocator, "_measured", never)
    assert allocator("bytes=30%", tmp_path / "study").price() == first


def test_what_cannot_be_is_said_with_the_least_there_is() -> None:
    with pytest.raises(UserError, match=r"the least .* MB"):
        list(allocator("bytes=1%").search())
    with pytest.raises(UserError, match="Families are"):
        allocator("bytes=50%", families=("magic",))


def test_a_budget_of_time_is_met_by_what_was_timed_in_turns() -> None:
    search = allocator("ms=100%", families=("cut",), conditions=Conditions(1, 8, 1))
    *_, made = search.search(most=1)
    assert made[0].footprint.ms > 0


def test_the_command_writes_a_recipe(tmp_path: Path) -> None:
    model = save_checkpoint(encoder_for(TASK), tmp_path / "model")
    common = ["fit", str(model), "--task", str(written(TASK, tmp_path)), "--budget"]
    families = ["--family", "cut", "--family", "bits", "--most", "1"]
    found = CliRunner().invoke(app, [*common, "bytes=50%", *families, "-o", str(tmp_path / "small.json"), "--json"])
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert said["made"][0]["bytes"] <= 0.5 * said["original"]["bytes"]
    assert Recipe.load(tmp_path / "small.json").steps
    wrong = CliRunner().invoke(app, [*common, "9M"])
    assert wrong.exit_code == 2
    assert "bytes=9M" in wrong.output


def test_a_family_is_tried_where_it_saves_what_the_budget_is_of() -> None:
    everywhere = {axis: set(allocator(f"{axis}=50%").ladder) for axis in ("bytes", "flops", "ms")}
    assert set.union(*everywhere.values()) == set(FAMILIES)
    assert everywhere["flops"] == {"cut", "factor", "tokens"}
    assert "tokens" not in everywhere["bytes"]
    with pytest.raises(UserError, match="takes no flops off"):
        list(allocator("flops=50%", families=("bits",)).search())


def test_a_family_that_refuses_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("not of this model")

    monkeypatch.setattr(Factor, "apply", refuse)
    search = allocator("flops=70%", families=("cut", "factor"))
    *_, made = search.search(most=1)
    assert made[0].meets
    assert search.refused == {"factor": "not of this model"}
