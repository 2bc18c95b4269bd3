"""Settings of a cut: one position of all of Tune's controls, the plan that it gives, and the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asc_core.compress.repairs import REPAIRS, check_repair, default_repair
from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.plan import Budget, CostModel, Part, asc_greedy, by_budget, by_share, by_threshold, smallest_share
from asc_core.recipes import Recipe
from asc_core.runtimes import RUNTIMES
from asc_core.values import Plan, Scores, Shape
from dashboard.state import further_steps
from dashboard.state.plan_masks import keeps

Rule = Literal["budget", "threshold", "share", "fixed"]
Level = Literal["blocks", "sublayers", "layers"]
Planner = Callable[["CutSettings"], Plan]
RULES: dict[str, str] = {"budget": "Budget", "threshold": "Threshold", "share": "Share"}
LEVELS = {"blocks": "heads and neurons", "sublayers": "sublayers", "layers": "whole layers"}
REPAIR_NAMES = ("none", *REPAIRS)
FINEST_STEP = 0.01


@dataclass(frozen=True)
class CutSettings:
    """rule: which of the controls below counts; "fixed" = a plan that came from elsewhere, by its key.

    keep: share of the budget. similarity: ASC's threshold. below_heads, below_neurons, below_layers: thresholds, as the
    share of the parts of that kind that score lower (0.4 = the threshold is the score that 40 % lie below).
    runtime: what runs the model, for a budget of latency.
    multiple: under a budget of heads and neurons, what every FFN's width is a multiple of.
    kept, cut: parts set by hand; kind heads, ffn or layers, where an ffn is all neurons of a row.
    transfer: whether a fixed plan may come from other weights. repair: how the parts that stay take over.
    then: further steps, after the cut and its repair.
    """

    application: str
    method: str
    rule: Rule = "budget"
    budget: Budget = "flops"
    level: Level = "blocks"
    keep: float = 0.6
    similarity: float = 0.9
    below_heads: float = 0.4
    below_neurons: float = 0.4
    below_layers: float = 0.2
    keep_heads: float = 0.6
    keep_neurons: float = 0.6
    everywhere: bool = False
    min_heads: int = 1
    multiple: int = 1
    kept: frozenset[Part] = frozenset()
    cut: frozenset[Part] = frozenset()
    plan_key: str | None = None
    transfer: bool = False
    repair: str = "sequential"
    then: tuple[Step, ...] = ()
    runtime: str = "torch"

    @property
    def forced(self) -> int:
        return len(self.kept) + len(self.cut)

    def released(self) -> CutSettings:
        return replace(self, kept=frozenset(), cut=frozenset())

    def without(self, part: Part) -> CutSettings:
        return replace(self, kept=self.kept - {part}, cut=self.cut - {part})

    def forcing(self, part: Part, keep: bool) -> CutSettings:
        free = self.without(part)
        return replace(free, kept=free.kept | {part}) if keep else replace(free, cut=free.cut | {part})

    def recipe(self, plan: Plan) -> Recipe:
        """What is done to the original: a plan that these settings gave, its repair, further steps."""
        return recipe_of(plan, self.repair, self.transfer, self.then)

    @property
    def label(self) -> str:
        """A few characters for the history."""
        repaired = "" if self.repair == "none" else f" · {self.repair}"
        few = [further_steps.brief(step) for step in self.then]
        said = few if len(few) < 3 else [f"{len(few)} steps"]
        return f"{self._cut}{repaired}{''.join(f' + {what}' for what in said)}"

    @property
    def name(self) -> str:
        """What a measurement of it is called in the study."""
        repaired = "" if self.repair == "none" else f", repaired ({self.repair})"
        return f"{self._cut}{repaired}{''.join(f', then {step.kind}' for step in self.then)}"

    @property
    def _latency(self) -> str:
        return " latency" if self.runtime == "torch" else f" latency ({self.runtime})"

    @property
    def _cut(self) -> str:
        star = "*" if self.forced else ""
        match self.rule:
            case "budget":
                of = {"parameters": " parameters", "bytes": " bytes", "latency": self._latency}.get(self.budget, "")
                round_widths = f" ×{self.multiple}" if self.multiple > 1 and self.level == "blocks" else ""
                what = f"{self.keep:.2f}{of}{round_widths}"
            case "threshold":
                what = "threshold"
            case "share":
                what = f"{self.keep_heads:.2f}/{self.keep_neurons:.2f}"
            case _:
                what = "plan"
        level = "" if self.level == "blocks" or self.rule == "fixed" else f" {self.level}"
        return f"{what}{level} {self.method}{star}"

    def to_json(self) -> dict[str, Any]:
        data = dict(self.__dict__) | {"then": further_steps.to_json(self.then)}
        for name in ("kept", "cut"):
            data[name] = sorted(([part.kind, part.row, part.number] for part in getattr(self, name)), key=str)
        return data

    @staticmethod
    def from_json(data: Any) -> CutSettings | None:
        """None where it is nothing of the kind: a study may come from anyone, and a lost slider position is no harm."""
        try:
            checked = _CutSettingsFile.model_validate(data).model_dump()
            checked["then"] = further_steps.from_json(checked["then"], "Further steps")
        except (ValidationError, UserError):
            return None
        for name in ("kept", "cut"):
            checked[name] = frozenset(Part(*part) for part in checked[name])
        return CutSettings(**checked)


def _known_repair(name: str) -> str:
    return name if name == "none" else check_repair(name) or "none"


def _runtime_here(name: str) -> str:
    """A budget for a runtime that is not installed here is one of torch."""
    if name not in RUNTIMES:
        raise ValueError(f"there is no runtime {name!r}")
    return name if RUNTIMES[name].missing() is None else "torch"


class _CutSettingsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    application: str
    method: str
    rule: Rule
    budget: Budget
    level: Literal["blocks", "sublayers", "layers"]
    keep: float = Field(ge=0, le=1)
    similarity: float = Field(ge=-1, le=1.1)
    below_heads: float = Field(ge=0, le=1)
    below_neurons: float = Field(ge=0, le=1)
    below_layers: float = Field(ge=0, le=1)
    keep_heads: float = Field(ge=0, le=1)
    keep_neurons: float = Field(ge=0, le=1)
    everywhere: bool
    min_heads: int = Field(ge=0)
    multiple: int = Field(ge=1, default=1)
    runtime: Annotated[str, AfterValidator(_runtime_here)] = "torch"
    kept: list[tuple[Literal["heads", "ffn", "layers"], int, int | None]]
    cut: list[tuple[Literal["heads", "ffn", "layers"], int, int | None]]
    plan_key: str | None
    transfer: bool
    repair: Annotated[str, AfterValidator(_known_repair)] = (
        "none"  # moves that were stored before there was repair had none
    )
    then: list[dict[str, Any]] = []


def levels_of(scores: Scores) -> list[Level]:
    """The levels that a method's scores can be cut at, finest first."""
    values = scores.values
    found: list[Level] = []
    if values.heads is not None or values.neurons is not None:
        found.append("blocks")
    if values.attention is not None or values.ffn is not None:
        found.append("sublayers")
    if values.layers is not None or scores.similarity is not None:
        found.append("layers")
    return found


