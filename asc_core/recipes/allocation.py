"""One budget over all families of compression: which setting of each, by prices that were measured one at a time.

A *setting* is one step at one strength, and what it does to the original alone: bytes of the word embedding, of the
layers and of all else, FLOPs, time, and points lost. An *allocation* takes one setting of each family. Its forecast
multiplies the shares that its settings leave (half of the FLOPs and half of the bits are a quarter of the layers'
bytes) and adds the points that they lose. Both are assumptions: what comes of an allocation is measured before it is
believed, see `allocation_search`. Pure functions of values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from asc_core.errors import UserError

Axis = Literal["bytes", "flops", "ms"]
AXES: tuple[Axis, ...] = ("bytes", "flops", "ms")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_AMOUNT = re.compile(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmg%]?)b?", re.IGNORECASE)
FORMS = "bytes=9M, bytes=10%, flops=50% or ms=5"


@dataclass(frozen=True)
class Bound:
    """At most so much. bytes: of weights in a file, 10^6 are an MB. flops: share of the original's. ms: of a forward
    pass. share: whether `most` of bytes or ms is a share of the original's, too."""

    axis: Axis
    most: float
    share: bool = False

    @staticmethod
    def parse(text: str) -> Bound:
        """An axis alone is all of the original. Raises: UserError where it is none of `FORMS`."""
        axis, _, amount = text.partition("=")
        if text.strip().lower() in AXES:
            amount = "100%"
        found = _AMOUNT.fullmatch(amount.strip())
        axis = axis.strip().lower()
        if axis not in AXES or found is None:
            raise UserError(f"A budget is written as {FORMS}, not {text!r}.")
        number, unit = float(found[1]), found[2].lower()
        if axis == "ms" and unit not in ("", "%"):
            raise UserError(f"Milliseconds are written as ms=5, not {text!r}.")
        share = unit == "%" or axis == "flops" or (axis == "bytes" and not unit and number <= 1)
        most = number / 100 if unit == "%" else number * _UNITS[unit]
        if not most > 0 or (share and most > 1):
            raise UserError(f"The budget {text!r} is none: give more than 0, and at most 100 % of the original.")
        return Bound(axis, most, share)

    def on(self, original: Footprint) -> float:
        """In the unit of the footprint."""
        return self.most * original.of(self.axis) if self.share else self.most


@dataclass(frozen=True)
class Footprint:
    """bytes of weights, by where they are; flops: mean of a text; ms: 0 where it was not timed."""

    embedding: float
    layers: float
    rest: float
    flops: float
    ms: float = 0.0

    @property
    def bytes(self) -> float:
        return self.embedding + self.layers + self.rest

    def of(self, axis: Axis) -> float:
        return {"bytes": self.bytes, "flops": self.flops, "ms": self.ms}[axis]

    def times(self, shares: Footprint) -> Footprint:
        return Footprint(*(a * b for a, b in zip(self.values, shares.values, strict=True)))

    def over(self, original: Footprint) -> Footprint:
        """The share of each that is left; 1 of nothing."""
        return Footprint(*(a / b if b else 1.0 for a, b in zip(self.values, original.values, strict=True)))

    @property
    def values(self) -> tuple[float, ...]:
        return (self.embedding, self.layers, self.rest, self.flops, self.ms)


@dataclass(frozen=True)
class Loss:
    """points: of the metric lost, by the paired difference. error: its standard error. change: mean absolute change of
    the examples' statistics, which says how much happened to the answers, for better or worse."""

    points: float
    error: float
    change: float

    def expected(self, points_of_change: float) -> float:
        """points, drawn towards what such a change costs on average; the less, the better they are known.

        A few hundred examples tell a loss of half a point from none only by luck, while a change of answers is seen at
        once: the mean of both is weighted as for a normal prior whose deviation is its mean.
        """
        usual = points_of_change * self.change
        both = usual**2 + self.error**2
        trust = usual**2 / both if both else 0.0
        return trust * self.points + (1 - trust) * usual


