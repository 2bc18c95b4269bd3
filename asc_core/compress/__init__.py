"""Making it so: what turns an encoder into a smaller one."""

from asc_core.compress.bias import FoldMeans, fold_means
from asc_core.compress.calibration import Calibration, calibrate
from asc_core.compress.mask_tuning import TuneMasks, tune_masks
from asc_core.compress.prune import Prune, prune
from asc_core.compress.published import PUBLISHED, published_plan
from asc_core.compress.reconstruct import Reconstruct, reconstruct
from asc_core.compress.refit import Refit, Repair, refit
from asc_core.compress.repairs import REPAIRS, cut_and_repair
from asc_core.compress.step import Step

__all__ = [
    "PUBLISHED",
    "REPAIRS",
    "Calibration",
    "FoldMeans",
    "Prune",
    "Reconstruct",
    "Refit",
    "Repair",
    "Step",
    "TuneMasks",
    "calibrate",
    "cut_and_repair",
    "fold_means",
    "prune",
    "published_plan",
    "reconstruct",
    "refit",
    "tune_masks",
]
