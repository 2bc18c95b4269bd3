"""How sure a metric is: intervals from the statistics of each example.

Shares of right answers have closed forms: Wilson's interval, and for the difference of two models on the same
examples Tango's score interval for paired proportions (Tango 1998, Statistics in Medicine 17, 891-908), which
Fagerland, Lydersen and Laake 2014 (Statistics in Medicine 33, 2850-2875) recommend for its coverage. Everything else
is bootstrapped over examples, both models on the same draws; percentiles are taken a little further out, as t is to z,
without which they are too narrow for few examples (Hesterberg 2015, The American Statistician 69, 371-386, section 5).

A bootstrap cannot see what the sample has none of: where no answer changed it would report a difference of exactly
0 +- 0. So no end of a bootstrapped interval is nearer to the value than z^2 / (n + z^2), which is what Wilson and Tango
give for a share of which nothing was seen in n examples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t

from asc_core.tasks.base import Metric

Interval = tuple[float, float]
ALPHA = 0.05
REPLICATES = 1000
ROW_REPLICATES = (200, 400)  # of a metric that is no function of sums, each evaluated by itself: fewest, most
_ROWS = 400_000  # drawn for such a metric, all replicates together, unless that would be too few replicates
_WEIGHTS = 4_000_000  # held at once


def value_interval(metric: Metric, statistics: np.ndarray, alpha: float = ALPHA, seed: int = 0) -> Interval:
    """statistics: (n, k). The interval of the metric over texts like these, at the level 1 - alpha."""
    n = len(statistics)
    if metric.binary:
        return wilson(round(float(statistics[:, 0].sum())), n, alpha)
    value = metric.value(statistics)
    replicates = _bootstrap(metric, statistics, lambda m, columns: m(columns), seed)
    return ends(value, replicates, n, alpha, metric.bounds)


def difference_interval(
    metric: Metric, statistics: np.ndarray, original: np.ndarray, alpha: float = ALPHA, seed: int = 0
) -> Interval:
    """statistics, original: (n, k) of two models on the same examples. The interval of metric - original's metric."""
    n, k = statistics.shape
    if metric.binary:
        ours, theirs = statistics[:, 0] > 0.5, original[:, 0] > 0.5
        return tango(int((ours & ~theirs).sum()), int((~ours & theirs).sum()), n, alpha)
    both = np.concatenate([statistics, original], axis=1)
    replicates = _bootstrap(metric, both, lambda m, columns: m(columns[..., :k]) - m(columns[..., k:]), seed)
    widest = metric.bounds[1] - metric.bounds[0]
    difference = metric.value(statistics) - metric.value(original)
    return ends(difference, replicates, n, alpha, (-widest, widest))


def wilson(successes: int, n: int, alpha: float = ALPHA) -> Interval:
    """Wilson's score interval of a share (Wilson 1927)."""
    z2 = float(norm.isf(alpha / 2)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return 0.0 if successes == 0 else float(centre - half), 1.0 if successes == n else float(centre + half)


def tango(gained: int, lost: int, n: int, alpha: float = ALPHA) -> Interval:
    """Tango's score interval of (gained - lost) / n.

    gained: examples that only the new model has right; lost: those that only the original has right.
    """
    z = float(norm.isf(alpha / 2))
    estimate = (gained - lost) / n

    def score(difference: float) -> float:
        """How many standard errors the estimate lies above a difference; falls monotonously in it."""
        b = (2 * n - gained + lost) * difference - gained - lost
        c = -lost * difference * (1 - difference)
        share_lost = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * share_lost + difference * (1 - difference))
        return float((gained - lost - n * difference) / np.sqrt(variance)) if variance > 0 else 0.0

    edge = 1 - 1e-9
    low = -1.0 if estimate <= -edge or score(-edge) < z else brentq(lambda d: score(d) - z, -edge, estimate)
    high = 1.0 if estimate >= edge or score(edge) > -z else brentq(lambda d: score(d) + z, estimate, edge)
    return float(low), float(high)


def least_half_width(n: int, alpha: float = ALPHA) -> float:
    z2 = float(norm.isf(alpha / 2)) ** 2
    return z2 / (n + z2)


def ends(value: float, replicates: np.ndarray, n: int, alpha: float, bounds: Interval) -> Interval:
    """Of a value over n examples, from its bootstrap replicates. bounds: beyond which it cannot be.

    Draws on which the metric is not defined say nothing of it.
    """
    replicates = replicates[np.isfinite(replicates)] if np.isfinite(replicates).any() else np.asarray([value])
    if n < 2:
        low, high = np.quantile(replicates, [0.0, 1.0])
    else:
        # At the usual level, where a thousand replicates know the quantiles; from there out as far as t goes.
        tail = norm.cdf(np.sqrt(n / (n - 1)) * t.ppf(ALPHA / 2, n - 1))
        further = t.ppf(alpha / 2, n - 1) / t.ppf(ALPHA / 2, n - 1)
        low, high = value + further * (np.quantile(replicates, [tail, 1 - tail]) - value)
    least = least_half_width(n, alpha)
    return max(float(min(low, value - least)), bounds[0]), min(float(max(high, value + least)), bounds[1])


def _bootstrap(
    metric: Metric,
    rows: np.ndarray,
    of: Callable[[Callable[[np.ndarray], np.ndarray], np.ndarray], np.ndarray],
    seed: int,
) -> np.ndarray:
    """(replicates,) `of(metric's function, columns)` over draws of len(rows) rows with replacement.

    For a function of sums a draw is a row of weights and all draws are one matrix product. Rows are mostly few
    different ones (of counts), so it is these that are drawn, how often each, from the same multinomial distribution.
    """
    n = len(rows)
    generator = np.random.default_rng([seed, n])
    if metric.from_sums is None:
        assert metric.from_rows is not None
        row_metric = metric.from_rows
        count = int(np.clip(_ROWS // n, *ROW_REPLICATES))
        draws = (rows[generator.integers(n, size=n)] for _ in range(count))
        return np.asarray([of(lambda columns: np.asarray(row_metric(columns)), drawn) for drawn in draws])
    different, counts = np.unique(rows, axis=0, return_counts=True)
    at_once = max(1, _WEIGHTS // max(n, len(different)))
    found = []
    for begin in range(0, REPLICATES, at_once):
        size = min(at_once, REPLICATES - begin)
        if len(different) * 4 < n:
            weights = generator.multinomial(n, counts / n, size=size).astype(np.float64)
            sums = weights @ different
        else:
            sums = _counts(generator.integers(n, size=(size, n)), n) @ rows
        found.append(of(metric.from_sums, sums))
    return np.concatenate(found)


def _counts(drawn: np.ndarray, n: int) -> np.ndarray:
    """drawn: (draws, n) indices -> (draws, n) how often each was drawn."""
    flat = drawn + np.arange(len(drawn))[:, None] * n
    return np.bincount(flat.ravel(), minlength=len(drawn) * n).reshape(len(drawn), n).astype(np.float64)
