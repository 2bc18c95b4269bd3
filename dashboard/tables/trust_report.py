"""What a study knows of how far each method can be trusted on an application: reading it, ranking it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ValidationError, model_validator

from asc_core.scores.ablation import ABLATIONS
from asc_core.scores.faithfulness import report_key
from asc_core.scores.methods import is_reference
from asc_core.study import Study
from dashboard.text.method_names import in_order
from dashboard.text.names import KIND_NAMES

Interval = tuple[float, float]


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