def fitted(settings: CutSettings, scores: Scores, repairable: bool = True) -> CutSettings:
    """The settings with what the method cannot do replaced by what it can.

    repairable: whether the task has texts to repair on. Layers that share weights have a repair of their own.
    """
    shape, levels = scores.shape, levels_of(scores)
    kept, cut = (frozenset(p for p in parts if _exists(p, shape)) for parts in (settings.kept, settings.cut))
    settings = replace(settings, kept=kept, cut=cut, min_heads=min(settings.min_heads, max(shape.heads, default=0)))
    if levels and settings.level not in levels:
        settings = replace(settings, level=levels[0])
    if settings.rule == "share" and "blocks" not in levels:
        settings = replace(settings, rule="budget")
    if not repairable:
        settings = replace(settings, repair="none")
    elif settings.repair not in repairs_of(shape):
        settings = replace(settings, repair=default_repair(shape))
    return settings


def repairs_of(shape: Shape) -> list[str]:
    """What can be chosen for an encoder of this shape, "none" first."""
    able = (name for name, repair in REPAIRS.items() if repair.shared == shape.shares_weights)
    return ["none", *able]


def within_reach(settings: CutSettings, scores: Scores, cost_model: CostModel) -> CutSettings:
    """The settings with a budget that its method, minimum and hand-set parts can meet."""
    if settings.rule != "budget":
        return settings
    try:
        least = smallest_keep(settings, scores, cost_model)
    except UserError:
        return settings  # its control says why
    return replace(settings, keep=round(least, 2)) if settings.keep < least and least < 1 else settings


def recipe_of(plan: Plan, repair: str, transfer: bool = False, then: tuple[Step, ...] = ()) -> Recipe:
    """The cut, its repair, and what follows. Where nothing is cut there is nothing to repair.

    Raises: UserError where the steps make no sense in this order.
    """
    name = None if plan == Plan.full(plan.shape) or repair == "none" else repair
    # Whoever moves a slider repairs many cuts of one application: each with as many tokens as it needs, and no more.
    cut = Recipe.repaired(plan, name, transfer, until_settled=name is not None and REPAIRS[name].quick is not None)
    return replace(cut, steps=(*cut.steps, *then))


