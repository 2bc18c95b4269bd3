"""Making it so: what turns an encoder into a smaller one."""

from asc_core.compress.calibration import Calibration, calibrate
from asc_core.compress.prune import Prune, prune
from asc_core.compress.refit import Refit, Repair, refit
from asc_core.compress.step import Step

__all__ = ["Calibration", "Prune", "Refit", "Repair", "Step", "calibrate", "prune", "refit"]
