"""The price of agnosticism: what an application loses by a cut that does not know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asc_core.evaluate.intervals import ALPHA, ends
from asc_core.recipes.transfer_matrix import Cell, TransferMatrix
from asc_core.tasks.base import Metric

REPLICATES = 2000


@dataclass(frozen=True)
class AgnosticismGap:
    """How many points an application loses on average by a cut that does not know it. row: the agnostic cut.

    value, interval: mean over applications of (own cut's metric - the row's), 95 %, paired bootstrap over examples.
    """

    row: str
    value: float
    interval: tuple[float, float]


def agnosticism_gaps(matrix: TransferMatrix, cells: Sequence[Cell], seed: int = 0) -> list[AgnosticismGap]:
    """Of each agnostic row that all columns have, the cheapest first; that one is *the* price of agnosticism.

    (The best of several rows is chosen with the same examples, which makes the price look lower rather than higher.)
    """
    found = {(cell.row, cell.column): cell.measured.statistics for cell in cells}
    columns = matrix.applications
    made = []
    for row in matrix.agnostic:
        pairs = [(found.get((c.name, c.name)), found.get((row, c.name)), c.task.metric) for c in columns]
        whole = [(own, other, metric) for own, other, metric in pairs if own is not None and other is not None]
        if len(whole) == len(columns):
            made.append(AgnosticismGap(row, *mean_difference(whole, seed)))
    return sorted(made, key=lambda gap: gap.value)


def mean_difference(
    pairs: Sequence[tuple[np.ndarray, np.ndarray, Metric]], seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """(mean over pairs of metric(first) - metric(second), its 95 % interval).

    Each pair's interval by bootstrap over its examples, ended as all are (`intervals.ends`; statistics may be means
    over seeds, for which there is no closed form); the mean's from theirs, whose errors are independent: the distances
    from value to end add up as squares (MOVER; Zou and Donner 2008, Statistics in Medicine 27, 1693-1702).
    """
    generator = np.random.default_rng((seed, len(pairs)))
    found = np.array([_difference(a, b, metric, generator) for a, b, metric in pairs])
    value, low, high = found.T
    below, above = np.linalg.norm(value - low), np.linalg.norm(high - value)
    mean = float(value.mean())
    return mean, (mean - float(below) / len(pairs), mean + float(above) / len(pairs))


def _difference(
    first: np.ndarray, second: np.ndarray, metric: Metric, generator: np.random.Generator
) -> tuple[float, float, float]:
    """The difference of the metrics and its ends."""
    drawn = np.empty(REPLICATES)
    for replicate in range(REPLICATES):
        rows = generator.integers(len(first), size=len(first))
        drawn[replicate] = metric.value(first[rows]) - metric.value(second[rows])
    value, widest = metric.value(first) - metric.value(second), metric.bounds[1] - metric.bounds[0]
    return value, *ends(value, drawn, len(first), ALPHA, (-widest, widest))
