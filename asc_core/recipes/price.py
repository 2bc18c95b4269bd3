"""The price of agnosticism: what an application loses by a cut that does not know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asc_core.recipes.matrix import ApplicationMatrix, Cell

REPLICATES = 2000


@dataclass(frozen=True)
class Price:
    """How many points an application loses on average by a cut that does not know it. row: the agnostic cut.

    value, interval: mean over applications of (own cut's metric - the row's), 95 %, paired bootstrap over examples.
    """

    row: str
    value: float
    interval: tuple[float, float]


def prices(matrix: ApplicationMatrix, cells: Sequence[Cell], seed: int = 0) -> list[Price]:
    """Of each agnostic row that all columns have, the cheapest first; that one is *the* price of agnosticism.

    (The best of several rows is chosen with the same examples, which makes the price look lower rather than higher.)
    """
    found = {(cell.row, cell.column): cell.measured.statistics for cell in cells}
    columns = matrix.applications
    made = []
    for row in matrix.agnostic:
        pairs = [(found.get((c.name, c.name)), found.get((row, c.name)), c.task.metric.value) for c in columns]
        whole = [(own, other, value) for own, other, value in pairs if own is not None and other is not None]
        if len(whole) == len(columns):
            made.append(Price(row, *mean_difference(whole, seed)))
    return sorted(made, key=lambda price: price.value)


def mean_difference(
    pairs: Sequence[tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], float]]], seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """(mean over pairs of metric(first) - metric(second), its 95 % interval); examples are drawn within each pair."""
    generator = np.random.default_rng((seed, len(pairs)))
    value = float(np.mean([metric(a) - metric(b) for a, b, metric in pairs]))
    drawn = np.zeros(REPLICATES)
    for a, b, metric in pairs:
        for replicate in range(REPLICATES):
            rows = generator.integers(len(a), size=len(a))
            drawn[replicate] += (metric(a[rows]) - metric(b[rows])) / len(pairs)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return value, (float(low), float(high))
