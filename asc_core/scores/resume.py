"""What a pass over texts that was cancelled or killed goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from asc_core.values import Scores

SECONDS_BETWEEN_SAVES = 10.0


class PartialStore(Protocol):
    """What is needed of a Study: a place for what a killed pass goes on from, and for its result."""

    def save_partial(self, key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None: ...

    def partial(self, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None: ...

    def drop_partial(self, key: str) -> None: ...

    def save_scores(self, scores: Scores) -> None: ...
