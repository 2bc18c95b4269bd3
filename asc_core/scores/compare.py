"""How far two scores agree on which parts matter, and how far applications agree on what they do not need.

Only ranks are compared: scores of different methods, and of one method on different tasks, have different scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

from asc_core.errors import UserError
from asc_core.plan.parts import flat_scores
from asc_core.values import Scores

TOP_SHARE = 0.25
REPLICATES = 1000
FEWEST_PARTS_WITH_INTERVAL, MOST_PARTS_WITH_INTERVAL = 10, 1000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Agreement:
    """How alike two rankings of the same parts are; correlations are NaN where a ranking has ties only.

    Intervals at 95 % are over parts (other heads of such an encoder), not over examples; None for a handful of parts
    (fewer than 10), where they would say nothing, and for more than 1,000, where they are narrow.
    top_overlap: share of the most important `top_share` of the parts that the other score also has among them; for
    unrelated rankings it is `top_share` on average.
    """

    parts: int
    spearman: float
    spearman_interval: Interval | None
    kendall: float
    kendall_interval: Interval | None
    top_overlap: float
    top_share: float

    def to_json(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "spearman": _or_none(self.spearman),
            "spearman_interval": list(self.spearman_interval) if self.spearman_interval else None,
            "kendall": _or_none(self.kendall),
            "kendall_interval": list(self.kendall_interval) if self.kendall_interval else None,
            "top_overlap": self.top_overlap,
            "top_share": self.top_share,
        }


def _or_none(number: float) -> float | None:
    """JSON has no NaN."""
    return float(number) if np.isfinite(number) else None


def agreement(a: Scores, b: Scores, kind: str, top_share: float = TOP_SHARE, seed: int = 0) -> Agreement:
    """Of two scores of one shape on one kind of part (heads, neurons, attention, ffn, layers).

    Raises: UserError where the shapes differ or one has no scores of that kind.
    """
    _same_shape([a, b])
    return agreement_of(flat_scores(a, kind), flat_scores(b, kind), top_share, seed)


def agreement_of(a: np.ndarray, b: np.ndarray, top_share: float = TOP_SHARE, seed: int = 0) -> Agreement:
    """a, b: (parts,) two scores of the same parts, at least 2."""
    n = len(a)
    spearman_interval = kendall_interval = None
    if FEWEST_PARTS_WITH_INTERVAL <= n <= MOST_PARTS_WITH_INTERVAL:
        generator = np.random.default_rng((seed, n))
        drawn = generator.integers(n, size=(REPLICATES, n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)
        spearman_interval = _percentiles(spearman(a[drawn], b[drawn]))
        kendall_interval = _percentiles(_kendall_of_draws(a, b, counts))
    return Agreement(
        n,
        float(spearman(a, b)),
        spearman_interval,
        float(kendalltau(a, b).statistic),
        kendall_interval,
        top_overlap(a, b, top_share),
        top_share,
    )


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., n) -> (...): Spearman's rank correlation, average ranks for ties, NaN where a ranking has ties only."""
    ranks = [rankdata(x, axis=-1) for x in (a, b)]
    x, y = (r - r.mean(-1, keepdims=True) for r in ranks)
    norm = np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
    return np.divide((x * y).sum(-1), norm, out=np.full_like(norm, np.nan), where=norm > 0)


