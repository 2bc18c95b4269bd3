"""What is evaluated, stored, compared and exported: an original and the steps applied to it."""

from asc_core.recipes.recipe import Recipe, compress
from asc_core.recipes.registry import STEPS

__all__ = ["STEPS", "Recipe", "compress"]
