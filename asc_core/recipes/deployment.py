"""What to deploy: variants of a model (cut x int8 x vocabulary) under limits of size, time and points lost, ranked.

A figure is measured or a forecast, and says which; a forecast names what it rests on. Pure functions of values: what
measures and forecasts is `deployment_search`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asc_core.errors import UserError

Axis = Literal["mb", "ms", "points"]
ROUNDING = 1e-9


@dataclass(frozen=True)
class Limits:
    """At most so much: mb = 10^6 bytes on disk (weights and tokenizer), ms = milliseconds of a forward pass, points =
    of the metric lost, by the measured difference. None = no limit."""

    mb: float | None = None
    ms: float | None = None
    points: float | None = None

    def __post_init__(self) -> None:
        for axis, most in self.of.items():
            if most is not None and not most >= 0:
                raise UserError(f"A limit is 0 or more: {most:g} {axis} is none.")

    @property
    def of(self) -> dict[Axis, float | None]:
        return {"mb": self.mb, "ms": self.ms, "points": self.points}

    @property
    def goal(self) -> Axis:
        """What is best within the limits: the first of points, MB and ms that has none; the least lost where all do."""
        order: tuple[Axis, ...] = ("points", "mb", "ms")
        return next((axis for axis in order if self.of[axis] is None), "points")


@dataclass(frozen=True)
class Figure:
    """value: NaN where nobody knows. low, high: its interval where it was measured with one. rests_on: what a forecast
    assumes, in words; "" where it was measured."""

    value: float
    low: float | None = None
    high: float | None = None
    rests_on: str = ""

    @property
    def measured(self) -> bool:
        return not self.rests_on

    def to_json(self) -> dict[str, Any]:
        known = self.value == self.value
        found: dict[str, Any] = {"value": self.value if known else None, "measured": self.measured}
        if self.low is not None and self.high is not None:
            found["interval"] = [self.low, self.high]
        return found | ({"rests_on": self.rests_on} if self.rests_on else {})


@dataclass(frozen=True)
class Variant:
    """keep: share of the encoder's FLOPs, 1 = not cut. int8, vocabulary: whether these steps follow."""

    keep: float = 1.0
    int8: bool = False
    vocabulary: bool = False

    @property
    def title(self) -> str:
        parts = ["whole" if self.keep == 1 else f"{100 * self.keep:g} % of the FLOPs"]
        return ", ".join(parts + ["shorter vocabulary"] * self.vocabulary + ["int8"] * self.int8)


@dataclass(frozen=True)
class Option:
    """A variant or, where `variant` is None, a recipe that the study holds, with its figures."""

    title: str
    mb: Figure
    ms: Figure
    points: Figure
    variant: Variant | None = None
    recipe_key: str = ""

    @property
    def figures(self) -> dict[Axis, Figure]:
        return {"mb": self.mb, "ms": self.ms, "points": self.points}

    @property
    def measured(self) -> bool:
        return all(figure.measured for figure in self.figures.values())

    def excess(self, limits: Limits) -> float:
        """How far beyond the limits, as the largest share of one; 0 within. An unknown figure counts as just beyond."""
        worst = 0.0
        for axis, most in limits.of.items():
            value = self.figures[axis].value
            if most is None:
                continue
            if value != value:
                worst = max(worst, ROUNDING)
            elif value > most + ROUNDING:
                worst = max(worst, (value - most) / max(most, 1e-3))
        return worst

    def to_json(self, limits: Limits) -> dict[str, Any]:
        return {
            "title": self.title,
            "keep": self.variant.keep if self.variant else None,
            "int8": self.variant.int8 if self.variant else None,
            "vocabulary": self.variant.vocabulary if self.variant else None,
            "recipe": self.recipe_key,
            "fits": self.excess(limits) == 0,
            "measured": self.measured,
            **{axis: figure.to_json() for axis, figure in self.figures.items()},
        }


def ranked(options: Sequence[Option], limits: Limits) -> list[Option]:
    """Those within all limits first, by the goal; then the others by how far they are beyond. Of equals the smaller."""

    def place(option: Option) -> tuple[float, float, float, float]:
        goal = option.figures[limits.goal].value
        goal = goal if goal == goal else float("inf")
        return option.excess(limits), goal, option.mb.value, option.ms.value

    return sorted(options, key=place)