def plan_of(settings: CutSettings, scores: Scores, cost_model: CostModel, fixed: Plan | None = None) -> Plan:
    """fixed: the plan that settings of rule "fixed" are about. Raises: UserError where the rule finds no plan."""
    kept, cut = tuple(settings.kept), tuple(settings.cut)
    min_heads = settings.min_heads if settings.level == "blocks" else 0
    match settings.rule:
        case "budget":
            return by_budget(
                scores,
                cost_model,
                settings.keep,
                settings.budget,
                level=settings.level,
                min_heads=min_heads,
                keep_parts=kept,
                remove_parts=cut,
                round_to=settings.multiple,
            )
        case "threshold" if scores.similarity is not None and settings.level == "layers":
            return asc_greedy(scores, settings.similarity, keep_parts=kept, remove_parts=cut)
        case "threshold":
            limits = thresholds(settings, scores)
            return by_threshold(
                scores, limits, kinds=tuple(limits), min_heads=min_heads, keep_parts=kept, remove_parts=cut
            )
        case "share":
            return by_share(
                scores,
                settings.keep_heads if scores.values.heads is not None else None,
                settings.keep_neurons if scores.values.neurons is not None else None,
                scope="global" if settings.everywhere else "layer",
                min_heads=min_heads,
                keep_parts=kept,
                remove_parts=cut,
            )
        case _:
            if fixed is None:
                raise UserError("The plan of this link is not in this study; choose a rule and a budget instead.")
            return _edited(fixed, settings)


def thresholds(settings: CutSettings, scores: Scores) -> dict[str, float]:
    """For every kind that is cut by threshold, the score below which a part goes."""
    below = {"heads": settings.below_heads, "neurons": settings.below_neurons, "layers": settings.below_layers}
    kinds = ("layers",) if settings.level == "layers" else ("heads", "neurons")
    limits = {}
    for kind in kinds:
        values = getattr(scores.values, kind)
        if values is not None:
            flat = np.sort(np.concatenate(values) if kind != "layers" else np.asarray(values))
            gone = min(math.floor(below[kind] * len(flat) + 1e-9), len(flat) - 1)
            limits[kind] = float(flat[gone]) if below[kind] < 1 else float(np.nextafter(flat[-1], np.inf))
    if not limits:
        raise UserError(f"{scores.method} has no scores to set a threshold for at this level; choose another level.")
    return limits


def smallest_keep(settings: CutSettings, scores: Scores, cost_model: CostModel) -> float:
    """Where the budget's slider begins: the least share within reach, rounded up to the slider's step."""
    least = smallest_share(
        scores,
        cost_model,
        settings.budget,
        level=settings.level,
        min_heads=settings.min_heads if settings.level == "blocks" else 0,
        keep_parts=tuple(settings.kept),
        remove_parts=tuple(settings.cut),
        round_to=settings.multiple,
    )
    return min(1.0, math.ceil(least / FINEST_STEP - 1e-9) * FINEST_STEP)


def toggled(settings: CutSettings, part: Part, plan: Plan, replan: Planner) -> CutSettings:
    """The settings after a click on a part: kept parts go, cut parts come back.

    A part that was set by hand is first given back to the rule; only if the rule would leave it as it is, the hand
    decides the other way. An FFN goes round: by the rule, all cut, all kept.
    """
    if part.kind == "ffn":
        if part in settings.cut:
            return settings.forcing(part, keep=True)
        return settings.without(part) if part in settings.kept else settings.forcing(part, keep=False)
    now = keeps(plan, part)
    if part in settings.kept or part in settings.cut:
        free = settings.without(part)
        try:
            if keeps(replan(free), part) != now:
                return free
        except UserError:
            pass  # the rule finds no plan without this part's help
    return settings.forcing(part, keep=not now)


def _exists(part: Part, shape: Shape) -> bool:
    if part.kind == "layers":
        return 0 <= part.row < shape.layers
    if not 0 <= part.row < len(shape.heads):
        return False
    return part.kind == "ffn" or (part.number is not None and 0 <= part.number < shape.heads[part.row])


def _edited(plan: Plan, settings: CutSettings) -> Plan:
    for part, keep in _decisions(settings.kept, settings.cut):
        if part.kind == "ffn":
            neurons = list(plan.neurons)
            neurons[part.row] = tuple(range(plan.shape.neurons[part.row])) if keep else ()
            plan = replace(plan, neurons=tuple(neurons))
        else:
            edit = plan.restore if keep else plan.drop
            plan = edit(part.row, head=part.number)
    return plan


def _decisions(kept: Iterable[Part], cut: Iterable[Part]) -> list[tuple[Part, bool]]:
    return [(part, True) for part in kept] + [(part, False) for part in cut]
