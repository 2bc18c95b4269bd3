"""The best total value within several limits at once, where one choice (a row's width, say) is taken of each group.

A multiple-choice knapsack with a few constraints. A price on each budget (Lagrangian relaxation; Fisher 1981, "The
Lagrangian relaxation method for solving integer programming problems") makes every group choose for itself and bounds
what any solution can be worth; exchanges between two groups then use what the prices leave over; and where so few
solutions come within the bound that they can all be tried, the best of them is taken, which is exact. Groups whose
steps from choice to choice all cost the same are one group, since the most valuable steps come first whosever they are
(Kwon et al. 2022, 2204.09656, section 4.1): with budgets that merely count, two are left, of heads and of neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

ROUNDS_OF_PRICES, HALVINGS = 6, 40
SOLUTIONS_TO_TRY = 1 << 19
NEGLIGIBLE = 1e-12  # of the value of everything


@dataclass(frozen=True)
class Group:
    """Choices of which one is taken. values: (choices,) float. costs: (choices, budgets) int64.

    Both begin with 0 and never fall.
    """

    values: np.ndarray
    costs: np.ndarray


def solve(groups: Sequence[Group], limits: np.ndarray) -> list[int]:
    """The choice to take of every group: the highest total value whose costs are within all limits.

    What room is left goes to choices that add no value.

    Args:
        groups: what there is to choose from.
        limits: (budgets,) int64, none below 0.

    Returns:
        For each group the index of its choice.
    """
    if not groups:
        return []
    alike = _alike(groups)
    merged = [_merged([groups[i] for i in members]) for members in alike]
    problem = _Problem.of(merged, limits)
    prices = problem.prices()
    picks = problem.within(problem.best_after_paying(prices))
    problem.exchange(picks)
    problem.try_all(picks, prices)
    problem.fill_room(picks)
    found = [0] * len(groups)
    for members, pick in zip(alike, picks.tolist(), strict=True):
        for i, own in zip(members, _own_picks([groups[i] for i in members], pick), strict=True):
            found[i] = own
    return found


@dataclass(frozen=True)
class _Problem:
    """The groups in one array. A solution is `picks`, (groups,) int64: the choice that is taken of each.

    values: (groups, most choices), -inf where a group has no such choice. costs: (groups, most choices, budgets).
    counts: (groups,) choices of each. limits: (budgets,).
    """

    values: np.ndarray
    costs: np.ndarray
    counts: np.ndarray
    limits: np.ndarray

    @staticmethod
    def of(groups: Sequence[Group], limits: np.ndarray) -> _Problem:
        counts = np.array([len(group.values) for group in groups])
        values = np.full((len(groups), counts.max()), -np.inf)
        costs = np.zeros((len(groups), counts.max(), len(limits)), dtype=np.int64)
        for i, group in enumerate(groups):
            values[i, : counts[i]], costs[i, : counts[i]] = group.values, group.costs
        return _Problem(values, costs, counts, np.asarray(limits, dtype=np.int64))

    @cached_property
    def whole(self) -> float:
        """The value of everything."""
        return float(np.where(np.isfinite(self.values), self.values, 0).max(1).sum())

    @property
    def negligible(self) -> float:
        return NEGLIGIBLE * self.whole

    def value(self, picks: np.ndarray) -> float:
        return float(self.values[np.arange(len(picks)), picks].sum())

    def room(self, picks: np.ndarray) -> np.ndarray:
        """(budgets,): what is left of each limit; below 0 where it is exceeded."""
        return self.limits - self.costs[np.arange(len(picks)), picks].sum(0)

    def best_after_paying(self, prices: np.ndarray) -> np.ndarray:
        """The choice of each group that is worth most after paying; the lowest among equals."""
        return (self.values - self.costs @ prices).argmax(1)

    def prices(self) -> np.ndarray:
        """(budgets,): about the lowest at which the solution fits, each found by halving while the others stand."""
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
            return bool(self.room(self.best_after_paying(tried))[budget] >= 0)

        if fits(0.0):
            return 0.0
        low, high = 0.0, max(self.whole, 1e-300) / max(int(self.limits[budget]), 1)
        while not fits(high):
            low, high = high, 4 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return high

    def within(self, picks: np.ndarray) -> np.ndarray:
        """Step down, where least value is lost for what is saved of an excess, until every limit holds."""
        picks = picks.copy()
        every = np.arange(self.values.shape[1])
        while (excess := np.maximum(-self.room(picks), 0)).any():
            row = np.arange(len(picks))
            saved = self.costs[row, picks][:, None] - self.costs  # (groups, choices, budgets)
            lower = every < picks[:, None]
            relief = (np.clip(saved, 0, excess) / np.maximum(excess, 1)).sum(2)
            lost = self.values[row, picks][:, None] - np.where(lower, self.values, 0)
            worth = np.where(lower & (relief > 0), lost / np.maximum(relief, 1e-300), np.inf)
            group, choice = np.unravel_index(int(worth.argmin()), worth.shape)
            picks[group] = choice
        return picks

    def exchange(self, picks: np.ndarray) -> None:
        """In place: a higher choice of one group, a lower one of at most one other, as long as that is worth more."""
        last = 0
        group = 0
        while last < len(picks):
            last = 0 if self._exchange_for(group, picks) else last + 1
            group = (group + 1) % len(picks)

    def _exchange_for(self, up: int, picks: np.ndarray) -> bool:
        """Make the best such exchange in which group `up` gets a higher choice; False where none is worth more."""
        now = int(picks[up])
        higher = np.arange(now + 1, int(self.counts[up]))
        if not higher.size:
            return False
        gained = self.values[up, higher] - self.values[up, now]
        need = self.costs[up, higher] - self.costs[up, now] - self.room(picks)  # (higher, budgets)
        best, move = self.negligible, (-1, -1, -1)
        fits = np.flatnonzero((need <= 0).all(1))
        if fits.size and gained[fits[-1]] > best:
            best, move = float(gained[fits[-1]]), (int(higher[fits[-1]]), -1, -1)
        for down in range(len(picks)):
            if down == up or not picks[down]:
                continue
            at = int(picks[down])
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
        to_choice, down, down_choice = move
        if to_choice < 0:
            return False
        picks[up] = to_choice
        if down >= 0:
            picks[down] = down_choice
        return True

    def try_all(self, picks: np.ndarray, prices: np.ndarray) -> None:
        """In place: the best solution there is, if so few can be better than this one that all can be tried.

        With prices, a solution is worth the bound less what each group's choice falls behind its best one (and less
        the price of room left over), so that only choices count that fall behind by less than this solution's gap.
        """
        after_paying = self.values - self.costs @ prices
        behind = after_paying.max(1, keepdims=True) - after_paying
        gap = float(after_paying.max(1).sum() + self.limits @ prices) - self.value(picks) + self.negligible
        fell, used, worth = np.zeros(1), np.zeros((1, len(self.limits)), dtype=np.int64), np.zeros(1)
        steps: list[tuple[np.ndarray, np.ndarray]] = []
        for group in range(len(picks)):
            options = np.flatnonzero(behind[group] <= gap)
            if len(options) * len(fell) > SOLUTIONS_TO_TRY:
                return
            fell_then = (fell[:, None] + behind[group, options]).ravel()
            used_then = (used[:, None] + self.costs[group, options]).reshape(-1, len(self.limits))
            worth_then = (worth[:, None] + self.values[group, options]).ravel()
            stays = np.flatnonzero((fell_then <= gap) & (used_then <= self.limits).all(1))
            if len(self.limits) == 1:
                stays = _undominated(used_then[:, 0], worth_then, stays)
            fell, used, worth = fell_then[stays], used_then[stays], worth_then[stays]
            steps.append((stays // len(options), options[stays % len(options)]))
        if not len(worth) or worth.max() <= self.value(picks) + self.negligible:
            return
        solution = int(worth.argmax())
        for group in range(len(picks) - 1, -1, -1):
            before, taken = steps[group]
            picks[group], solution = taken[solution], int(before[solution])

    def fill_room(self, picks: np.ndarray) -> None:
        """In place: the highest choice of each group that still fits."""
        for group in range(len(picks)):
            allowed = self.costs[group, picks[group]] + self.room(picks)
            fits = (self.costs[group, : self.counts[group]] <= allowed).all(1)
            picks[group] = np.flatnonzero(fits)[-1]


def _undominated(costs: np.ndarray, values: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Those of `among` that no cheaper one is worth as much as."""
    ranked = among[np.lexsort((-values[among], costs[among]))]
    if len(ranked) < 2:
        return ranked
    better = values[ranked][1:] > np.maximum.accumulate(values[ranked])[:-1]
    return ranked[np.concatenate(([True], better))]


