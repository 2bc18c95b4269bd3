"""Where one model decides otherwise than another on the same examples, class by class: what a mean does not say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asc_core.evaluate.per_example import PerExampleResult
from asc_core.tasks.base import Metric

FEWEST = 5  # examples of a class, below which it says nothing


@dataclass(frozen=True)
class ClassChange:
    """before, after: how many of a class's `examples` the two models decide rightly."""

    name: str
    examples: int
    before: int
    after: int

    @property
    def difference(self) -> float:
        """Of the share decided rightly."""
        return (self.after - self.before) / self.examples


@dataclass(frozen=True)
class Changes:
    """lost: examples that the first model decides rightly and the second does not; won: the other way round.

    classes: with `FEWEST` examples at least, by their difference, the worst first; () where examples have none.
    """

    examples: int
    lost: int
    won: int
    classes: tuple[ClassChange, ...] = ()


def changes(
    before: PerExampleResult, after: PerExampleResult, metric: Metric, classes: Sequence[Sequence[str]]
) -> Changes | None:
    """None where a metric does not say which examples are decided rightly (correlations).

    classes: of each example of `after`, in its order; an example may have several (of tags) or none.
    """
    first = right(before.statistics[before.positions(after.numbers)], metric.columns)
    second = right(after.statistics, metric.columns)
    if first is None or second is None:
        return None
    found = []
    for name in sorted({name for names in classes for name in names}):
        mine = np.array([name in names for names in classes])
        if mine.sum() >= FEWEST:
            found.append(ClassChange(name, int(mine.sum()), int(first[mine].sum()), int(second[mine].sum())))
    found.sort(key=lambda each: (each.difference, each.name))
    return Changes(len(after), int((first & ~second).sum()), int((second & ~first).sum()), tuple(found))


def right(statistics: np.ndarray, columns: Sequence[str]) -> np.ndarray | None:
    """(n, k) of a metric -> (n,) bool: is an example decided rightly as a whole? None where that is not said."""
    if "em" in columns:
        return statistics[:, columns.index("em")] == 1
    if "correct" in columns:
        wanted = statistics[:, columns.index("words")] if "words" in columns else 1
        return statistics[:, columns.index("correct")] == wanted
    kinds = [name.partition(".")[0] for name in columns]
    if set(kinds) != {"tp", "predicted", "gold"}:
        return None
    hit, said, gold = (statistics[:, [kind == each for each in kinds]] for kind in ("tp", "predicted", "gold"))
    return ((hit == said) & (hit == gold)).all(1)
