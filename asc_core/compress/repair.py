"""What a repair of a cut is: what is done, without training, to the parts that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from asc_core.compress.calibration import Calibration
from asc_core.encoder import Encoder
from asc_core.progress import Progress
from asc_core.values import Plan


@dataclass(frozen=True)
class RepairOptions:
    """transfer: whether the plan may come from scores of other weights. norms: see `refit`; others know none."""

    transfer: bool = False
    norms: bool = True


Quick = Callable[[Encoder, Plan, Calibration, RepairOptions, Progress], tuple[Encoder, str]]


@dataclass(frozen=True)
class Repair:
    """apply: (original, plan, calibration, options, progress) -> the original after the plan and the repair.

    done: what was done, for `describe`. about: one sentence for help. source: the paper, None = ours. moments: whether
    the calibration must hold them. norms: whether the option of that name counts. upward: whether a layer's repair
    depends on nothing above it, and leaves layers below the first cut as they are. shared: whether it takes encoders
    whose layers share weights. quick: what stands for it while somebody waits, and in words what that is.
    """

    name: str
    done: str
    about: str
    apply: Callable[[Encoder, Plan, Calibration, RepairOptions, Progress], Encoder]
    source: str | None = None
    moments: bool = False
    norms: bool = False
    upward: bool = False
    shared: bool = False
    quick: Quick | None = None