def _kendall_of_draws(a: np.ndarray, b: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """counts: (draws, n) how often each part was drawn -> (draws,) Kendall's tau-b of what was drawn.

    A sum over pairs of parts, each as often as both were drawn: a part with its own copies is a tie, and adds nothing.
    """
    x, y = (np.sign(v[:, None] - v[None, :]) for v in (a, b))

    def pairs(signs: np.ndarray) -> np.ndarray:
        return ((counts @ signs) * counts).sum(-1)

    norm = np.sqrt(pairs(x * x) * pairs(y * y))
    return np.divide(pairs(x * y), norm, out=np.full_like(norm, np.nan), where=norm > 0)


def _percentiles(drawn: np.ndarray) -> Interval | None:
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return None
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def top_overlap(a: np.ndarray, b: np.ndarray, share: float = TOP_SHARE) -> float:
    """Share of the k = share * parts (at least 1) most important parts of a that are among those of b.

    Where the k-th is one of several equal ones, each of these counts as the part of one that is left for it.
    """
    k = max(1, round(share * len(a)))
    return float(np.minimum(_among_top(a, k), _among_top(b, k)).sum() / k)


def _among_top(scores: np.ndarray, k: int) -> np.ndarray:
    """(n,) 1 for the k highest, 0 for the others, a fraction for those that are equal at the edge."""
    edge = np.sort(scores)[-k]
    above, equal = scores > edge, scores == edge
    return above + equal * ((k - above.sum()) / equal.sum())


def agreement_matrix(scores: Sequence[Scores], kind: str) -> np.ndarray:
    """(n, n) Spearman correlation of every two of n scores: one method on n applications, or n methods on one.

    NaN where a ranking has ties only. Raises: as `agreement`.
    """
    _same_shape(scores)
    flat = np.stack([flat_scores(s, kind) for s in scores])
    return spearman(flat[:, None], flat[None, :])


@dataclass(frozen=True)
class Redundancy:
    """Which parts which applications can do without. tasks: their names. redundant: (tasks, parts) bool, parts flat."""

    tasks: tuple[str, ...]
    redundant: np.ndarray

    @property
    def for_how_many(self) -> np.ndarray:
        """(parts,)"""
        return np.asarray(self.redundant.sum(0))

    @property
    def for_all(self) -> np.ndarray:
        """(parts,) bool"""
        return np.asarray(self.redundant.all(0))

    @property
    def needed_by_one(self) -> np.ndarray:
        """(parts,) index into `tasks` of the only one that needs the part, -1 where there are more or none."""
        needed = ~self.redundant
        return np.where(needed.sum(0) == 1, needed.argmax(0), -1)


def redundancy(
    scores: Sequence[Scores], kind: str, *, share: float | None = None, thresholds: Sequence[float] | None = None
) -> Redundancy:
    """One method on several applications: what lies below a threshold, or among the lowest, is redundant for it.

    share: of the parts, the lowest by each application's own ranking. thresholds: one for each of the scores; a part
    below it is redundant. One of the two. Raises: UserError; as `agreement`.
    """
    if (share is None) == (thresholds is None):
        raise UserError("Say which parts are redundant: either a share of them, or a threshold for each application.")
    _same_shape(scores)
    flat = [flat_scores(s, kind) for s in scores]
    if thresholds is not None:
        if len(thresholds) != len(flat):
            raise UserError(f"There are {len(thresholds)} thresholds for {len(flat)} applications: give one for each.")
        rows = [f < t for f, t in zip(flat, thresholds, strict=True)]
    else:
        assert share is not None
        if not 0 <= share <= 1:
            raise UserError(f"The share of redundant parts is {share}; it must be from 0 to 1.")
        rows = [lowest(f, share) for f in flat]
    return Redundancy(tuple(s.task for s in scores), np.stack(rows))


def lowest(scores: np.ndarray, share: float) -> np.ndarray:
    """(n,) bool: the lowest, as many as a share reaches (rounded down); the last among equals, as plans take them."""
    found = np.ones(len(scores), dtype=bool)
    found[np.argsort(-scores, kind="stable")[: len(scores) - math.floor(share * len(scores) + 1e-9)]] = False
    return found


def _same_shape(scores: Sequence[Scores]) -> None:
    if not scores:
        raise UserError("There are no scores to compare; score an application first.")
    for other in scores[1:]:
        if other.shape != scores[0].shape:
            raise UserError(
                f"Scores of different encoders cannot be compared part by part: {scores[0].shape}; {other.shape}."
            )
