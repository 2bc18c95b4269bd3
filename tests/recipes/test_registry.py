"""Recipe files of earlier versions: tests/data/recipes_1 holds one of every kind of step, and the keys of then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asc_core.recipes import STEPS, Recipe

OLD = Path(__file__).parents[1] / "data" / "recipes_1"
KEYS: dict[str, str] = json.loads((OLD / "keys.json").read_text())


@pytest.mark.parametrize("name", sorted(KEYS))
def test_an_old_file_loads_and_its_results_are_still_found(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(OLD / f"{name}.json")
    assert recipe.key == KEYS[name]
    recipe.save(tmp_path / "again.json")
    again = Recipe.load(tmp_path / "again.json")
    assert (again, again.key) == (recipe, recipe.key)


def test_old_settings_are_read_as_what_they_meant() -> None:
    def step(name: str) -> dict[str, object]:
        written = Recipe.load(OLD / f"{name}.json").to_json()["steps"][0]
        return {key: value for key, value in written.items() if key != "plan"}

    usual = {"step": "cut", "samples": 1024, "tokens": 65536, "seed": 0, "transfer": False, "norms": True}
    usual["until_settled"] = False
    assert step("plan") == usual | {"repair": None}
    assert step("plan-transfer") == usual | {"repair": None, "transfer": True}
    assert step("plan-and-refit") == usual | {"repair": "sequential"}
    assert step("plan-and-refit-without-norms") == usual | {"repair": "sequential", "norms": False}
    assert step("plan-and-refit-one-shot") == usual | {
        "repair": "one-shot", "samples": 40, "tokens": 300, "seed": 1, "transfer": True,
    }  # fmt: skip
    assert step("plan-and-mask-tuning")["repair"] == "mask-tuning"
    assert step("plan-and-reconstruction")["repair"] == "reconstruction"
    assert step("plan-and-bias")["repair"] == "bias"


def test_every_kind_of_step_is_a_word() -> None:
    assert all(kind == step.kind and kind.replace("-", "").isalpha() for kind, step in STEPS.items())
