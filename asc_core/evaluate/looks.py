"""Intervals that stay true although somebody looks at an evaluation again and again.

Whoever watches an estimate tighten and stops when it pleases is wrong more often than an ordinary 95 % interval says.
So the 5 % are spent over the looks (alpha spending: Lan and DeMets 1983, Biometrika 70, 659-663), here by the union
bound, which holds for every metric and however the looks depend on one another: the look at the whole split gets
`LAST` of it. Those before come when at most `LAST_BUT_ONE` of the split was seen, and share the rest in proportion to
how the examples seen, to the power `EARLY`, have grown. The last interval is 1.18 times as wide as a single look's
(1.39 times where no answer changed). When to look may depend on sizes and on time, never on what was seen.
"""

from __future__ import annotations

from asc_core.evaluate.intervals import ALPHA

LAST = 0.42
LAST_BUT_ONE = 3 / 4
EARLY = 0.6  # less gives the first look a tighter interval, more the last but one


def alpha_of_look(examples: int, total: int, before: int | None, alpha: float = ALPHA) -> float:
    """What one look may spend. The sum over all looks of an evaluation is at most `alpha`.

    examples: seen at this look, of `total`; of more than `LAST_BUT_ONE` of them but not all there is no look. before:
    seen at the look before, 0 at the first of several; None where this is the only one.
    """
    if before is None:
        return alpha
    if examples == total:
        return LAST * alpha
    return (1 - LAST) * alpha * (_spent(examples / total) - _spent(before / total))


def _spent(share: float) -> float:
    return float((share / LAST_BUT_ONE) ** EARLY)


def looks_at(total: int, first: int) -> list[int]:
    """How many examples are seen at each look: first, then about twice as many each time, `LAST_BUT_ONE`, all."""
    ends, end = [total], int(LAST_BUT_ONE * total)
    while end > 1.5 * first:
        ends.append(end)
        end //= 2
    return [*([first] if first <= LAST_BUT_ONE * total else []), *ends[::-1]]
