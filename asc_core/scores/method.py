"""What a scoring method is: its entry in the registry, in the four shapes that there are.

`FromStatistics`: means over texts of what a collector saw, combined. `FromSums`: any function of a collector's sums.
Both share one pass. `FromWeights`: no data. `OwnPass`: whatever else; it is given what the sweep was asked for and
returns scores. A file of scores ends with `METHODS = (...)`; docs/scores.md is generated from these entries.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from asc_core.parts import BLOCKS, KINDS, WHOLE
from asc_core.scores.data_fingerprint import data_fingerprint
from asc_core.scores.streaming import Sums
from asc_core.values import PartValues, Scores, Shape

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.progress import Progress
    from asc_core.scores.collector import Collector
    from asc_core.study import Study
    from asc_core.tasks.base import Targets, Task

Means = Mapping[str, np.ndarray]
Found = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to score parts.

    source: the paper. parts: the kinds of part that it scores.
    labels: "none"; "gold or own" where the loss needs labels: gold ones, or drawn from the model's own outputs; "own"
    where the method wants the model's own in any case; "gold" where nothing else will do.
    asked: "by default", "in all" (what costs a further pass or other attention kernels) or only "by name".
    one_scale: whether a head's number and a neuron's can be added up and traded as they are.
    offered: its place among the methods that an interface offers first, from 1; None = not among them.
    reference: whether it is there to judge others by, and not to be chosen.
    """

    id: str
    title: str
    description: str
    source: str
    parts: tuple[str, ...] = KINDS
    labels: Literal["none", "gold or own", "own", "gold"] = "none"
    asked: Literal["by default", "in all", "by name"] = "by default"
    one_scale: bool = False
    offered: int | None = None
    reference: bool = False


