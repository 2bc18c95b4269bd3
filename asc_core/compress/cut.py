"""The step that cuts a plan and repairs what stays."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from asc_core.compress.bottom_up import check_repairable
from asc_core.compress.calibration import SAMPLES, TOKENS, moments_fit
from asc_core.compress.calibrations import Asked
from asc_core.compress.prune import prune
from asc_core.compress.repair import RepairOptions
from asc_core.compress.repairs import REPAIRS, check_repair
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.evaluate.prefix_cache import unchanged
from asc_core.values import Plan

RepairName = Annotated[str | None, AfterValidator(check_repair)]

# What results of earlier versions are stored under: each repair was a kind of step then.
_KEY_KINDS = {
    None: "plan",
    "sequential": "plan and refit",
    "one-shot": "plan and refit",
    "mask-tuning": "plan and mask tuning",
    "reconstruction": "plan and reconstruction",
    "bias": "plan and bias",
}


def _parsed(value: Any) -> Plan:
    return value if isinstance(value, Plan) else Plan.from_json(value, origin="the recipe's plan")


class Cut(Step):
    """Cut a plan, then repair what stays.

    repair: one of `REPAIRS`, None = only cut. samples, tokens, seed: of the texts for it, see `calibrate`.
    until_settled: with fewer tokens where more are of no use, see `settling`. transfer: see `prune`. norms: see
    `refit`.
    """

    kind: ClassVar[str] = "cut"
    structure: ClassVar[str | None] = "cut"
    plan: Annotated[Plan, PlainValidator(_parsed), PlainSerializer(Plan.to_json)]
    repair: RepairName = None
    samples: int = Field(default=SAMPLES, ge=8)
    tokens: int = Field(default=TOKENS, ge=64)
    seed: int = Field(default=0, ge=0)
    until_settled: bool = False
    transfer: bool = False
    norms: bool = True

    @property
    def needs_task(self) -> bool:
        return self.repair is not None

    @property
    def has_quick_form(self) -> bool:
        return self.repair is not None and REPAIRS[self.repair].quick is not None

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        if self.repair is None:
            return prune(encoder, self.plan, self.transfer)
        repair, progress = REPAIRS[self.repair], context.progress
        check_repairable(encoder, repair.shared)
        options = RepairOptions(self.transfer, self.norms)
        if context.provisional and repair.quick is not None:
            calibration = context.calibrations.first(encoder, context.task, progress, **self.calibrating(encoder))
            found, context.instead = repair.quick(encoder, self.plan, calibration, options, progress)
            return found
        asked = self.calibrating()
        calibration = context.calibrations.get(encoder, context.task, progress, **asked)
        context.done = f"{self.describe()} on {calibration.tokens:,} tokens"
        return repair.apply(encoder, self.plan, calibration, options, progress)

    def calibrating(self, quickly_for: Encoder | None = None) -> Asked:
        """The calibration that the repair needs. quickly_for: the encoder, where the repair's quick form is to work on
        it, too."""
        assert self.repair is not None
        repair = REPAIRS[self.repair]
        quick = quickly_for is not None and repair.quick is not None and moments_fit(quickly_for)
        return Asked(
            samples=self.samples,
            tokens=self.tokens,
            seed=self.seed,
            until_settled=self.until_settled,
            moments=repair.moments or quick,
        )

    def describe(self) -> str:
        plan, shape = self.plan, self.plan.shape
        heads, neurons = sum(map(len, plan.heads)), sum(map(len, plan.neurons))
        return (
            f"cut to {len(plan.layers)} of {shape.layers} layers, {heads} of {sum(shape.heads)} heads, "
            f"{neurons} of {sum(shape.neurons)} neurons"
        ) + (f", {REPAIRS[self.repair].done}" if self.repair else "")

    def cache_key(self) -> Any:
        kind = _KEY_KINDS.get(self.repair, f"plan and {self.repair}")
        if self.repair is None:
            return [kind, self.plan.key]
        decides: list[Any] = [self.plan.key, self.repair, self.samples, self.tokens, self.seed]
        decides += ["until settled"] * self.until_settled
        if kind == "plan and refit":
            decides.append(self.norms and REPAIRS[self.repair].norms)
        return [kind, decides]

    def lineage(self, encoder: Encoder) -> tuple[str, ...] | None:
        """An unrepaired layer depends on what is kept of it alone, a repaired one on the plan up to it and the texts.

        Below the first cut a repair that goes upward has nothing to do; any other one may change every layer.
        """
        plan, shape = self.plan, self.plan.shape
        if shape.shares_weights:
            return None
        keys: list[str] = []
        repair = None if self.repair is None else REPAIRS[self.repair]
        cut, below = repair is not None and not repair.upward, []
        for place, layer in enumerate(plan.layers):
            heads, neurons = plan.heads[layer], plan.neurons[layer]
            whole = len(heads) == shape.heads[layer] and len(neurons) == shape.neurons[layer]
            cut = cut or not whole or place != layer
            below.append([layer, "all"] if whole else [layer, heads, neurons])
            if repair is None or not cut:
                keys.append(unchanged(layer) if whole else _hashed([layer, heads, neurons]))
            else:
                decides = [place, below] if repair.upward else [place, plan.key]
                norms = self.norms and repair.norms
                texts = [self.samples, self.tokens, self.seed] + ["until settled"] * self.until_settled
                keys.append(_hashed([decides, repair.name, *texts, norms]))
        return tuple(keys)

    def summary(self) -> dict[str, Any]:
        return super().summary() | {"repair": self.repair}


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def repair_key(repair: str | None, tokens: int = TOKENS) -> Any:
    """What decides what a repair makes of a plan and texts, as JSON, for keys of results."""
    return None if repair is None else [repair, tokens, REPAIRS[repair].norms and Cut.model_fields["norms"].default]
