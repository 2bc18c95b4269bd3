"""Means over examples with their intervals, streaming: nothing grows with the number of examples.

A statistic is a ratio of sums over features, such as (sum of cosines) / (number of tokens). For its interval the sums
are also kept for bootstrap replicates, in which every example counts Poisson(1) times (Hanley and MacGibbon 2006, the
streaming form of the bootstrap); all windows of one example count alike. Where there are too many columns for that
(neurons), the sums of squares give a normal interval of the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

REPLICATES = 200
NORMAL_QUANTILE = 1.959964


@dataclass(frozen=True)
class Statistic:
    """What one batch says. values: (features, columns). unit: what the sum is divided by ("token", "text", "feature").

    A text is one row of the model's input: two of them are one feature in sentence similarity.
    replicated: bootstrap (True) or normal interval. whole: values are the batch's sum already, of any shape, and there
    is no interval.
    """

    values: torch.Tensor
    unit: str
    replicated: bool = True
    whole: bool = False


def replicate_weights(seed: int, numbers: np.ndarray, replicates: int = REPLICATES) -> np.ndarray:
    """(replicates, n) how often each example counts, a function of seed and the example's number alone."""
    return np.stack([np.random.default_rng((seed, int(n), 0)).poisson(1.0, replicates) for n in numbers], 1)


class Sums:
    """Running sums of named statistics.

    `arrays` is the whole state: what is saved, and what goes on after a kill. `add` replaces it and never writes into
    it, so that to hold on to the old one is to be able to go back.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None = None):
        self.arrays: dict[str, np.ndarray] = {name: np.array(a) for name, a in (arrays or {}).items()}

    def add(self, statistics: Mapping[str, Statistic], units: Mapping[str, np.ndarray], weights: np.ndarray) -> None:
        """units: (features,) counts of each unit. weights: (replicates, features) of `replicate_weights`."""
        self.increase(_addends(statistics, units, weights))

    def increase(self, addends: Mapping[str, np.ndarray]) -> None:
        """By what one batch adds."""
        arrays = dict(self.arrays)
        for name, value in addends.items():
            arrays[name] = arrays[name] + value if name in arrays else value
        self.arrays = arrays

    def names(self, prefix: str) -> list[str]:
        """The statistics with this name, or with it and a dot in front."""
        names = (key.removesuffix("/sum") for key in self.arrays if key.endswith("/sum"))
        return [name for name in names if name == prefix or name.startswith(prefix + ".")]

    def mean(self, name: str, unit: str) -> np.ndarray:
        """(columns,)"""
        return self.arrays[f"{name}/sum"] / self.arrays[f"unit.{unit}/sum"]

    def replicated(self, name: str) -> bool:
        return f"{name}/replicates" in self.arrays

    def replicate_means(self, name: str, unit: str) -> np.ndarray:
        """(replicates, columns); a replicate without any example (possible with a handful) is left out."""
        counts = self.arrays[f"unit.{unit}/replicates"]
        return self.arrays[f"{name}/replicates"][counts > 0] / counts[counts > 0, None]

    def margin(self, name: str, unit: str) -> np.ndarray:
        """(columns,) half the width of the normal 95 % interval of a ratio of sums (linearised)."""
        ratio, total = self.mean(name, unit), self.arrays[f"unit.{unit}/sum"]
        squares = (
            self.arrays[f"{name}/square"]
            - 2 * ratio * self.arrays[f"{name}/product"]
            + ratio**2 * self.arrays[f"unit.{unit}/square"]
        )
        return NORMAL_QUANTILE * np.sqrt(np.maximum(squares, 0)) / total


class RememberedSums(Sums):
    """Sums that know what was added to them, one by one, so that it can be added to others."""

    def __init__(self) -> None:
        super().__init__()
        self.addends: list[Mapping[str, np.ndarray]] = []

    def increase(self, addends: Mapping[str, np.ndarray]) -> None:
        super().increase(addends)
        self.addends.append(addends)


def _addends(
    statistics: Mapping[str, Statistic], units: Mapping[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    # All products by torch: numpy's own threads spin for a while after each, on the cores of the next forward pass.
    weighted = torch.from_numpy(weights).double()
    found: dict[str, np.ndarray] = {}
    for unit, whole in units.items():
        counts = whole.astype(np.float64)
        found[f"unit.{unit}/sum"] = counts.sum()
        found[f"unit.{unit}/square"] = np.square(counts).sum()
        found[f"unit.{unit}/replicates"] = (weighted @ torch.from_numpy(counts)).numpy()
    for name, statistic in statistics.items():
        values = statistic.values.detach().cpu().double()
        if statistic.whole:
            found[f"{name}/sum"] = values.numpy()
            continue
        found[f"{name}/sum"] = values.sum(0).numpy()
        if statistic.replicated:
            found[f"{name}/replicates"] = (weighted @ values).numpy()
        else:
            per = torch.from_numpy(units[statistic.unit]).double()
            found[f"{name}/square"] = values.square().sum(0).numpy()
            found[f"{name}/product"] = (per @ values).numpy()
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}
