"""Second moments of what readouts read: from them any plan's readouts can be fitted without another look at a text."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import torch

from asc_core.compress.fit import Fit
from asc_core.probes import ReadoutKey

STRIPS = 4  # of columns: a product is symmetric, and its upper strips are 5/8 of it


class MomentSums:
    """Growing sums of [x, 1]^T [x, 1] over tokens: for each readout those that are fitted to and those held out."""

    def __init__(self) -> None:
        self._sums: dict[ReadoutKey, torch.Tensor] = {}  # (2, columns + 1, columns + 1); below the diagonal unfinished
        self._handed_out = False

    def add(self, place: ReadoutKey, part: int, x: torch.Tensor, weights: torch.Tensor) -> None:
        """part: 0 = fitted to, 1 = held out. x: (n, columns). weights: (n,), how much a token counts."""
        if self._handed_out:  # whoever has them goes on with what there was
            self._sums = {key: total.clone() for key, total in self._sums.items()}
            self._handed_out = False
        a = torch.cat([x, x.new_ones(len(x), 1)], 1)
        width = a.shape[1]
        if place not in self._sums:
            self._sums[place] = x.new_zeros(2, width, width)
        total, weighted = self._sums[place][part], a * weights[:, None]
        step = -(-width // STRIPS)
        for start in range(0, width, step):
            rows = slice(start, start + step)
            total[rows, start:] += weighted[:, rows].T @ a[:, start:]

    def snapshot(self, solutions: Mapping[ReadoutKey, torch.Tensor]) -> Moments:
        """As they are now; later tokens do not change it. solutions: what each readout writes, see `solution_of`."""
        self._handed_out = True
        return Moments(self._sums, solutions)


class Moments:
    """Of a calibration's tokens, towards what the original's readouts write. Safe for any number of threads."""

    def __init__(self, sums: Mapping[ReadoutKey, torch.Tensor], solutions: Mapping[ReadoutKey, torch.Tensor]):
        self._sums, self._solutions = sums, solutions
        self._cross: dict[ReadoutKey, torch.Tensor] = {}
        self._lock = threading.Lock()

    def __contains__(self, place: ReadoutKey) -> bool:
        return place in self._sums

    @property
    def bytes(self) -> int:
        return sum(total.nbytes for total in self._sums.values())

    def fits(self, place: ReadoutKey, kept: torch.Tensor) -> tuple[Fit, Fit]:
        """Of the kept columns towards what all of them write: on the tokens that are fitted to, and on those held out.

        kept: columns of [x, 1], the last of them the constant one where the readout has a bias.
        """
        whole = self._solutions[place]
        with self._lock:
            if place not in self._cross:
                grams = self._sums[place]
                for gram in grams:
                    gram.copy_(gram.triu() + gram.triu(1).T)
                self._cross[place] = grams[:, : len(whole), : len(whole)] @ whole
        first, second = (
            Fit.of_columns(gram, cross, whole, kept)
            for gram, cross in zip(self._sums[place], self._cross[place], strict=True)
        )
        return first, second