@dataclass(frozen=True, kw_only=True)
class Collected(Method):
    """Made of what a collector gathers during the pass that all such methods share."""

    collector: type[Collector]

    def labels_used(self, targets: str) -> str:
        """For `Scores.labels`, in a sweep with these targets."""
        return "none" if self.labels == "none" else self.collector.targets or targets

    def fill(self, scores: Scores, sums: Sums) -> Scores:
        """The same with values, and with intervals, similarity and details where the method has them."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class FromStatistics(Collected):
    """statistics: name -> unit of the statistics that it reads. combine(means, shape): from their means, (..., columns)
    each, to {part: (..., parts)} and, where the method has one, "similarity": (..., L+1, L+1). It is applied to the
    estimate and to every bootstrap replicate, which is why a leading dimension must pass through.

    margins: half the width of the normal interval, {part: (parts,)}, of parts whose statistics have no replicates
    (single neurons); by default those parts' scores are their statistic, perhaps times a factor.
    negative: whether a score may be below 0. signed: `combine` before it takes an absolute value, for the interval.
    details: name -> unit of statistics that go into `Scores.details` as means ("x" also stands for "x.0", "x.1", ...).
    """

    statistics: Mapping[str, str]
    combine: Callable[[Means, Shape], Found]
    margins: Callable[[Sums], Found] | None = None
    negative: bool = False
    signed: Callable[[Means, Shape], Found] | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    def means(self, sums: Sums) -> Found:
        return {name: sums.mean(name, unit) for name, unit in self.statistics.items()}

    def replicates(self, sums: Sums) -> Found:
        """(replicates, columns) of those statistics that have them."""
        units = self.statistics.items()
        return {name: sums.replicate_means(name, unit) for name, unit in units if sums.replicated(name)}

    def half_widths(self, sums: Sums, values: Means) -> Found:
        """{part: (parts,)} of the 95 % interval of parts whose statistics have no replicates. values: the scores."""
        if self.margins is not None:
            return self.margins(sums)
        found = {}
        for name, unit in self.statistics.items():
            if not sums.replicated(name):
                part, mean = part_of(name), sums.mean(name, unit)
                # A layer's normalisation, say.
                factor = np.divide(values[part], mean, out=np.zeros_like(mean), where=mean != 0)
                found[part] = factor * sums.margin(name, unit)
        return found

    def fill(self, scores: Scores, sums: Sums) -> Scores:
        shape, inner = scores.shape, self.signed or self.combine
        means, replicates = self.means(sums), self.replicates(sums)
        values, signed = self.combine(means, shape), inner(means, shape)
        low: Found = {}
        high: Found = {}
        for part, drawn in (inner(replicates, shape) if replicates else {}).items():
            low[part], high[part] = np.percentile(drawn, (2.5, 97.5), axis=0)
        least = -np.inf if self.negative or self.signed is not None else 0.0
        for part, half in self.half_widths(sums, signed).items():
            low[part] = np.maximum(signed[part] - half, least)
            high[part] = signed[part] + half
        if self.signed is not None:
            low, high = _folded(low, high)
        details = {name: sums.mean(name, unit) for key, unit in self.details.items() for name in sums.names(key)}
        return replace(
            scores,
            values=part_values(values, shape),
            low=part_values(low, shape),
            high=part_values(high, shape),
            similarity=values.get("similarity"),
            details={**scores.details, **details},
        )


@dataclass(frozen=True, kw_only=True)
class FromSums(Collected):
    """found(sums, shape, seed): ({part: (parts,)} and perhaps "similarity", half the widths of the intervals)."""

    found: Callable[[Sums, Shape, int], tuple[Found, Found]]

    def fill(self, scores: Scores, sums: Sums) -> Scores:
        values, half = self.found(sums, scores.shape, scores.seed)
        return replace(
            scores,
            values=part_values(values, scores.shape),
            low=part_values({part: values[part] - h for part, h in half.items()}, scores.shape),
            high=part_values({part: values[part] + h for part, h in half.items()}, scores.shape),
            similarity=values.get("similarity"),
        )


@dataclass(frozen=True, kw_only=True)
class FromWeights(Method):
    """values(encoder, seed): of the weights, or of nothing at all."""

    values: Callable[[Encoder, int], PartValues]


@dataclass(frozen=True)
class Request:
    """What a sweep was asked for, for a method that has a pass of its own: see `sweep`.

    study: for what a killed pass goes on from; the sweep itself keeps the result there.
    """

    split: str
    samples: int | None
    seed: int
    targets: Targets
    batch_tokens: int | None
    progress: Progress
    study: Study | None

    def scores(
        self, method: str, encoder: Encoder, task: Task, values: PartValues, examples: int, **more: Any
    ) -> Scores:
        """`Scores` with all that says where they come from. more: other fields (low, high, labels, details, ...)."""
        return Scores(
            method=method,
            values=values,
            shape=encoder.shape,
            weights=encoder.weights,
            task=task.name,
            split=self.split,
            examples=examples,
            seed=self.seed,
            texts=data_fingerprint(task, self.split, self.samples, self.seed) if examples else "",
            **more,
        )


Growing = Generator[Mapping[str, Scores], None, Mapping[str, Scores]]


@dataclass(frozen=True, kw_only=True)
class OwnPass(Method):
    """run(encoder, task, request): {method id: scores}; methods with the same one share the pass.

    grow: the same pass for somebody who looks on: yields what there is after the first examples, nothing where there
    is nothing to be seen yet but at least once before most of its work, and returns exactly what `run` does.
    """

    run: Callable[[Encoder, Task, Request], Mapping[str, Scores]]
    grow: Callable[[Encoder, Task, Request], Growing] | None = None


def part_of(statistic: str) -> str:
    """Statistics are named "<anything>.<part>"."""
    return statistic.rpartition(".")[2]


def each_part(means: Means, shape: Shape) -> Found:
    """The statistics are the scores."""
    return {part_of(name): values for name, values in means.items()}


def absolute(means: Means, shape: Shape) -> Found:
    return {part: np.abs(values) for part, values in each_part(means, shape).items()}


def half(means: Means, shape: Shape) -> Found:
    return {part: values / 2 for part, values in each_part(means, shape).items()}


def statistics(prefix: str, unit: str, parts: Sequence[str] = KINDS) -> dict[str, str]:
    """One statistic a kind of part: "<prefix>.<part>" -> unit."""
    return {f"{prefix}.{part}": unit for part in parts}


def part_values(flat: Means, shape: Shape) -> PartValues:
    """From {kind: (all parts of that kind,)}; what is no kind of part is left out."""
    found: dict[str, Any] = {kind: flat[kind] for kind in WHOLE if kind in flat}
    for kind in BLOCKS:
        if kind in flat:
            found[kind] = tuple(np.split(flat[kind], np.cumsum(getattr(shape, kind))[:-1]))
    return PartValues(**found)


def _folded(low: Means, high: Means) -> tuple[Found, Found]:
    """Intervals of absolute values from those of the signed numbers."""
    return (
        {part: np.maximum(np.maximum(low[part], -high[part]), 0) for part in low},
        {part: np.maximum(np.abs(low[part]), np.abs(high[part])) for part in low},
    )
