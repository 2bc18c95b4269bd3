"""How long a layer takes by its widths: measured on one machine at a few widths, straight lines in between.

FLOPs predict time badly: norms, residuals and calls cost the same however narrow a layer is, and small matrices run
at a fraction of the speed of large ones. So, as in ZipLM (Kurtic et al. 2023, 2302.04089, section 3.2), a layer's time
is looked up, the two sublayers apart: what its heads add and what its neurons add. `asc_core.evaluate.layer_times`
measures it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from asc_core.errors import UserError
from asc_core.values.checked import first_fault, parsed

_Width = Annotated[int, Field(ge=0, lt=2**20)]
_Widths = Annotated[tuple[_Width, ...], Field(min_length=1, max_length=256)]
_Time = Annotated[int, Field(ge=0, lt=2**50)]  # thirteen days


@dataclass(frozen=True)
class LatencyTable:
    """Nanoseconds of one forward pass of `batch_size` texts, by parts.

    heads, attention: so many heads in a layer add so much to its time. neurons, ffn: the same for neurons. Widths
    ascend from 0 and times never fall; both begin with 0.
    layer: of a layer with neither heads nor neurons. outside: of what no plan removes.
    batch_size, tokens: of the texts, tokens as the mean of a text without padding. device, threads, runtime: what ran
    it.

    Raises: ValueError where a table is not of this form.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    heads: _Widths
    attention: tuple[_Time, ...]
    neurons: _Widths
    ffn: tuple[_Time, ...]
    layer: _Time
    outside: _Time
    batch_size: Annotated[int, Field(gt=0)]
    tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    device: str
    threads: Annotated[int, Field(gt=0)]
    runtime: str = "torch"  # what all tables were of that do not say it

    def __post_init__(self) -> None:
        for widths, times in ((self.heads, self.attention), (self.neurons, self.ffn)):
            steps = np.diff(widths)
            if len(widths) != len(times) or not widths or widths[0] or times[0]:
                raise ValueError("widths and times of a latency table go together and begin with 0")
            if (steps <= 0).any() or (np.diff(times) < 0).any():
                raise ValueError("the widths of a latency table ascend and its times never fall")
        if self.layer < 0 or self.outside < 0:
            raise ValueError("no part of a latency table takes less than no time")

    def of_heads(self, counts: np.ndarray) -> np.ndarray:
        """What so many heads add to a layer's time, int64 nanoseconds. Raises: ValueError beyond the last width."""
        return _between(counts, self.heads, self.attention)

    def of_neurons(self, counts: np.ndarray) -> np.ndarray:
        """What so many neurons add to a layer's time, int64 nanoseconds. Raises: ValueError beyond the last width."""
        return _between(counts, self.neurons, self.ffn)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Any) -> LatencyTable:
        """Raises: UserError where it is none: a study may come from anyone."""
        try:
            return parsed(_TABLE, data)
        except ValidationError as error:
            raise UserError(f"This is no latency table ({first_fault(error)}): measure it again.") from None


def _between(counts: np.ndarray, widths: tuple[int, ...], times: tuple[int, ...]) -> np.ndarray:
    if counts.size and counts.max() > widths[-1]:
        raise ValueError(f"the latency table ends at a width of {widths[-1]}, {counts.max()} was asked for")
    return np.rint(np.interp(counts, widths, times)).astype(np.int64)


_TABLE = TypeAdapter(LatencyTable)
