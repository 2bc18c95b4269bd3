"""A measured metric and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, TypeAdapter

from asc_core.values.checked import parsed
from asc_core.values.shown import html_table, html_titled, percent, points

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Estimate:
    """A measured metric: fractions (0.842, not 84.2 %), intervals at 95 %.

    difference: this model minus the original on the same examples (paired), None where no original was given.
    examples of total: how many examples of the split are behind it. valid: when the intervals hold; "single" = for one
    analysis of these examples, "anytime" = for any number of interim analyses, after each of which one may stop.
    notes: what a user should know of it, in sentences: what had to be guessed while reading, and what looks wrong.
    provisional: of a model that is still being refined: what was done to it so far, in words; "" of the final one.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    metric: str
    value: float
    interval: tuple[float, float]
    split: str
    examples: int
    total: int
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    truncated: int = 0
    valid: Literal["single", "anytime"] = "single"
    notes: tuple[str, ...] = ()
    provisional: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be measured of this model, and it is the final one."""
        return self.examples == self.total and not self.provisional

    @property
    def half_width(self) -> float:
        """How far the interval goes to either side at most: that of the difference, where there is one."""
        if self.difference is not None and self.difference_interval is not None:
            value, ends = self.difference, self.difference_interval
        else:
            value, ends = self.value, self.interval
        return max(value - ends[0], ends[1] - value)

    def row(self) -> dict[str, Any]:
        """As a line of a table: the ends of intervals each in a column of its own, None where there is no original."""
        low, high = self.difference_interval or (None, None)
        return {
            "metric": self.metric,
            "value": self.value,
            "low": self.interval[0],
            "high": self.interval[1],
            "difference": self.difference,
            "difference_low": low,
            "difference_high": high,
            "split": self.split,
            "examples": self.examples,
            "total": self.total,
        }

    def to_frame(self) -> pandas.DataFrame:
        """A pandas DataFrame of one row, to be put under others; fractions, as here."""
        import pandas

        return pandas.DataFrame([self.row()])

    @property
    def _facts(self) -> str:
        low, high = self.interval
        said = f"{self.metric} {percent(self.value)} [{percent(low)}, {percent(high)}]"
        if self.difference is not None and self.difference_interval is not None:
            ends = ", ".join(map(points, self.difference_interval))
            said += f", {points(self.difference)} points [{ends}] to the original"
        part = "" if self.complete else f" of {self.total:,}"
        return f"{said}, on {self.examples:,}{part} {self.split} examples"

    def __repr__(self) -> str:
        count = len(self.notes)
        return f"Estimate({self._facts}{f'; {count} note' + 's' * (count > 1) if count else ''})"

    def _repr_html_(self) -> str:
        rows = [(self.metric, percent(self.value), *map(percent, self.interval))]
        if self.difference is not None and self.difference_interval is not None:
            ends = [f"{points(end)} points" for end in self.difference_interval]
            rows.append(("difference to the original", f"{points(self.difference)} points", *ends))
        title = f"{self.examples:,} of {self.total:,} {self.split} examples, intervals at 95 %"
        cut = f"{self.truncated:,} texts were truncated." if self.truncated else ""
        return html_titled(title, html_table(("", "value", "low", "high"), rows), notes=[*self.notes, cut])

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
            "valid": self.valid,
            "notes": list(self.notes),
        } | ({"provisional": self.provisional} if self.provisional else {})

    @staticmethod
    def from_json(data: Any) -> Estimate:
        """Also of a study from before `valid` had this name. Raises: ValueError where it is none."""
        if isinstance(data, dict) and data.get("looks") in _OLD_NAMES:
            data = {name: value for name, value in data.items() if name != "looks"} | {
                "valid": _OLD_NAMES[data["looks"]]
            }
        return parsed(_ESTIMATE, data)


_OLD_NAMES = {"one": "single", "any": "anytime"}
_ESTIMATE = TypeAdapter(Estimate)
