"""All repairs of a cut, by name: ours, and those of published methods. Each file owns its entries."""

from asc_core.compress import bias, mask_tuning, reconstruct, refit, shared_weights
from asc_core.compress.repair import Repair
from asc_core.errors import UserError
from asc_core.values import Shape

REPAIRS: dict[str, Repair] = {
    repair.name: repair
    for repair in (
        refit.SEQUENTIAL,
        refit.ONE_SHOT,
        shared_weights.REPAIR,
        mask_tuning.REPAIR,
        reconstruct.REPAIR,
        bias.REPAIR,
    )
}


def check_repair(name: str | None) -> str | None:
    """Raises: UserError for an unknown one. None = no repair."""
    if name is not None and name not in REPAIRS:
        raise UserError(f"There is no repair {name!r}; choose one of {', '.join(REPAIRS)}.")
    return name


def default_repair(shape: Shape) -> str:
    """What is chosen where nobody says which repair."""
    return (shared_weights.REPAIR if shape.shares_weights else refit.SEQUENTIAL).name
