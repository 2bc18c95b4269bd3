"""Making it so: what turns an encoder into a smaller one."""

from asc_core.compress.prune import Prune, prune
from asc_core.compress.step import Step

__all__ = ["Prune", "Step", "prune"]
