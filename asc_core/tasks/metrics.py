"""Metrics as functions of the statistics of examples.

Each `Measure` pairs a `Metric` with the function that makes an example's statistics from what was decided and what is
right. Wherever a metric is a function of sums it is written as one, so that a bootstrap is a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asc_core.errors import UserError
from asc_core.tasks.base import Metric

ROUNDING = 1e-12  # what is left of a difference of sums that should be zero, relative to the sums

Statistics = Callable[[Any, Any], np.ndarray]


@dataclass(frozen=True)
class Measure:
    """statistics(decided, gold): what the task decided for each of n examples and what is right -> (n, k) float64."""

    metric: Metric
    statistics: Statistics

    def named(self, name: str) -> Measure:
        return Measure(replace(self.metric, name=name), self.statistics)


def check_offered(name: str | None, offered: Iterable[str], kind: str, origin: str) -> None:
    """Raises: UserError that lists the metrics there are."""
    if name is not None and name not in offered:
        raise UserError(f"{origin}: metric {name!r} is none of those for {kind}: {', '.join(offered)}, agreement.")


def accuracy(name: str = "accuracy") -> Measure:
    """The share of examples decided rightly."""

    def correct(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        same = np.asarray(decided) == np.asarray(gold)
        return same.reshape(len(same), -1).all(1, keepdims=True).astype(np.float64)

    return Measure(Metric(name, ("correct",), from_rows=lambda rows: rows[:, 0].mean(), binary=True), correct)


def binary_f1(positive: int) -> Measure:
    """F1 of one class."""

    def counts(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        p, g = np.asarray(decided) == positive, np.asarray(gold) == positive
        return np.stack([p & g, p, g], 1).astype(np.float64)

    return Measure(Metric("f1", ("tp", "predicted", "gold"), from_sums=f1_of_sums), counts)


def f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """(..., 3) true positives, predicted, gold -> (...,) F1; 0 where there is neither (as seqeval and sklearn do)."""
    tp, predicted, gold = np.moveaxis(sums, -1, 0)
    return _divide(2 * tp, predicted + gold)


def macro_f1(classes: int) -> Measure:
    """The mean F1 of the classes that occur or are predicted (sklearn's f1_score(average="macro")).

    decided: -1 = a class that the task does not have.
    """
    eye = np.eye(classes + 1)[:, :classes]  # the last row, -1, counts for no class

    def counts(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        p, g = eye[np.asarray(decided)], eye[np.asarray(gold)]
        return np.concatenate([p * g, p, g], 1)

    return Measure(Metric("macro-f1", _per_class(classes), from_sums=_macro_f1_of_sums), counts)


def _per_class(classes: int) -> tuple[str, ...]:
    return tuple(f"{kind}.{c}" for kind in ("tp", "predicted", "gold") for c in range(classes))


def _macro_f1_of_sums(sums: np.ndarray) -> np.ndarray:
    """(..., 3C) -> (...,)"""
    tp, predicted, gold = np.split(np.asarray(sums), 3, axis=-1)
    present = (predicted + gold) > 0
    return _divide(_divide(2 * tp, predicted + gold).sum(-1), present.sum(-1))


def mcc(classes: int) -> Measure:
    """Matthews correlation, for any number of classes (Gorodkin 2004, the R_K statistic; sklearn's)."""
    eye = np.eye(classes + 1)[:, :classes]

    def counts(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        decided, gold = np.asarray(decided), np.asarray(gold)
        same = (decided == gold).astype(np.float64)[:, None]
        return np.concatenate([same, np.ones_like(same), eye[decided], eye[gold]], 1)

    def from_sums(sums: np.ndarray) -> np.ndarray:
        correct, n = sums[..., 0], sums[..., 1]
        predicted, gold = np.split(sums[..., 2:], 2, axis=-1)
        spread = (n**2 - (predicted**2).sum(-1)) * (n**2 - (gold**2).sum(-1))
        return _divide(correct * n - (predicted * gold).sum(-1), np.sqrt(np.maximum(spread, 0)))

    columns = ("correct", "examples", *_per_class(classes)[classes:])
    return Measure(Metric("mcc", columns, from_sums=from_sums, bounds=(-1.0, 1.0)), counts)


def multi_label_micro_f1() -> Measure:
    """F1 over all (example, label) decisions. decided, gold: (n, C) 0/1."""

    def counts(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        p, g = np.asarray(decided, dtype=bool), np.asarray(gold, dtype=bool)
        return np.stack([(p & g).sum(1), p.sum(1), g.sum(1)], 1).astype(np.float64)

    return Measure(Metric("micro-f1", ("tp", "predicted", "gold"), from_sums=f1_of_sums), counts)


def multi_label_macro_f1(classes: int) -> Measure:
    """The mean F1 of the labels that occur or are predicted. decided, gold: (n, C) 0/1."""

    def counts(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        p, g = np.asarray(decided, dtype=np.float64), np.asarray(gold, dtype=np.float64)
        return np.concatenate([p * g, p, g], 1)

    return Measure(Metric("macro-f1", _per_class(classes), from_sums=_macro_f1_of_sums), counts)


def pearson() -> Measure:
    def moments(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        x, y = np.asarray(decided, dtype=np.float64), np.asarray(gold, dtype=np.float64)
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)

    def from_sums(sums: np.ndarray) -> np.ndarray:
        n, x, y, xx, yy, xy = np.moveaxis(np.asarray(sums), -1, 0)
        x_spread, y_spread = n * xx - x * x, n * yy - y * y
        constant = (x_spread <= ROUNDING * n * xx) | (y_spread <= ROUNDING * n * yy)
        spread = np.where(constant, 0, x_spread * y_spread)  # a model cut too far gives one value for everything
        return _divide(n * xy - x * y, np.sqrt(np.maximum(spread, 0)))

    return Measure(
        Metric("pearson", ("examples", "x", "y", "xx", "yy", "xy"), from_sums=from_sums, bounds=(-1.0, 1.0)), moments
    )


def spearman() -> Measure:
    def pairs(decided: np.ndarray, gold: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(decided, dtype=np.float64), np.asarray(gold, dtype=np.float64)], 1)

    def from_rows(rows: np.ndarray) -> float:
        from scipy.stats import rankdata

        ranks = rankdata(rows, axis=0)
        ranks -= ranks.mean(0)
        return float(_divide(ranks[:, 0] @ ranks[:, 1], np.sqrt((ranks**2).sum(0).prod())))

    return Measure(Metric("spearman", ("decided", "gold"), from_rows=from_rows, bounds=(-1.0, 1.0)), pairs)


def entity_f1(name: str = "entity-f1") -> Measure:
    """Micro F1 of entities, seqeval's default mode. decided, gold: tags of each example's words."""

    def counts(decided: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> np.ndarray:
        rows = np.zeros((len(gold), 3))
        for i, (p_tags, g_tags) in enumerate(zip(decided, gold, strict=True)):
            p, g = entities(p_tags), entities(g_tags)
            rows[i] = len(p & g), len(p), len(g)
        return rows

    return Measure(Metric(name, ("tp", "predicted", "gold"), from_sums=f1_of_sums), counts)


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """(type, first word, last word) of the entities in the tags of one text (IOB2, IOBES and their kin)."""
    import warnings

    from seqeval.metrics.sequence_labeling import get_entities

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of tags without B- or I-, which part-of-speech tags are
        return set(get_entities(list(tags)))


def word_accuracy(name: str = "accuracy") -> Measure:
    """The share of words with the right tag."""

    def counts(decided: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> np.ndarray:
        pairs = zip(decided, gold, strict=True)
        return np.asarray([[sum(map(str.__eq__, p, g)), len(g)] for p, g in pairs], dtype=np.float64).reshape(-1, 2)

    return Measure(Metric(name, ("correct", "words"), from_sums=lambda s: _divide(s[..., 0], s[..., 1])), counts)


def mean_of(name: str, columns: tuple[str, ...], column: int, statistics: Statistics) -> Measure:
    """The mean of one column; the last column counts the examples."""
    return Measure(Metric(name, columns, from_sums=lambda s: _divide(s[..., column], s[..., -1])), statistics)


def _divide(numerator: Any, denominator: Any) -> np.ndarray:
    """0 where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.divide(
        numerator, denominator, out=np.zeros(np.broadcast(numerator, denominator).shape), where=denominator != 0
    )
