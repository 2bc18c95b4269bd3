"""Sums of Gram matrices of the inputs of linears: what a least-squares choice of weights needs to know of the data.

With a linear's inputs over n tokens as A = [x, 1], (n, columns + 1), what can be said of its output's error under any
change of its weights follows from A^T A alone (obs here; GPTQ, whitened decompositions).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from asc_core.probes import ReadoutKey

ROWS_A_PRODUCT = 2048
STRIPS = 4  # of columns: a product is symmetric, and its upper strips are 5/8 of it


class GramSums:
    """Sums of a^T a over rows a, one product for many batches: a matrix is much larger than a batch's sampled rows.

    Only strips on and above the diagonal are multiplied and added; the rest is their mirror image.
    """

    def __init__(self) -> None:
        self._waiting: dict[ReadoutKey, list[torch.Tensor]] = {}
        self._sums: dict[ReadoutKey, torch.Tensor] = {}

    def add(self, rows: Mapping[ReadoutKey, list[torch.Tensor]]) -> None:
        for key, found in rows.items():
            waiting = self._waiting.setdefault(key, [])
            waiting += found
            if sum(map(len, waiting)) >= ROWS_A_PRODUCT:
                self._multiply(key)

    def totals(self) -> dict[ReadoutKey, np.ndarray]:
        """(columns + 1, columns + 1) each, float64."""
        for key in self._waiting:
            self._multiply(key)
        return {key: (total.triu() + total.triu(1).T).numpy() for key, total in self._sums.items()}

    def _multiply(self, key: ReadoutKey) -> None:
        if self._waiting[key]:
            a = torch.cat(self._waiting[key])
            width = a.shape[1]
            sums = self._sums.setdefault(key, torch.zeros(width, width, dtype=torch.float64))
            step = -(-width // STRIPS)
            for start in range(0, width, step):
                rows = slice(start, start + step)
                sums[rows, start:] += (a[:, rows].T @ a[:, start:]).cpu()
            self._waiting[key] = []
