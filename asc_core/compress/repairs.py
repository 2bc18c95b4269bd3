"""All repairs of a cut, by name: ours, and those of published methods."""

from __future__ import annotations

from typing import Any, Literal, get_args

from asc_core.compress.bias import FoldMeans
from asc_core.compress.calibration import SAMPLES, TOKENS
from asc_core.compress.mask_tuning import TuneMasks
from asc_core.compress.prune import Prune
from asc_core.compress.reconstruct import Reconstruct
from asc_core.compress.refit import Refit
from asc_core.errors import UserError
from asc_core.values import Plan

RepairName = Literal["sequential", "one-shot", "mask-tuning", "reconstruction", "bias"]
REPAIRS: tuple[str, ...] = get_args(RepairName)


def decides(repair: RepairName | None, tokens: int = TOKENS) -> Any:
    """What decides what a repair makes of a plan and texts, as JSON, for keys of results."""
    return None if repair is None else [repair, tokens, repair == "sequential" and Refit.model_fields["norms"].default]


def cut_and_repair(
    plan: Plan,
    repair: RepairName | None,
    transfer: bool = False,
    samples: int = SAMPLES,
    tokens: int = TOKENS,
    seed: int = 0,
) -> Prune:
    """The step that cuts a plan and repairs what stays; with repair None it only cuts.

    Raises: UserError for an unknown repair.
    """
    if repair is None:
        return Prune.of(plan, transfer)
    if repair not in REPAIRS:
        raise UserError(f"There is no repair {repair!r}; choose one of {', '.join(REPAIRS)}.")
    settings: dict[str, Any] = {
        "plan": plan.to_json(),
        "transfer": transfer,
        "samples": samples,
        "tokens": tokens,
        "seed": seed,
    }
    if repair == "mask-tuning":
        return TuneMasks(**settings)
    if repair == "reconstruction":
        return Reconstruct(**settings)
    if repair == "bias":
        return FoldMeans(**settings)
    return Refit(mode=repair, **settings)
