"""How long a cut takes beside the original."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """Seconds for a batch of `batch` texts, measured in turns here.

    original: the median. ratio: the median of original over cut in each turn; above 1 is faster than the original.
    """

    original: float
    ratio: float
    batch: int

    @property
    def cut(self) -> float:
        """As the ratio has it: a median of the cut's own times would be of other moments than the original's."""
        return self.original / self.ratio
