"""Which parts go: plans from thresholds, kept shares and budgets, and what a plan costs."""

from asc_core.plan.budgets import ONE_SCALE, by_budget, smallest_share
from asc_core.plan.cost import BUDGETS, COUNTED, Budget, CostModel
from asc_core.plan.cut_threshold import threshold_of, undecided
from asc_core.plan.latency import LatencyTable
from asc_core.plan.layer_drop import STRATEGIES, by_layer_drop
from asc_core.plan.parts import Part, Parts
from asc_core.plan.thresholds import asc_greedy, by_share, by_threshold, redundant_layers
from asc_core.values import Cost

__all__ = [
    "BUDGETS",
    "COUNTED",
    "ONE_SCALE",
    "STRATEGIES",
    "Budget",
    "Cost",
    "CostModel",
    "LatencyTable",
    "Part",
    "Parts",
    "asc_greedy",
    "by_budget",
    "by_layer_drop",
    "by_share",
    "by_threshold",
    "redundant_layers",
    "smallest_share",
    "threshold_of",
    "undecided",
]
