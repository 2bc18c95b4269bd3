"""The step that cuts a plan and repairs what stays."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator

from asc_core.compress.bottom_up import check_repairable
from asc_core.compress.calibration import SAMPLES, TOKENS
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

    repair: one of `REPAIRS`, None = only cut. samples, tokens, seed: of the texts for it, see `calibrate`. transfer:
    see `prune`. norms: see `refit`.
    """

    kind: ClassVar[str] = "cut"
    structure: ClassVar[str | None] = "cut"
    plan: Annotated[Plan, PlainValidator(_parsed), PlainSerializer(Plan.to_json)]
    repair: RepairName = None
    samples: int = Field(default=SAMPLES, ge=8)
    tokens: int = Field(default=TOKENS, ge=64)
    seed: int = Field(default=0, ge=0)
    transfer: bool = False
    norms: bool = True

    @property
    def needs_task(self) -> bool:
        return self.repair is not None

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        if self.repair is None:
            return prune(encoder, self.plan, self.transfer)
        repair = REPAIRS[self.repair]
        check_repairable(encoder, repair.shared)
        calibration = context.calibrations.get(
            encoder,
            context.task,
            samples=self.samples,
            tokens=self.tokens,
            seed=self.seed,
            moments=repair.moments,
            progress=context.progress,
        )
        options = RepairOptions(self.transfer, self.norms)
        return repair.apply(encoder, self.plan, calibration, options, context.progress)

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
        decides = [self.plan.key, self.repair, self.samples, self.tokens, self.seed]
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
                keys.append(_hashed([decides, repair.name, self.samples, self.tokens, self.seed, norms]))
        return tuple(keys)

    def summary(self) -> dict[str, Any]:
        return super().summary() | {"repair": self.repair}


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def repair_key(repair: str | None, tokens: int = TOKENS) -> Any:
    """What decides what a repair makes of a plan and texts, as JSON, for keys of results."""
    return None if repair is None else [repair, tokens, REPAIRS[repair].norms and Cut.model_fields["norms"].default]
