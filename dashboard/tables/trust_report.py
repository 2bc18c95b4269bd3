"""What a study knows of how far each method can be trusted on an application: reading it, ranking it, saying it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError, model_validator

from asc_core.parts import BY_NAME, NEURON_GROUPS, SINGLE
from asc_core.progress import removing
from asc_core.scores.ablation import ABLATIONS, parts_of
from asc_core.scores.faithfulness import report_key
from asc_core.scores.methods import is_reference
from asc_core.scores.removal import POINTS, RANDOM_SEEDS
from asc_core.study import Study
from asc_core.values import Shape
from dashboard.text import numbers
from dashboard.text.method_names import in_order, title_of

Interval = tuple[float, float]
NAMED = 3
_SHOWN = ("heads", "layers", "attention", "ffn", "neurons", NEURON_GROUPS)  # what loss curves are drawn of comes first
KIND_NAMES = {kind: BY_NAME[kind].many for kind in _SHOWN}


class Agreement(BaseModel):
    parts: int
    spearman: float | None
    spearman_interval: Interval | None
    kendall: float | None
    kendall_interval: Interval | None
    top_overlap: float
    top_share: float


class Judged(BaseModel):
    method: str
    labels: str
    split: str
    examples: int
    agreement: dict[str, Agreement]
    curves: dict[str, list[float]]
    areas: dict[str, float | None]
    area_intervals: dict[str, Interval | None]

    @property
    def baseline(self) -> bool:
        return is_reference(self.method)


class Seen(BaseModel):
    split: str
    examples: int


class Belief(BaseModel):
    method: str | None
    as_good: list[str]


class Report(BaseModel):
    """`FaithfulnessReport.to_json`, as a study keeps it."""

    task: str
    weights: str
    truth: Seen
    held_out: Seen
    reliability: dict[str, float]
    ceiling: dict[str, float | None]
    removed: dict[str, list[float]]
    chance: dict[str, list[float]]
    chance_range: dict[str, tuple[list[float], list[float]]] = {}  # reports from before it was kept have none
    methods: list[Judged]
    believe: dict[str, Belief]

    @model_validator(mode="after")
    def _fits_together(self) -> Report:
        known = {m.method for m in self.methods}
        if any(belief.method not in (None, *known) for belief in self.believe.values()):
            raise ValueError("a method to believe has to be among the methods")
        curves = [(kind, curve) for m in self.methods for kind, curve in m.curves.items()]
        ends = [(kind, end) for kind, both in self.chance_range.items() for end in both]
        for kind, curve in [*curves, *self.chance.items(), *ends]:
            if len(curve) < 2 or len(curve) != len(self.removed.get(kind, ())):
                raise ValueError("every curve needs a loss for each share removed")
        if self.removed.keys() - self.chance.keys():
            raise ValueError("every kind that was removed needs a random order")
        return self

    @property
    def kinds(self) -> list[str]:
        """The kinds of parts that something is known of."""
        known = {*self.removed, *(kind for method in self.methods for kind in method.agreement)}
        return [kind for kind in KIND_NAMES if kind in known]

    def ranked(self, kind: str) -> list[Judged]:
        """Those that are judged on a kind, best first: by the loss while parts go, else by agreement with ablation."""
        judged = [m for m in self.methods if kind in m.agreement or m.areas.get(kind) is not None]

        def worth(method: Judged) -> tuple[float, float]:
            area, found = method.areas.get(kind), method.agreement.get(kind)
            spearman = found.spearman if found is not None and found.spearman is not None else -2.0
            return (area if area is not None else float("inf")), -spearman

        return sorted(judged, key=worth)

    def missing(self, methods: Sequence[str]) -> list[str]:
        """Methods with scores that the report says nothing of: made after it."""
        known = {m.method for m in self.methods}
        return in_order(m for m in methods if m not in known and m not in ABLATIONS)


def report_of(study: Study, weights: str | None, task: str) -> Report | None:
    """None where nothing was measured, or what is stored is no such report (another version's)."""
    stored = study.get(report_key(weights, task)) if weights else None
    try:
        return Report.model_validate(stored) if stored is not None else None
    except ValidationError:
        return None


def verdict(report: Report, kind: str) -> str:
    """Which method to believe for a kind of part and how sure that is, as HTML with the names in bold."""
    parts, seen = KIND_NAMES[kind], f"{report.held_out.examples:,} {report.held_out.split} examples"
    belief = report.believe.get(kind)
    if belief is None:
        return _by_agreement(report, kind)
    if belief.method is None:
        if any(m.areas.get(kind) is not None for m in report.methods):
            return (
                f"<b>No method yet.</b> None removes {parts} better than a random order does on these {seen}. "
                "Do not cut them by score before more examples say otherwise."
            )
        return f"<b>Any.</b> Removing {parts} costs nothing on these {seen}, even at random."
    best = next(m for m in report.methods if m.method == belief.method)
    area, ends = best.areas.get(kind), best.area_intervals.get(kind)
    cost = numbers.percent(area or 0.0, 0) + (f" {_in_percent(ends)}" if ends else "")
    if ends is None:
        return (
            f"Lean towards <b>{title_of(best.method)}</b>: removing {parts} in its order costs {cost} of the loss that "
            f"a random order costs. How sure that is cannot be said from these {seen}, in some draws of which even a "
            "random order costs nothing: measure on more."
        )
    said = (
        f"Believe <b>{title_of(best.method)}</b>: removing {parts} in its order costs {cost} of the loss that a "
        "random order costs."
    )
    if ends[1] >= 1:
        return f"{said} The interval reaches chance, so this is a hint and no finding: measure on more examples."
    if not belief.as_good:
        return f"{said} No other method is as good, beyond what {seen} could do by chance."
    names = [f"<b>{title_of(m)}</b>" for m in belief.as_good[:NAMED]]
    more = len(belief.as_good) - len(names)
    if more:
        names.append(f"{more} more")
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return (
        f"{said} {seen.capitalize()} cannot tell it from {listed}, so {'either' if len(names) == 1 else 'any'} will do."
    )


def _by_agreement(report: Report, kind: str) -> str:
    ranked = [m for m in report.ranked(kind) if not m.baseline]
    found = ranked[0].agreement.get(kind) if ranked else None
    if found is None or found.spearman is None:
        return f"<b>Nothing to go by</b> for {KIND_NAMES[kind]}."
    sure = (
        f"between {found.spearman_interval[0]:.2f} and {found.spearman_interval[1]:.2f}"
        if found.spearman_interval
        else f"of {found.parts} parts only, so take it as a hint"
    )
    return (
        f"<b>{title_of(ranked[0].method)}</b> ranks {KIND_NAMES[kind]} most like exact ablation does: "
        f"{found.spearman:.2f}, {sure}. How the loss behaves while they go was not measured."
    )


def _in_percent(ends: Interval) -> str:
    return f"[{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]".replace("-", numbers.MINUS)


@dataclass(frozen=True)
class Effort:
    """How much computing a report takes, in texts that go once through the whole encoder."""

    ablation: float
    heads: float
    layers: float

    @property
    def total(self) -> float:
        return self.ablation + self.heads + self.layers

    @staticmethod
    def of(shape: Shape, methods: int, samples: int, held_out: int, truth_known: bool = False) -> Effort:
        """A part is ablated from the layer that it lies in upwards; an order's two ends are the same for all."""
        upwards = [1 - part.first_layer(shape.rows) / shape.layers for part in parts_of(shape, SINGLE)]
        orders = methods + 1 + len(RANDOM_SEEDS)  # the truth is judged, too
        heads = held_out * (orders * (POINTS - 2) + 2)
        removable = 0 if shape.shares_weights or shape.layers < 3 else min(POINTS, shape.layers) - 1
        layers = held_out * orders * removable / 2  # on average half of the layers are left
        return Effort(0.0 if truth_known else 1 + samples * sum(upwards), heads, layers)

    def done(self, done: int, total: int, phase: str) -> float:
        """How much of all this, from what a phase reports of itself."""
        share = done / total if total else 0.0
        if phase == removing("layers"):
            return self.ablation + self.heads + share * self.layers
        if phase == removing("heads"):
            return self.ablation + share * self.heads
        return share * self.ablation
