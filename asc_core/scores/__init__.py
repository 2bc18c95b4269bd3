"""How much each part of an encoder contributes to an application: `sweep` scores all parts by all methods at once."""

from asc_core.scores.methods import METHODS, Method
from asc_core.scores.sweep import sweep

__all__ = ["METHODS", "Method", "sweep"]
