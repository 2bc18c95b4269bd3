"""Cutting a plan's parts out of an encoder."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import field_validator

from asc_core.compress.step import Around, Step
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.tasks.base import Task
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


class Prune(Step):
    """Cut a plan. transfer: see `prune`."""

    kind: ClassVar[str] = "plan"
    plan: dict[str, Any]
    transfer: bool = False

    @field_validator("plan")
    @classmethod
    def _is_a_plan(cls, value: dict[str, Any]) -> dict[str, Any]:
        Plan.from_json(value, origin="the recipe's plan")
        return value

    @staticmethod
    def of(plan: Plan, transfer: bool = False) -> Prune:
        return Prune(plan=plan.to_json(), transfer=transfer)

    @property
    def repair(self) -> str | None:
        """What is done to the parts that stay, by its name in `repairs`; None = nothing."""
        return None

    def value(self) -> Plan:
        return Plan.from_json(self.plan, origin="the recipe's plan")

    def apply(
        self,
        encoder: Encoder,
        task: Task | None = None,
        progress: Progress | None = None,
        around: Around = Around(),
    ) -> Encoder:
        return prune(encoder, self.value(), self.transfer)

    def describe(self) -> str:
        plan = self.value()
        heads, neurons = sum(map(len, plan.heads)), sum(map(len, plan.neurons))
        return (
            f"cut to {len(plan.layers)} of {plan.shape.layers} layers, {heads} of {sum(plan.shape.heads)} heads, "
            f"{neurons} of {sum(plan.shape.neurons)} neurons"
        )

    def identity(self) -> Any:
        return self.value().key
