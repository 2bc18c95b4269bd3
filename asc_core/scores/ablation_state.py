"""What an exact ablation has measured so far, and how it goes on from there after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from asc_core.study import Study


@dataclass
class AblationState:
    """Results so far: what is saved, and what goes on after a kill.

    loss: (examples, 1 + parts) sums over an example's windows, first the dense model's. statistics: (examples,
    1 + parts, k) of the metric. windows: (examples,), 0 where not yet done. groups: see `neuron_groups`.
    """

    loss: np.ndarray | None = None
    statistics: np.ndarray | None = None
    windows: np.ndarray | None = None
    groups: tuple[np.ndarray, ...] = ()
    batches: int = 0

    @staticmethod
    def restore(saved: tuple[dict[str, np.ndarray], dict[str, Any]] | None) -> AblationState:
        if saved is None:
            return AblationState()
        arrays, metadata = saved
        groups = tuple(arrays[f"groups.{row}"] for row in range(sum(name.startswith("groups.") for name in arrays)))
        named = {name: np.array(arrays[name]) for name in ("loss", "statistics", "windows")}
        return AblationState(groups=groups, batches=int(metadata["batches"]), **named)

    def save(self, study: Study, key: str) -> None:
        if self.loss is None or self.statistics is None or self.windows is None:
            return
        arrays = {"loss": self.loss, "statistics": self.statistics, "windows": self.windows}
        arrays |= {f"groups.{row}": group for row, group in enumerate(self.groups)}
        study.save_partial(key, arrays, {"batches": self.batches})

    def store(self, examples: int, chosen: np.ndarray, windows: np.ndarray, loss: Any, statistics: Any) -> None:
        """One batch's results. chosen: (n,) its examples; loss: (n, 1 + parts); statistics: (n, 1 + parts, k)."""
        if self.loss is None or self.statistics is None or self.windows is None:
            self.loss = np.zeros((examples, loss.shape[1]))
            self.statistics = np.zeros((examples, *statistics.shape[1:]))
            self.windows = np.zeros(examples, dtype=np.int64)
        self.loss[chosen], self.statistics[chosen], self.windows[chosen] = loss, statistics, windows
        self.batches += 1
