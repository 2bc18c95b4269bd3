"""All kinds of steps, by the name that a recipe file gives them."""

from asc_core.compress.prune import Prune
from asc_core.compress.refit import Refit
from asc_core.compress.step import Step

STEPS: dict[str, type[Step]] = {step.kind: step for step in (Prune, Refit)}
