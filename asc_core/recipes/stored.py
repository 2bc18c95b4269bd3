"""Recipes in a study: a study keeps them as JSON, since it stands below everything that makes models."""

from __future__ import annotations

from dataclasses import asdict

from asc_core.encoder import Encoder
from asc_core.recipes.recipe import Recipe
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import Cost, Estimate


def stored_recipe(study: Study, recipe_key: str) -> Recipe | None:
    """None where the study does not hold it. Raises: UserError where what it holds is no recipe."""
    found = study.recipe(recipe_key)
    return None if found is None else Recipe.from_json(found, f"the recipe {recipe_key} in {study.path}")


def keep_evaluation(
    study: Study, encoder: Encoder, recipe: Recipe, task: Task, split: str, found: Estimate, cost: Cost
) -> None:
    """What a search measured, for whoever looks at the study next. encoder: the original. cost: of what was made."""
    study.save_evaluation(
        encoder.weights,
        recipe.key,
        task.name,
        split,
        found,
        cost=asdict(cost),
        recipe=recipe,
        data=task.data(split),
    )


def pinned_recipes(study: Study) -> dict[str, Recipe]:
    """The named candidates, in the order in which they were pinned. Raises: UserError as `stored_recipe` does."""
    found = ((name, stored_recipe(study, key)) for name, key in study.pins.items())
    return {name: recipe for name, recipe in found if recipe is not None}
