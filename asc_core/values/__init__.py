"""The values that flow through the engine: Shape, Plan, Scores, Estimate, Cost.

All are immutable. What comes from a file is untrusted: it is parsed, checked and refused with one sentence.
"""

from asc_core.values.cost import Cost
from asc_core.values.estimate import Estimate
from asc_core.values.plan import PLAN_FORMAT, Plan, Provenance
from asc_core.values.scores import PartValues, Scores
from asc_core.values.shape import Indices, Shape

__all__ = ["PLAN_FORMAT", "Cost", "Estimate", "Indices", "PartValues", "Plan", "Provenance", "Scores", "Shape"]