@dataclass(frozen=True)
class Setting:
    """family: what it is one of. key: its step, as recipes know it; "" = the family leaves the model as it is. shares:
    what it leaves of the original. lost: alone."""

    family: str
    key: str
    title: str
    shares: Footprint
    lost: Loss

    @property
    def idle(self) -> bool:
        return not self.key


NOTHING = Footprint(1.0, 1.0, 1.0, 1.0, 1.0)


def idle(family: str) -> Setting:
    return Setting(family, "", "", NOTHING, Loss(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Allocation:
    """One setting of each family, in the order in which their steps are applied."""

    settings: tuple[Setting, ...]

    @property
    def key(self) -> str:
        return " ".join(setting.key for setting in self.settings if not setting.idle)

    @property
    def title(self) -> str:
        return ", ".join(setting.title for setting in self.settings if not setting.idle) or "the original"

    def footprint(self, original: Footprint) -> Footprint:
        found = original
        for setting in self.settings:
            found = found.times(setting.shares)
        return found

    def lost(self, points_of_change: float) -> float:
        """Points, added up."""
        return sum(setting.lost.expected(points_of_change) for setting in self.settings)

    def differs(self, other: Allocation) -> tuple[str, ...]:
        """The families whose settings are others."""
        return tuple(a.family for a, b in zip(self.settings, other.settings, strict=True) if a.key != b.key)


def points_of_change(losses: Iterable[Loss]) -> float:
    """Points that are lost for a change of 1, over all that was measured; never less than a hundredth of one."""
    every = list(losses)
    changed = sum(loss.change for loss in every)
    lost = sum(loss.points for loss in every)
    return max(lost / changed, 0.01) if changed else 0.01


def allocations(families: Mapping[str, Sequence[Setting]]) -> list[Allocation]:
    """Every combination; families in order of application, each with being left out."""
    every = [[idle(family), *settings] for family, settings in families.items()]
    return [Allocation(chosen) for chosen in product(*every)]


def within(
    candidates: Iterable[Allocation], original: Footprint, bound: Bound, corrections: Mapping[str, float], rate: float
) -> list[Allocation]:
    """Those that are expected to meet the bound, the least lost first, of equals the larger.

    corrections: see `size`.
    """
    most = bound.on(original)
    found = []
    for one in candidates:
        expected = size(one, original, bound.axis, corrections)
        if expected <= most:
            found.append((round(one.lost(rate), 9), -expected, one.key, one))
    return [entry[-1] for entry in sorted(found, key=lambda entry: entry[:3])]


def size(one: Allocation, original: Footprint, axis: Axis, corrections: Mapping[str, float]) -> float:
    """What it is expected to take.

    corrections: what came of an allocation that was made, as a share of its forecast, by key: those that were not made
    are expected to come out as the nearest one did (in the number of settings that differ), or as forecast.
    """
    forecast = one.footprint(original).of(axis)
    if not corrections:
        return forecast
    mine = set(one.key.split(" "))
    nearest = min(corrections, key=lambda key: len(mine.symmetric_difference(key.split(" "))))
    return forecast * corrections[nearest]


def smallest_possible(candidates: Iterable[Allocation], original: Footprint, axis: Axis) -> float:
    return min(one.footprint(original).of(axis) for one in candidates)


def told_apart(
    candidates: Sequence[Allocation], tried: Sequence[Allocation], ladder: Mapping[str, Sequence[str]]
) -> Allocation | None:
    """The first that is no mere neighbour of one that was tried: another family in use, two families that differ, or
    one by two rungs. ladder: keys of each family's settings, in order of strength."""
    for one in candidates:
        if all(_far(one, other, ladder) for other in tried):
            return one
    return None


def _far(one: Allocation, other: Allocation, ladder: Mapping[str, Sequence[str]]) -> bool:
    different = one.differs(other)
    if len(different) != 1:
        return bool(different)
    place = [setting.family for setting in one.settings].index(different[0])
    rungs = ["", *ladder[different[0]]]
    return abs(rungs.index(one.settings[place].key) - rungs.index(other.settings[place].key)) > 1


def standard_error(low: float, high: float) -> float:
    """Of a 95 % interval."""
    return float(np.abs(high - low) / (2 * 1.959964))
