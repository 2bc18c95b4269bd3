"""Recipes in a study: a study keeps them as JSON, since it stands below everything that makes models."""

from __future__ import annotations

from asc_core.recipes.recipe import Recipe
from asc_core.study import Study


def stored_recipe(study: Study, recipe_key: str) -> Recipe | None:
    """None where the study does not hold it. Raises: UserError where what it holds is no recipe."""
    found = study.recipe(recipe_key)
    return None if found is None else Recipe.from_json(found, f"the recipe {recipe_key} in {study.path}")


def pinned_recipes(study: Study) -> dict[str, Recipe]:
    """The named candidates, in the order in which they were pinned. Raises: UserError as `stored_recipe` does."""
    found = ((name, stored_recipe(study, key)) for name, key in study.pins.items())
    return {name: recipe for name, recipe in found if recipe is not None}