def _alike(groups: Sequence[Group]) -> list[list[int]]:
    """Which groups are one: all their steps cost the same, and in each the most valuable come first."""
    alike: dict[object, list[int]] = {}
    for i, group in enumerate(groups):
        steps = np.diff(group.costs, axis=0)
        gains = np.diff(group.values)
        rounding = NEGLIGIBLE * group.values[-1]  # gains are differences of sums
        one = len(steps) and (steps == steps[0]).all() and (gains[1:] <= gains[:-1] + rounding).all()
        alike.setdefault(tuple(steps[0].tolist()) if one else i, []).append(i)
    return list(alike.values())


def _merged(alike: Sequence[Group]) -> Group:
    if len(alike) == 1:
        return alike[0]
    gains = np.sort(np.concatenate([np.diff(group.values) for group in alike]))[::-1]
    values = np.concatenate(([0.0], np.cumsum(gains)))
    return Group(values, np.arange(len(values), dtype=np.int64)[:, None] * alike[0].costs[1])


def _own_picks(alike: Sequence[Group], steps: int) -> list[int]:
    """Each group's choice where the `steps` most valuable steps of all together are taken, the first of equals."""
    gains = np.concatenate([np.diff(group.values) for group in alike])
    owner = np.repeat(np.arange(len(alike)), [len(group.values) - 1 for group in alike])
    if len(alike) == 1:
        return [steps]
    taken = owner[np.argsort(-gains, kind="stable")[:steps]]
    return np.bincount(taken, minlength=len(alike)).tolist()
