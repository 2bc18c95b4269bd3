"""Intervals that stay true although somebody looks at an evaluation again and again.

Whoever watches an estimate tighten and stops when it pleases is wrong more often than an ordinary 95 % interval says.
So the 5 % are spent over the looks (alpha spending: Lan and DeMets 1983, Biometrika 70, 659-663), here by the union
bound, which holds for every metric and however the looks depend on one another: the look at the whole split gets
`LAST` of it, those before share the rest in proportion to how the square root of the examples seen has grown. The last
interval is 1.18 times as wide as that of a single look (1.39 times where no answer changed). When to look may depend on
sizes and on time, never on what was seen.
"""

from __future__ import annotations

from math import sqrt

from asc_core.evaluate.intervals import ALPHA

LAST = 0.42


def alpha_of_look(examples: int, total: int, before: int | None, alpha: float = ALPHA) -> float:
    """What one look may spend. The sum over all looks of an evaluation is at most `alpha`.

    examples: seen at this look, of `total`. before: seen at the look before, 0 at the first of several; None where
    this is the only one.
    """
    if before is None:
        return alpha
    if examples == total:
        return LAST * alpha
    return (1 - LAST) * alpha * (sqrt(examples / total) - sqrt(before / total))
