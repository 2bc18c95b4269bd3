"""How strongly the inputs of readouts are driven: scores from activations and the weights that read them.

What a column of a readout writes is x_j W_j, so |x_j|, its square and its variance, each with the length of W_j, say
how much would be missed without it: Wanda (arXiv 2306.11695), K-prune's representational knowledge (2308.03449) and
FLAP's fluctuation (2312.11983), for which the mean of x_j does not count, because it can go into the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from asc_core.parts import BLOCKS, BLOCKS_OF
from asc_core.scores.collector import Collector, Tally
from asc_core.scores.method import FromStatistics, each_part, statistics
from asc_core.scores.streaming import NORMAL_QUANTILE, Statistic, Sums

if TYPE_CHECKING:
    from asc_core.probes import Readout
    from asc_core.scores.collector import BatchView, ReadoutWeights
    from asc_core.values import Shape

IN_CACHE = 1 << 19  # numbers: 2 MiB, what the second levels of two cores hold


class Activations(Collector):
    """Sums over all tokens of |x_j| ||W_j||, of x_j ||W_j|| and of its square, x_j a column of a readout's input.

    They are named "absolute", "drive" and "square"; for heads the first and the last are summed over the head's
    columns. "drive-times-square.neurons", of an example's two sums, is for the interval of the variance.
    """

    def __init__(self, view: BatchView, weights: ReadoutWeights):
        super().__init__(view, weights)
        self.tally = Tally()
        self._real = view.mask.float()[:, None, :]

    @torch.no_grad()
    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        kind = BLOCKS_OF[readout.kind]
        lengths = self.weights.squared_columns[readout.kind, readout.row].sqrt()
        sums, absolutes, squares = self._sums(inputs)
        drive, absolute, square = sums * lengths, absolutes * lengths, squares * lengths.square()
        if readout.width > 1:
            absolute, square = (v.unflatten(-1, (readout.blocks, readout.width)).sum(-1) for v in (absolute, square))
        for name, values in (("drive", drive), ("absolute", absolute), ("square", square)):
            self.tally.add(f"{name}.{kind}", readout.row, values)

    def _sums(self, inputs: torch.Tensor) -> list[torch.Tensor]:
        """(rows, T, n) -> (features, n) sums over real tokens of values, absolute values and squares.

        A few rows at a time, which stay in the processor's cache: all of them once through memory for each of the three
        would cost a tenth of the forward pass.
        """
        found = inputs.new_empty(3, len(inputs), inputs.shape[2])
        rows = max(1, IN_CACHE // max(1, inputs[0].numel()))
        scratch = torch.empty_like(inputs[:rows])
        for start in range(0, len(inputs), rows):
            part, real = inputs[start : start + rows], self._real[start : start + rows]
            work, to = scratch[: len(part)], slice(start, start + rows)
            torch.bmm(real, part, out=found[0, to, None])
            torch.bmm(real, torch.abs(part, out=work), out=found[1, to, None])
            torch.bmm(real, torch.square(part, out=work), out=found[2, to, None])
        return [self.view.per_feature(values) for values in found]

    def statistics(self) -> dict[str, Statistic]:
        found = {}
        for kind in BLOCKS:
            for name in ("absolute", "square", "drive"):
                found[f"{name}.{kind}"] = Statistic(self.tally.mean(f"{name}.{kind}"), "token", kind != "neurons")
        cross = self.tally.mean("drive.neurons") * self.tally.mean("square.neurons")
        return found | {"drive-times-square.neurons": Statistic(cross, "token", False)}


def power(means: Mapping[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """E[x_j^2] mean_i(W_ij^2), summed over a head's columns."""
    return {name.rpartition(".")[2]: values / shape.hidden for name, values in means.items()}


def fluctuation(means: Mapping[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    """Var[x_j] ||W_j||^2, summed over a head's columns. means: "square" and "drive" of heads, of neurons, or both."""
    found = {}
    for kind in BLOCKS:
        if f"square.{kind}" in means:
            squared_means = np.square(means[f"drive.{kind}"])
            if kind == "heads":
                squared_means = squared_means.reshape(*squared_means.shape[:-1], -1, shape.head_width).sum(-1)
            found[kind] = np.maximum(means[f"square.{kind}"] - squared_means, 0)
    return found


def fluctuation_margin(sums: Sums) -> dict[str, np.ndarray]:
    """Half the width of the normal interval of the neurons' fluctuation: that of a ratio of sums, linearised.

    With a, b an example's sums of squares and of values and n its tokens, mean m and variance v, the estimate moves
    by the sum of a - 2 m b + (m^2 - v) n.
    """
    arrays = sums.arrays
    mean = sums.mean("drive.neurons", "token")
    rest = 2 * np.square(mean) - sums.mean("square.neurons", "token")  # m^2 - v
    squares = (
        arrays["square.neurons/square"]
        + 4 * np.square(mean) * arrays["drive.neurons/square"]
        + np.square(rest) * arrays["unit.token/square"]
        - 4 * mean * arrays["drive-times-square.neurons/sum"]
        + 2 * rest * arrays["square.neurons/product"]
        - 4 * mean * rest * arrays["drive.neurons/product"]
    )
    return {"neurons": NORMAL_QUANTILE * np.sqrt(np.maximum(squares, 0)) / arrays["unit.token/sum"]}


METHODS = (
    FromStatistics(
        id="wanda",
        title="Activation times weights",
        description="Mean over tokens of |x_j| times the L2 norm of the weights that read it; for a head the sum over "
        "its columns.",
        source="Wanda, Sun et al. 2023, arXiv 2306.11695, for structures (with the L1 norm of activations)",
        parts=BLOCKS,
        collector=Activations,
        statistics=statistics("absolute", "token", BLOCKS),
        combine=each_part,
    ),
    FromStatistics(
        id="flap",
        title="Fluctuation",
        description="Variance of x_j over tokens times the squared L2 norm of the weights that read it; for a head the "
        "sum over its columns. What a part writes on average could be folded into the bias and does not count.",
        source="FLAP, An et al. 2023, arXiv 2312.11983, before its standardisation",
        parts=BLOCKS,
        collector=Activations,
        statistics=statistics("square", "token", BLOCKS) | statistics("drive", "token", BLOCKS),
        combine=fluctuation,
        margins=fluctuation_margin,
    ),
    FromStatistics(
        id="kprune-representational",
        title="K-prune, representational knowledge",
        description="Mean over tokens of x_j squared times the mean square of the weights that read it; for a head the "
        "sum over its columns.",
        source="K-prune, Park et al. 2023, arXiv 2308.03449, section 4.2",
        parts=BLOCKS,
        collector=Activations,
        statistics=statistics("square", "token", BLOCKS),
        combine=power,
    ),
)
