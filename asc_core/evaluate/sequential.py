"""Intervals that stay valid although an evaluation is watched while it runs: sequential analysis.

Whoever watches an estimate tighten and stops when it pleases is wrong more often than an ordinary 95 % interval says.
So the 5 % are spent over the interim analyses (alpha spending: Lan and DeMets 1983, Biometrika 70, 659-663), here by
the union bound, which holds for every metric and however the analyses depend on one another: the final one, on the
whole split, gets `FINAL_ALPHA` of it. The interim ones come when at most `LAST_INTERIM` of the split was seen, and
share the rest in proportion to how the examples seen, to the power `SPENDING_POWER`, have grown. The final interval is
1.18 times as wide as a single analysis' (1.39 times where no answer changed). When to analyse may depend on sizes and
on time, never on what was seen.
"""

from __future__ import annotations

from asc_core.evaluate.intervals import ALPHA

FINAL_ALPHA = 0.42
LAST_INTERIM = 3 / 4
SPENDING_POWER = 0.6  # less gives the first analysis a tighter interval, more the last interim one


def alpha_spent(examples: int, total: int, before: int | None, alpha: float = ALPHA) -> float:
    """What one analysis may spend. The sum over all analyses of an evaluation is at most `alpha`.

    Args:
        examples: seen at this analysis, of `total`; between `LAST_INTERIM` of them and all there is no analysis.
        total: of the split, or what was asked for of it.
        before: seen at the analysis before, 0 at the first of several; None where this is the only one.
        alpha: to be spent in all.
    """
    if before is None:
        return alpha
    if examples == total:
        return FINAL_ALPHA * alpha
    return (1 - FINAL_ALPHA) * alpha * (_cumulative(examples / total) - _cumulative(before / total))


def _cumulative(share: float) -> float:
    """Of what the interim analyses may spend, how much is spent once this share of the examples was seen."""
    return float((share / LAST_INTERIM) ** SPENDING_POWER)


def schedule(total: int, first: int) -> list[int]:
    """How many examples are seen at each analysis: first, then about twice as many each time, `LAST_INTERIM`, all."""
    ends, end = [total], int(LAST_INTERIM * total)
    while end > 1.5 * first:
        ends.append(end)
        end //= 2
    if first <= LAST_INTERIM * total:
        ends.append(first)
    return ends[::-1]
