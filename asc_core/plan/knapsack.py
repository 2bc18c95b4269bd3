"""The best total value under a limit on the total cost, for many parts of few different costs.

Among parts of equal cost the best ones are simply the most valuable, so a choice is a number for each different
cost. All pairs of numbers are tried at once, with prefix sums (Kwon et al. 2022 (2204.09656): for every number of
heads fill the rest with neurons). Exact as long as the choices worth considering stay few, as they do where a group
has one or two different costs; beyond `FRONT_LIMIT` of them by value per cost, which is close to the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FRONT_LIMIT = 1 << 16


@dataclass(frozen=True)
class Items:
    """values: (n,) float; what is worth less than nothing counts as worth nothing. costs: (n,) int64, all > 0."""

    values: np.ndarray
    costs: np.ndarray

    @staticmethod
    def none() -> Items:
        return Items(np.zeros(0), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class _Front:
    """Choices among one group of items by ascending cost, none of them dearer and worth less than another.

    costs, values: (choices,). chosen: the items of a choice.
    """

    costs: np.ndarray
    values: np.ndarray
    chosen: Callable[[int], np.ndarray]


def solve(first: Items, second: Items, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The items of the two groups to take: bool (n,) each, with the highest value whose cost is within the limit.

    What room is left then goes to items that add no value. limit: >= 0.
    """
    one, two = _front(first), _front(second)
    one_fits = int(np.searchsorted(one.costs, limit, side="right"))
    partner = np.searchsorted(two.costs, limit - one.costs[:one_fits], side="right") - 1
    best = int(np.argmax(one.values[:one_fits] + two.values[partner]))
    taken = np.zeros(len(first.costs), dtype=bool), np.zeros(len(second.costs), dtype=bool)
    taken[0][one.chosen(best)] = True
    taken[1][two.chosen(int(partner[best]))] = True
    room = limit - int(one.costs[best]) - int(two.costs[partner[best]])
    for items, mask in zip((first, second), taken, strict=True):
        room -= _fill_room(items, mask, room)
    return taken


def _front(items: Items) -> _Front:
    worth = np.maximum(items.values, 0)
    order = np.argsort(-items.values, kind="stable")
    classes = [order[items.costs[order] == cost] for cost in np.unique(items.costs)]
    costs, values = np.zeros(1, dtype=np.int64), np.zeros(1)
    counts = np.zeros((1, 0), dtype=np.int64)  # (choices, classes so far)
    for members in classes:
        of_members = np.arange(len(members) + 1)
        if len(costs) > 1 and len(costs) * len(of_members) > FRONT_LIMIT:
            return _front_by_density(items, order)
        costs = (costs[:, None] + int(items.costs[members[0]]) * of_members).ravel()
        values = (values[:, None] + _prefix(worth[members])).ravel()
        counts = np.column_stack([np.repeat(counts, len(of_members), axis=0), np.tile(of_members, len(counts))])
        if len(classes) > 1:
            ranked = np.lexsort((-values, costs))
            better = np.concatenate(([True], values[ranked][1:] > np.maximum.accumulate(values[ranked])[:-1]))
            costs, values, counts = costs[ranked][better], values[ranked][better], counts[ranked][better]

    def chosen(choice: int) -> np.ndarray:
        parts = [members[:count] for members, count in zip(classes, counts[choice], strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    return _Front(costs, values, chosen)


def _front_by_density(items: Items, order: np.ndarray) -> _Front:
    worth = np.maximum(items.values, 0)
    order = order[np.argsort(-(worth / items.costs)[order], kind="stable")]
    return _Front(_prefix(items.costs[order]), _prefix(worth[order]), lambda choice: order[:choice])


def _fill_room(items: Items, taken: np.ndarray, room: int) -> int:
    """Take in place what still fits, the dearest kind first; returns its cost."""
    used = 0
    for cost in np.unique(items.costs[~taken])[::-1].tolist():
        free = np.flatnonzero(~taken & (items.costs == cost))
        count = min(len(free), (room - used) // cost)
        if count:
            taken[free[np.argsort(-items.values[free], kind="stable")[:count]]] = True
            used += count * cost
    return used


def _prefix(values: np.ndarray) -> np.ndarray:
    return np.concatenate((np.zeros(1, dtype=values.dtype), np.cumsum(values)))
