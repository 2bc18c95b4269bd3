"""End-to-end latency of models in runtimes: every combination of batch size, tokens and threads, all in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.latency import measure_in_turns
from asc_core.evaluate.layer_times import device_name
from asc_core.memory import is_out_of_memory
from asc_core.progress import Progress
from asc_core.runtimes import Session

Loader = Callable[[int], Session]


@dataclass(frozen=True)
class Conditions:
    """What a forward pass was timed on: `batch_size` texts of `tokens` tokens each, on `threads` threads."""

    batch_size: int = 1
    tokens: int = 128
    threads: int = 1

    @property
    def key(self) -> str:
        """Of a time on this machine's CPU under these, in names of results."""
        return f"{device_name(torch.device('cpu'))}:{self.threads}:{self.batch_size}:{self.tokens}"


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a forward pass: median and quartiles. ratio: how many times as fast as the first model there."""

    model: str
    runtime: str
    conditions: Conditions
    ms: float
    low: float
    high: float
    ratio: float

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "runtime": self.runtime, **asdict(self.conditions)} | {
            "ms": self.ms, "low": self.low, "high": self.high, "ratio": self.ratio
        }  # fmt: skip


def check_takes(encoder: Encoder, tokens: int, name: str | None = None) -> None:
    """Before anything is exported for a runtime. Raises: UserError where texts of so many tokens are too long."""
    if encoder.max_length < tokens:
        raise UserError(f"{name or encoder.name} takes {encoder.max_length} tokens at most, not {tokens}.")


def speeds(
    loaders: Mapping[tuple[str, str], Loader],
    batch_sizes: Sequence[int] = (1,),
    tokens: Sequence[int] = (128,),
    threads: Sequence[int] = (1,),
    *,
    repeats: int = 30,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Speed]:
    """Measure in this process, on this machine.

    Args:
        loaders: what gives a session on so many threads, by (model, runtime); the first is what ratios are to.
        batch_sizes, tokens, threads: every combination is timed; all models of one in turns on the same texts.
        repeats: turns.

    Raises:
        UserError: where a model takes fewer tokens, or memory is too short; Cancelled between two turns.
    """
    found = []
    for count in threads:  # those of one number of threads together: two teams at once would disturb each other
        sessions = {" ".join(key): load(count) for key, load in loaders.items()}
        for batch_size, length in product(batch_sizes, tokens):
            try:
                texts = np.full(batch_size, length)
                measured = measure_in_turns(sessions, texts, batch_size, repeats, seed, progress)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise UserError(
                    f"Memory is too short for {batch_size:,} texts of {length:,} tokens: ask for a smaller batch size."
                ) from None
            here = Conditions(batch_size, length, count)
            for (model, runtime), one in zip(loaders, measured.values(), strict=True):
                ms, low, high = (round(1e3 * seconds, 4) for seconds in (one.median, one.low, one.high))
                found.append(Speed(model, runtime, here, ms, low, high, round(one.ratio, 3)))
    return found
