"""A measured metric and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Estimate:
    """A measured metric: fractions (0.842, not 84.2 %), intervals at 95 %.

    difference: this model minus the original on the same examples (paired), None where no original was given.
    examples of total: how many examples of the split are behind it. looks: what the intervals are for; "one" look at
    these examples, or "any" number of looks on the way to here, at whose pleasure one may have stopped.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    split: str
    examples: int
    total: int
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    truncated: int = 0
    looks: Literal["one", "any"] = "one"

    @property
    def complete(self) -> bool:
        return self.examples == self.total

    @property
    def reach(self) -> float:
        """How far the interval goes to either side at most: that of the difference, where there is one."""
        if self.difference is not None and self.difference_interval is not None:
            value, ends = self.difference, self.difference_interval
        else:
            value, ends = self.value, self.interval
        return max(value - ends[0], ends[1] - value)

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": self.value,
            "interval": list(self.interval),
            "difference": self.difference,
            "difference_interval": list(self.difference_interval) if self.difference_interval else None,
            "split": self.split,
            "examples": self.examples,
            "total": self.total,
            "truncated": self.truncated,
            "looks": self.looks,
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> Estimate:
        def pair(value: Sequence[float] | None) -> Any:
            return tuple(value) if value is not None else None

        return Estimate(
            **{**data, "interval": pair(data["interval"]), "difference_interval": pair(data["difference_interval"])}
        )
