"""The best total value within several limits at once, where each row of parts has a ladder of widths to choose from.

A multiple-choice knapsack with a few constraints. A price on each budget (Lagrangian relaxation; Fisher 1981, "The
Lagrangian relaxation method for solving integer programming problems") makes every ladder choose for itself
and bounds what any choice can be worth; exchanges between two ladders then use what the prices leave over; and where so
few choices come within the bound that they can all be tried, the best of them is taken, which is exact. Ladders whose
steps all cost the same are one ladder, since the most valuable steps come first whosever they are (Kwon et al. 2022,
2204.09656, section 4.1): with budgets that merely count, two are left, of heads and of neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDS_OF_PRICES, HALVINGS = 6, 40
CHOICES_TO_TRY = 1 << 19
NEGLIGIBLE = 1e-12  # of the value of everything


@dataclass(frozen=True)
class Ladder:
    """values: (rungs,) float. costs: (rungs, budgets) int64. Both begin with 0 and never fall."""

    values: np.ndarray
    costs: np.ndarray


def climb(ladders: Sequence[Ladder], limits: np.ndarray) -> list[int]:
    """The rung to take on every ladder: the highest total value whose costs are within all limits.

    limits: (budgets,) int64, none below 0. What room is left goes to rungs that add no value.
    """
    if not ladders:
        return []
    groups = _alike(ladders)
    merged = [_merged([ladders[i] for i in group]) for group in groups]
    problem = _Problem.of(merged, limits)
    prices = problem.prices()
    rungs = problem.within(problem.chosen(prices))
    problem.exchange(rungs)
    problem.try_all(rungs, prices)
    problem.top_up(rungs)
    found = [0] * len(ladders)
    for group, rung in zip(groups, rungs.tolist(), strict=True):
        for i, own in zip(group, _own_rungs([ladders[i] for i in group], rung), strict=True):
            found[i] = own
    return found


@dataclass(frozen=True)
class _Problem:
    """values: (ladders, most rungs), -inf where a ladder has no such rung. costs: (ladders, most rungs, budgets).

    heights: (ladders,) rungs of each. limits: (budgets,). A choice is `rungs`, (ladders,) int64.
    """

    values: np.ndarray
    costs: np.ndarray
    heights: np.ndarray
    limits: np.ndarray

    @staticmethod
    def of(ladders: Sequence[Ladder], limits: np.ndarray) -> _Problem:
        heights = np.array([len(ladder.values) for ladder in ladders])
        values = np.full((len(ladders), heights.max()), -np.inf)
        costs = np.zeros((len(ladders), heights.max(), len(limits)), dtype=np.int64)
        for i, ladder in enumerate(ladders):
            values[i, : heights[i]], costs[i, : heights[i]] = ladder.values, ladder.costs
        return _Problem(values, costs, heights, np.asarray(limits, dtype=np.int64))

    @cached_property
    def whole(self) -> float:
        """The value of everything."""
        return float(np.where(np.isfinite(self.values), self.values, 0).max(1).sum())

    @property
    def negligible(self) -> float:
        return NEGLIGIBLE * self.whole

    def value(self, rungs: np.ndarray) -> float:
        return float(self.values[np.arange(len(rungs)), rungs].sum())

    def room(self, rungs: np.ndarray) -> np.ndarray:
        """(budgets,): what is left of each limit; below 0 where it is exceeded."""
        return self.limits - self.costs[np.arange(len(rungs)), rungs].sum(0)

    def chosen(self, prices: np.ndarray) -> np.ndarray:
        """The rung of each ladder that is worth most after paying; the lowest among equals."""
        return (self.values - self.costs @ prices).argmax(1)

    def prices(self) -> np.ndarray:
        """(budgets,): about the lowest at which the choice fits, each found by halving while the others stand."""
        prices = np.zeros(len(self.limits))
        for _ in range(ROUNDS_OF_PRICES):
            before = prices.copy()
            for budget in range(len(prices)):
                prices[budget] = self._lowest_price(prices, budget)
            if np.allclose(prices, before, rtol=1e-6, atol=0):
                break
        return prices

    def _lowest_price(self, prices: np.ndarray, budget: int) -> float:
        def fits(price: float) -> bool:
            tried = prices.copy()
            tried[budget] = price
            return bool(self.room(self.chosen(tried))[budget] >= 0)

        if fits(0.0):
            return 0.0
        low, high = 0.0, max(self.whole, 1e-300) / max(int(self.limits[budget]), 1)
        while not fits(high):
            low, high = high, 4 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def within(self, rungs: np.ndarray) -> np.ndarray:
        """Step down, where least value is lost for what is saved of an excess, until every limit holds."""
        rungs = rungs.copy()
        every = np.arange(self.values.shape[1])
        while (excess := np.maximum(-self.room(rungs), 0)).any():
            row = np.arange(len(rungs))
            saved = self.costs[row, rungs][:, None] - self.costs  # (ladders, rungs, budgets)
            lower = every < rungs[:, None]
            relief = (np.clip(saved, 0, excess) / np.maximum(excess, 1)).sum(2)
            lost = self.values[row, rungs][:, None] - np.where(lower, self.values, 0)
            worth = np.where(lower & (relief > 0), lost / np.maximum(relief, 1e-300), np.inf)
            ladder, rung = np.unravel_index(int(worth.argmin()), worth.shape)
            rungs[ladder] = rung
        return rungs

    def exchange(self, rungs: np.ndarray) -> None:
        """In place: climb on one ladder, and step down on at most one other, as long as that is worth more."""
        last = 0
        ladder = 0
        while last < len(rungs):
            last = 0 if self._exchange_for(ladder, rungs) else last + 1
            ladder = (ladder + 1) % len(rungs)

    def _exchange_for(self, up: int, rungs: np.ndarray) -> bool:
        """The best such exchange that climbs on ladder `up`; False where none is worth more."""
        now = int(rungs[up])
        higher = np.arange(now + 1, int(self.heights[up]))
        if not higher.size:
            return False
        gained = self.values[up, higher] - self.values[up, now]
        need = self.costs[up, higher] - self.costs[up, now] - self.room(rungs)  # (higher, budgets)
        best, move = self.negligible, (-1, -1, -1)
        fits = np.flatnonzero((need <= 0).all(1))
        if fits.size and gained[fits[-1]] > best:
            best, move = float(gained[fits[-1]]), (int(higher[fits[-1]]), -1, -1)
        for down in range(len(rungs)):
            if down == up or not rungs[down]:
                continue
            at = int(rungs[down])
            allowed = self.costs[down, at] - need
            to = np.min(
                [
                    np.searchsorted(self.costs[down, : at + 1, budget], allowed[:, budget], side="right")
                    for budget in range(len(self.limits))
                ],
                axis=0,
            )
            reached = np.maximum(to - 1, 0)
            gain = np.where(to > 0, gained + self.values[down, reached] - self.values[down, at], -np.inf)
            first = int(gain.argmax())
            if gain[first] > best:
                best, move = float(gain[first]), (int(higher[first]), down, int(reached[first]))
        to_rung, down, down_rung = move
        if to_rung < 0:
            return False
        rungs[up] = to_rung
        if down >= 0:
            rungs[down] = down_rung
        return True

    def try_all(self, rungs: np.ndarray, prices: np.ndarray) -> None:
        """In place: the best choice there is, if so few can be better than this one that all can be tried.

        With prices, a choice is worth the bound less what each ladder's rung falls behind its best one (and less the
        price of room left over), so that only choices count that fall behind by less than this one's gap.
        """
        after_paying = self.values - self.costs @ prices
        behind = after_paying.max(1, keepdims=True) - after_paying
        gap = float(after_paying.max(1).sum() + self.limits @ prices) - self.value(rungs) + self.negligible
        fell, used, worth = np.zeros(1), np.zeros((1, len(self.limits)), dtype=np.int64), np.zeros(1)
        steps: list[tuple[np.ndarray, np.ndarray]] = []
        for ladder in range(len(rungs)):
            options = np.flatnonzero(behind[ladder] <= gap)
            if len(options) * len(fell) > CHOICES_TO_TRY:
                return
            fell_then = (fell[:, None] + behind[ladder, options]).ravel()
            used_then = (used[:, None] + self.costs[ladder, options]).reshape(-1, len(self.limits))
            worth_then = (worth[:, None] + self.values[ladder, options]).ravel()
            stays = np.flatnonzero((fell_then <= gap) & (used_then <= self.limits).all(1))
            if len(self.limits) == 1:
                stays = _undominated(used_then[:, 0], worth_then, stays)
            fell, used, worth = fell_then[stays], used_then[stays], worth_then[stays]
            steps.append((stays // len(options), options[stays % len(options)]))
        if not len(worth) or worth.max() <= self.value(rungs) + self.negligible:
            return
        choice = int(worth.argmax())
        for ladder in range(len(rungs) - 1, -1, -1):
            before, taken = steps[ladder]
            rungs[ladder], choice = taken[choice], int(before[choice])

    def top_up(self, rungs: np.ndarray) -> None:
        """In place: the highest rung of each ladder that still fits."""
        for ladder in range(len(rungs)):
            allowed = self.costs[ladder, rungs[ladder]] + self.room(rungs)
            fits = (self.costs[ladder, : self.heights[ladder]] <= allowed).all(1)
            rungs[ladder] = np.flatnonzero(fits)[-1]


def _undominated(costs: np.ndarray, values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Those of `among` that no cheaper one is worth as much as."""
    ranked = among[np.lexsort((-values[among], costs[among]))]
    if len(ranked) < 2:
        return ranked
    better = values[ranked][1:] > np.maximum.accumulate(values[ranked])[:-1]
    return ranked[np.concatenate(([True], better))]


