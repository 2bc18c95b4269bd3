"""Steps that look at the model in front of them and choose what to cut: a recipe that suits any original.

A recipe made of these says how a model was made and not only what was cut: ASC's rule at a threshold (Application
Specific Compression, arXiv 2409.05368), or the best of any method within a budget.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from asc_core.compress.bottom_up import check_repairable
from asc_core.compress.calibration import SAMPLES, TOKENS
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.cut import Cut, RepairName, repair_key
from asc_core.compress.published import PUBLISHED, published_plan
from asc_core.compress.repairs import REPAIRS
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import asc_greedy, by_budget
from asc_core.plan.cost import COUNTED, Budget, CostModel, Counted
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.progress import Progress
from asc_core.scores.sweep import sweep
from asc_core.tasks.base import Task
from asc_core.tasks.texts import readable
from asc_core.values import Plan

Share = Counted | Literal["layer-parameters"]


class CutBySimilarity(Step):
    """Remove the layers that ASC's threshold-greedy rule finds redundant for the task.

    variant: of the similarity, see `asc-a` and `asc-b`. exact: leave out the 0.01 that the authors' code subtracts.
    samples, seed: draw the training texts.
    """

    kind: ClassVar[str] = "asc-layers"
    structure: ClassVar[str | None] = "cut"
    threshold: float = Field(gt=0, le=1)
    variant: Literal["a", "b"] = "b"
    exact: bool = False
    samples: int = Field(default=1024, ge=1)
    seed: int = Field(default=0, ge=0)

    def plan(self, encoder: Encoder, task: Task, progress: Progress | None = None) -> Plan:
        """Raises: UserError where the threshold would remove every layer."""
        method = f"asc-{self.variant}"
        task = readable(encoder, task)
        scores = sweep(encoder, task, [method], samples=self.samples, seed=self.seed, progress=progress)[method]
        return asc_greedy(scores, self.threshold, self.exact)

    @property
    def needs_task(self) -> bool:
        return True

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder.cut(self.plan(encoder, context.task, context.progress))

    def cache_key(self) -> Any:
        return ["asc", self.model_dump(mode="json")]  # as results of earlier versions are stored

    def describe(self) -> str:
        return f"layers cut by ASC's rule at similarity {self.threshold:g} (variant {self.variant.upper()})"


class CutToBudget(Step):
    """Cut to a share of the cost, by any scores or published method, and repair what stays.

    method: one of the scoring methods, or of `PUBLISHED`. keep: share of the `budget`; "layer-parameters" are those of
    the layers, embeddings and head not counted. repair: see `Cut`. samples, seed: draw the training texts;
    tokens: of them for the repair.
    """

    kind: ClassVar[str] = "cut-to-budget"
    structure: ClassVar[str | None] = "cut"
    method: str = "obs"
    keep: float = Field(gt=0, le=1)
    budget: Share = "flops"
    multiple: int = Field(default=1, ge=1, le=1 << 20)
    repair: RepairName = "sequential"
    samples: int = Field(default=SAMPLES, ge=8)
    tokens: int = Field(default=TOKENS, ge=64)
    seed: int = Field(default=0, ge=0)

    @property
    def needs_task(self) -> bool:
        return True

    def plan(
        self,
        encoder: Encoder,
        task: Task,
        progress: Progress | None = None,
        calibrations: Calibrations | None = None,
    ) -> Plan:
        """Raises: UserError for an unknown method, or a budget out of its reach."""
        task = readable(encoder, task)
        costs = task_cost_model(encoder, task)
        budget, keep = counted(self.budget, self.keep, costs)
        if self.method in PUBLISHED:
            if self.multiple > 1:
                raise UserError(
                    f"{self.method} is used as published: it has no widths in multiples of {self.multiple}."
                )
            return published_plan(
                encoder,
                task,
                self.method,
                keep,
                budget,
                samples=self.samples,
                seed=self.seed,
                progress=progress,
                calibrations=calibrations,
            )
        found = sweep(encoder, task, [self.method], samples=self.samples, seed=self.seed, progress=progress)
        return by_budget(found[self.method], costs, keep, budget, round_to=self.multiple)

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        if self.repair is not None:
            check_repairable(encoder, REPAIRS[self.repair].shared)
        task = readable(encoder, context.task)
        plan = self.plan(encoder, task, context.progress, context.calibrations)
        step = Cut(plan=plan, repair=self.repair, samples=self.samples, tokens=self.tokens, seed=self.seed)
        return step.apply(encoder, context.on(task))

    def cache_key(self) -> Any:
        # Under the name of earlier versions, as their results are stored.
        return ["cut to budget", [self.model_dump(mode="json"), repair_key(self.repair, self.tokens)]]

    def summary(self) -> dict[str, Any]:
        return super().summary() | {"repair": self.repair}

    def describe(self) -> str:
        repaired = f", {self.repair} repair" if self.repair else ""
        return f"cut to {100 * self.keep:g} % of the {self.budget.replace('-', ' ')} by {self.method}{repaired}"


def counted(budget: Share, keep: float, costs: CostModel) -> tuple[Budget, float]:
    """The same in a budget of the cost model: a share of the layers' parameters as one of all parameters."""
    if budget not in (*COUNTED, "layer-parameters"):
        raise UserError(
            f"A recipe cuts to a share of {', '.join(COUNTED)} or layer-parameters, not of {budget}: it makes the same "
            "model on every machine."
        )
    if budget != "layer-parameters":
        return budget, keep
    dense = costs.dense
    # Half a parameter more, so that rounding does not take the last one away.
    kept = costs.counts.outside_layers + keep * dense.encoder_parameters + 0.5
    return "parameters", min(1.0, kept / dense.parameters)
