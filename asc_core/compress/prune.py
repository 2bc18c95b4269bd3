"""Cutting a plan's parts out of an encoder."""

from __future__ import annotations

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.values import Plan


def prune(encoder: Encoder, plan: Plan, transfer: bool = False) -> Encoder:
    """The encoder without the parts that the plan removes; the given one stays as it is.

    transfer: whether a plan may come from scores of other weights of the same shape.
    Raises: UserError where the plan is for another shape, or for other weights and `transfer` was not asked for.
    """
    if plan.shape != encoder.shape:
        raise UserError(
            f"The plan was made for another shape of model ({plan.shape}; fingerprint {plan.shape.fingerprint}), "
            f"this encoder is {encoder.shape} ({encoder.shape.fingerprint}). Make one for it with `asc plan`."
        )
    source = plan.provenance.weights
    if source is not None and not transfer and source != encoder.weights:
        raise UserError(
            f"The plan was made from scores of other weights ({plan.provenance.model or source}, task "
            f"{plan.provenance.task or 'unknown'}) than this encoder's ({encoder.weights}). "
            "Say --transfer if that is what you want."
        )
    return encoder.cut(plan)