def _alike(ladders: Sequence[Ladder]) -> list[list[int]]:
    """Groups of ladders that are one: all their steps cost the same, and on each the most valuable come first."""
    groups: dict[object, list[int]] = {}
    for i, ladder in enumerate(ladders):
        steps = np.diff(ladder.costs, axis=0)
        gains = np.diff(ladder.values)
        rounding = NEGLIGIBLE * ladder.values[-1]  # gains are differences of sums
        one = len(steps) and (steps == steps[0]).all() and (gains[1:] <= gains[:-1] + rounding).all()
        groups.setdefault(tuple(steps[0].tolist()) if one else i, []).append(i)
    return list(groups.values())


def _merged(alike: Sequence[Ladder]) -> Ladder:
    if len(alike) == 1:
        return alike[0]
    gains = np.sort(np.concatenate([np.diff(ladder.values) for ladder in alike]))[::-1]
    values = np.concatenate(([0.0], np.cumsum(gains)))
    return Ladder(values, np.arange(len(values), dtype=np.int64)[:, None] * alike[0].costs[1])


def _own_rungs(alike: Sequence[Ladder], rung: int) -> list[int]:
    """How far each ladder is climbed where together the `rung` most valuable steps are taken, the first of equals."""
    gains = np.concatenate([np.diff(ladder.values) for ladder in alike])
    owner = np.repeat(np.arange(len(alike)), [len(ladder.values) - 1 for ladder in alike])
    if len(alike) == 1:
        return [rung]
    taken = owner[np.argsort(-gains, kind="stable")[:rung]]
    return np.bincount(taken, minlength=len(alike)).tolist()
