"""How many calibration examples are enough: when a ranking of parts no longer moves, a sweep may stop.

The stability of a ranking at n examples is the rank correlation that it is expected to have with the ranking from n
other examples. It comes from the bootstrap replicates that the sweep keeps anyway, at any point of the pass. With a
parts' variance t^2 (between parts) and an error variance s^2 (of the mean of n examples), two fresh samples correlate
by r = t^2 / (t^2 + s^2); two replicates of one sample carry that sample's error in common and one more each, so they
correlate by c = (t^2 + s^2) / (t^2 + 2 s^2), and r = 2 - 1 / c. (The relation is exact for correlations of values; for
ranks it is close, which the tests check by simulation.)

For this the examples that are done have to be a random sample at every stop. Batches of a plain sweep come by length,
so a sweep that may stop takes its examples in slices, each twice as many as before, and sorts by length inside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from asc_core.parts import SINGLE
from asc_core.scores.method import FromStatistics, Method
from asc_core.scores.streaming import NORMAL_QUANTILE, Sums
from asc_core.values import Scores, Shape

FIRST_SLICE = 64
GROWTH = 2
FEWEST_PARTS = 3
_NORMAL_DRAWS = 20
_BEFORE_DETAILS_SAID_IT = re.compile(r"Stopped after (\d+) of (\d+) examples")  # in scores of earlier versions


def stability(method: Method, sums: Sums, shape: Shape, seed: int = 0) -> dict[str, float]:
    """kind of part -> the expected Spearman correlation with a ranking from as many other examples, 0 to 1.

    Of parts without replicates (neurons) draws from their normal intervals take the place of replicates; errors that
    neurons have in common then count as if each had its own, so that theirs is a lower bound. Empty for methods that
    are data-free or keep no statistics of examples.
    """
    if not isinstance(method, FromStatistics):
        return {}
    replicated = method.replicates(sums)
    drawn = dict(method.combine(replicated, shape)) if replicated else {}
    values = method.combine(method.means(sums), shape)
    for part, margin in method.half_widths(sums, values).items():
        noise = np.random.default_rng((seed, len(margin))).standard_normal((_NORMAL_DRAWS, len(margin)))
        drawn[part] = values[part] + margin / NORMAL_QUANTILE * noise
    return {
        part: fresh_correlation(found)
        for part, found in drawn.items()
        if part != "similarity" and found.shape[-1] >= FEWEST_PARTS
    }


def fresh_correlation(replicates: np.ndarray) -> float:
    """(replicates, parts) of one sample -> the rank correlation to expect between two samples of its size, 0 to 1."""
    ranks = rankdata(replicates, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    norm = np.linalg.norm(ranks, axis=-1, keepdims=True)
    ranks = ranks[norm[:, 0] > 0] / norm[norm[:, 0] > 0]
    count = len(ranks)
    if count < 2:
        return 0.0
    between = float((np.square(ranks.sum(0)).sum() - count) / (count * (count - 1)))  # mean over pairs
    return float(np.clip(2 - 1 / between, 0, 1)) if between > 0 else 0.0


def growing_slices(example: np.ndarray, seed: int, first: int = FIRST_SLICE) -> list[np.ndarray]:
    """Indices of features in slices of `first` examples, as many again, twice as many, ...: a random order by seed.

    example: (features,) the example of each, ascending. At the end of each slice 64, 128, 256, ... examples are done.
    """
    examples = np.random.default_rng((seed, len(example), 2)).permutation(np.unique(example))
    ends = [first]
    while ends[-1] < len(examples):
        ends.append(ends[-1] * GROWTH)
    chosen = np.split(examples, ends[:-1])
    return [np.flatnonzero(np.isin(example, part)) for part in chosen if part.size]


class EarlyStop:
    """Watches a sweep that may stop. For one sweep.

    batches: (stops,) after how many batches a slice ends; examples: (stops,) how many examples are done by then.
    stop_at: the stability that every method's ranking of heads, sublayers and layers has to reach; 1 or more = go on
    to the end. curve: for each stop so far {"examples": n, "stability": {method: {kind: stability}}}, JSON.
    """

    def __init__(
        self, methods: Sequence[Method], shape: Shape, batches: Sequence[int], examples: Sequence[int], stop_at: float
    ):
        self.methods, self.shape, self.stop_at = methods, shape, stop_at
        self.examples_after = dict(zip(batches, examples, strict=True))
        self.total = examples[-1]
        self.curve: list[dict[str, Any]] = []

    def is_stop(self, batches: int) -> bool:
        """Whether a slice ends after so many batches."""
        return batches in self.examples_after

    def should_stop(self, batches: int, sums: Sums) -> bool:
        """Whether to stop after so many batches. Where a slice ends, the curve gets a point."""
        if not self.is_stop(batches):
            return False
        examples = self.examples_after[batches]
        found = {m.id: stability(m, sums, self.shape) for m in self.methods}
        self.curve = [point for point in self.curve if point["examples"] < examples]
        self.curve.append({"examples": examples, "stability": found})
        # A ranking of thousands of neurons has near ties for ever.
        watched = [value for each in found.values() for kind, value in each.items() if kind in SINGLE]
        return bool(watched) and min(watched) >= self.stop_at and self.stop_at < 1

    @property
    def examples(self) -> int:
        """How many were done at the last stop."""
        return int(self.curve[-1]["examples"]) if self.curve else 0

    @property
    def stopped_early(self) -> bool:
        return self.examples < self.total

    @property
    def note(self) -> str:
        return (
            f"Stopped after {self.examples} of {self.total} examples, because every ranking is expected to correlate "
            f"by {self.stop_at:g} or more with that of as many others."
            if self.stopped_early
            else ""
        )

    def details(self, method: str) -> dict[str, np.ndarray]:
        """For `Scores.details`: "stability.asked" (1,) examples, "stability.examples", "stability.<kind>" (stops,)."""
        points = [(point["examples"], point["stability"].get(method, {})) for point in self.curve]
        points = [point for point in points if point[1]]
        found = {"stability.asked": np.asarray([self.total])}
        if not points:
            return found
        found["stability.examples"] = np.asarray([examples for examples, _ in points])
        for kind in points[-1][1]:
            found[f"stability.{kind}"] = np.asarray([each[kind] for _, each in points])
        return found


def stability_curve(details: Mapping[str, np.ndarray], kind: str) -> tuple[np.ndarray, np.ndarray] | None:
    """(examples, stability), from the `details` of Scores of a sweep that may stop; None where there is no curve."""
    if f"stability.{kind}" not in details:
        return None
    return details["stability.examples"], details[f"stability.{kind}"]


def stopped_early(scores: Scores) -> tuple[int, int] | None:
    """(examples done, examples asked for) of a sweep that ended because its rankings were stable."""
    if "stability.asked" in scores.details:
        asked = int(scores.details["stability.asked"][0])
        return (scores.examples, asked) if scores.examples < asked else None
    before = _BEFORE_DETAILS_SAID_IT.search(scores.notes)
    return (int(before[1]), int(before[2])) if before else None
