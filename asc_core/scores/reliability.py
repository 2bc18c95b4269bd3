"""How far a measured ranking can be trusted: its agreement with itself on other halves of the examples.

No other score can be expected to agree with a ranking better than the ranking agrees with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

SPLIT_HALVES = 50
FEWEST_EXAMPLES = 4
FEWEST_PARTS = 3
Weighted = Callable[[np.ndarray], np.ndarray]
"""From (R, examples) weights of examples to (R, parts) numbers."""


def split_halves(changes: Weighted, examples: int, seed: int = 0, splits: int = SPLIT_HALVES) -> np.ndarray:
    """(2, splits, parts) the changes on two random halves of the examples, for `reliability`."""
    generator = np.random.default_rng((seed, examples))
    half = np.stack([generator.permutation(examples) < examples // 2 for _ in range(splits)]).astype(np.float64)
    return np.stack([changes(half), changes(1 - half)])


def reliability(halves: np.ndarray) -> float:
    """How well a ranking of parts agrees with what as many other examples would give, 0 to 1. halves: (2, S, parts).

    Spearman correlation between the two halves, mean over S splits, stepped up to the full number of examples by the
    formula of Spearman (1910) and Brown (1910), 2 r / (1 + r); 0 where r is negative.
    """
    from scipy.stats import rankdata

    ranks = rankdata(halves, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    covariance = (ranks[0] * ranks[1]).sum(-1)
    norm = np.sqrt((ranks**2).sum(-1).prod(0))
    correlation = float(np.divide(covariance, norm, out=np.zeros_like(norm), where=norm > 0).mean())
    return max(0.0, 2 * correlation / (1 + correlation)) if correlation > -1 else 0.0


def reliabilities(kinds: Sequence[str], changes: Weighted, examples: int, seed: int) -> dict[str, float]:
    """kind -> `reliability` of the ranking of its parts, where there are enough of both. kinds: (parts,) of each."""
    if examples < FEWEST_EXAMPLES:
        return {}
    halves = split_halves(changes, examples, seed)
    of = np.asarray(kinds)
    enough = [kind for kind in dict.fromkeys(kinds) if (of == kind).sum() >= FEWEST_PARTS]
    return {kind: reliability(halves[..., of == kind]) for kind in enough}
