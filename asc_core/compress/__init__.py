"""Making it so: what turns an encoder into a smaller one."""

from asc_core.compress.bias import fold_means
from asc_core.compress.calibration import Calibration, calibrate
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut
from asc_core.compress.mask_tuning import tune_masks
from asc_core.compress.prune import prune
from asc_core.compress.published import PUBLISHED, published_plan
from asc_core.compress.reconstruct import reconstruct
from asc_core.compress.refit import refit
from asc_core.compress.repair import Repair
from asc_core.compress.repairs import REPAIRS
from asc_core.compress.step import Step, StepContext

__all__ = [
    "PUBLISHED",
    "REPAIRS",
    "Calibration",
    "Calibrations",
    "Cut",
    "Repair",
    "Step",
    "StepContext",
    "calibrate",
    "fold_means",
    "prune",
    "published_plan",
    "reconstruct",
    "refit",
    "tune_masks",
]
