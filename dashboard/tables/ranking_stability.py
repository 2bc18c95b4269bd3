"""How many examples are enough: what is known of how stable a method's ranking is, and what more examples would bring.

Between two samples of n examples a ranking correlates by r(n) = t^2 / (t^2 + s^2 / n), where t^2 is the variance
between parts and s^2 that of single examples; so one known r(n) gives all others (Spearman 1910 and Brown 1910, British
Journal of Psychology 3, 271-322). Where a sweep was watched, its stops are shown as they were; elsewhere r comes from
the scores' intervals, as if each part's error were its own; where parts have errors in common that is a little low.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from asc_core.plan.parts import flat_scores, kinds_of
from asc_core.scores.ranking_stability import FEWEST_PARTS, fresh_correlation, stability_curve
from asc_core.scores.streaming import NORMAL_QUANTILE
from asc_core.values import Scores

ENOUGH = 0.95
_DRAWS = 40


@dataclass(frozen=True)
class Stability:
    """Of one method's ranking of one kind. examples, values: (stops,); watched: measured during the sweep."""

    method: str
    examples: np.ndarray
    values: np.ndarray
    watched: bool

    @property
    def now(self) -> float:
        return float(self.values[-1])

    def at(self, examples: np.ndarray) -> np.ndarray:
        """(n,): what is to be expected with so many examples, from the last stop."""
        noise = 1 / np.clip(self.now, 1e-6, 1) - 1
        return np.asarray(1 / (1 + noise * self.examples[-1] / examples))

    @property
    def enough(self) -> int:
        """How many examples make it `ENOUGH`."""
        noise = 1 / np.clip(self.now, 1e-6, 1 - 1e-9) - 1
        return int(np.ceil(self.examples[-1] * noise / (1 / ENOUGH - 1) - 1e-9))


def stability_of(scores: Scores, kind: str) -> Stability | None:
    """None for data-free methods, or have no intervals or fewer than 3 parts of the kind."""
    if kind not in kinds_of(scores) or not scores.examples:
        return None
    curve = stability_curve(scores.details, kind)
    if curve is not None and len(curve[0]):
        return Stability(scores.method, np.asarray(curve[0]), np.asarray(curve[1]), True)
    if scores.low is None or scores.high is None or getattr(scores.low, kind) is None:
        return None
    flat = flat_scores(scores, kind)
    if len(flat) < FEWEST_PARTS:
        return None
    low, high = (flat_scores(replace(scores, values=end), kind) for end in (scores.low, scores.high))
    noise = np.random.default_rng((scores.seed, len(flat))).standard_normal((_DRAWS, len(flat)))
    half = np.where(low > 0, (high - low) / 2, high - flat)  # many scores cannot be negative, nor their lower ends
    drawn = flat + half / NORMAL_QUANTILE * noise
    return Stability(scores.method, np.array([scores.examples]), np.array([fresh_correlation(drawn)]), False)
