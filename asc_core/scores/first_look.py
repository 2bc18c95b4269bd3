"""Scores that can be looked at while they are made: some batches of a pass go first.

A pass takes its batches longest first, so what it has seen of the texts half way is the long ones. For a look, batches
spread evenly over that order go first, hence over lengths. What each of them says is kept until its turn comes, and
sums are made in the order that they are always made in: nothing is computed twice, and the scores of the whole are to
the last bit those of a pass that nobody has looked at. What memory is too short to keep is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from asc_core.values import Scores

FIRST_LOOK = 64
GROWTH = 4
FEWEST_BATCHES = 2  # a long and a short one: one length would not speak for all
KEPT_BYTES = 128 << 20

Found = TypeVar("Found")


@dataclass(frozen=True)
class Unsettled:
    """method -> its scores on the examples so far (`Scores.examples`), of those that will be looked at in all."""

    scores: Mapping[str, Scores]
    of: int


def looks(batches: Sequence[np.ndarray], example: np.ndarray) -> list[list[int]]:
    """Which batches go first: of each look its further ones, by index, until about 64, 256, ... examples are seen.

    batches: indices of features. example: (features,) the example of each. A look at more than half of the features is
    left out: the whole is soon there.
    """
    found: list[list[int]] = []
    waiting: list[int] = []
    seen: set[int] = set()
    rows, number, goal = 0, 0, FIRST_LOOK
    for index in _spread(len(batches)):
        waiting.append(index)
        rows, number = rows + len(batches[index]), number + 1
        if 2 * rows > len(example):
            break
        seen.update(example[batches[index]].tolist())
        if len(seen) + len(batches[index]) / 2 >= goal and number >= FEWEST_BATCHES:
            found.append(waiting)
            waiting = []
            goal *= GROWTH
    return found


def examples_of(batches: Sequence[np.ndarray], example: np.ndarray) -> int:
    """How many examples these batches have something of."""
    return len(np.unique(example[np.concatenate(batches)]))


def _spread(count: int) -> list[int]:
    """0 ... count - 1 in an order every beginning of which lies evenly; 0 comes first, the longest batch.

    Multiples of the golden ratio fill a circle so. Whether memory allows the longest batch is known at once.
    """
    golden = (np.sqrt(5) - 1) / 2
    return [int(i) for i in np.argsort(np.arange(count) * golden % 1, kind="stable")]


class Kept(Generic[Found]):
    """What batches said before their turn, no more than `room` bytes of it."""

    def __init__(self, room: int = KEPT_BYTES):
        self.room = room
        self._found: dict[int, tuple[Found, int]] = {}

    def __iter__(self) -> Iterator[int]:
        """The batches of which something is kept."""
        return iter(self._found)

    def keep(self, batch: int, found: Found, size: int) -> bool:
        """size: in bytes. Whether it fits; otherwise it is not kept."""
        fits = size <= self.room
        if fits:
            self.room -= size
            self._found[batch] = found, size
        return fits

    def take(self, batch: int) -> Found | None:
        """It is handed out once."""
        if batch not in self._found:
            return None
        found, size = self._found.pop(batch)
        self.room += size
        return found
