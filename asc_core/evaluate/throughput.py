"""How large a batch should be, and its throughput: measured while evaluating, at no extra work.

The first large evaluation of a model on a device is made with batches of several sizes in turns; the size that took
the least time a token is used from then on, by all models of that width (a cut model is as wide as its original).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np
import torch

from asc_core import modeling
from asc_core.batches import BatchLimits, by_length
from asc_core.encoder import Encoder
from asc_core.tasks.base import Reader

BATCH_TOKENS_TRIED = {"cpu": (256, 512, 1024, 2048), "cuda": (8192, 16384, 32768, 65536), "mps": (2048, 4096, 8192)}
TIE = 1.05  # of two sizes whose times are this close the larger one: a cut model does less between two calls
SECONDS_PER_LAYER = 0.1  # at most, where a smaller size keeps to it: work between two looks at `cancel`

Key = tuple[str, int, int]
_measured: dict[Key, Throughput] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Throughput:
    """batch_tokens: of a batch. seconds_per_work: for one token and one parameter of the layers."""

    batch_tokens: int
    seconds_per_work: float

    def seconds(self, encoder: Encoder, tokens: float) -> float:
        """What so many tokens (no padding) take."""
        return tokens * layer_parameters(encoder) * self.seconds_per_work


def throughput_of(encoder: Reader) -> Throughput | None:
    """None before anything was measured for a model of this width on this device; only encoders have one."""
    if not isinstance(encoder, Encoder):
        return None
    with _lock:
        return _measured.get(_key(encoder))


def batch_limits_of(encoder: Reader) -> BatchLimits:
    """With the batch size that was measured to be the fastest here, or a starting point before that."""
    usual, known = BatchLimits.of_device(encoder.device), throughput_of(encoder)
    return usual if known is None else BatchLimits(usual.rows, known.batch_tokens, usual.overhead)


class BatchSizeTuner:
    """Times batches of several sizes in turns, and remembers the best size."""

    def __init__(self, encoder: Encoder, lengths: np.ndarray):
        self.encoder, self.lengths = encoder, np.asarray(lengths)
        self.sizes = BATCH_TOKENS_TRIED.get(encoder.device.type, BATCH_TOKENS_TRIED["cpu"])
        self._seconds: dict[int, list[float]] = {size: [] for size in self.sizes}  # of each batch
        self._per_token: dict[int, list[float]] = {size: [] for size in self.sizes}
        self._size_of: dict[bytes, int] = {}
        self._warm = False

    @property
    def worthwhile(self) -> bool:
        """Whether there are tokens enough for a batch of every size."""
        return int(self.lengths.sum()) >= len(self.sizes) * max(self.sizes)

    def batches(self) -> list[np.ndarray]:
        """Each feature once: every size has its share of all lengths, and the sizes take turns."""
        usual = BatchLimits.of_device(self.encoder.device)
        order = np.argsort(self.lengths, kind="stable")
        placed: list[tuple[float, np.ndarray]] = []
        for number, size in enumerate(self.sizes):
            part = order[number :: len(self.sizes)]
            own = by_length(self.lengths[part], BatchLimits(usual.rows, size, usual.overhead))
            for turn, rows in enumerate(own):
                placed.append(((turn + 0.5) / len(own), part[rows]))
                self._size_of[part[rows].tobytes()] = size
        return [rows for _, rows in sorted(placed, key=lambda each: each[0])]

    @contextmanager
    def timing(self, rows: np.ndarray) -> Iterator[None]:
        began = time.perf_counter()
        yield
        if self.encoder.device.type == "cuda":
            torch.cuda.synchronize(self.encoder.device)
        size = self._size_of.get(rows.tobytes())
        if self._warm and size is not None:  # the very first pass is slower than all others
            seconds = time.perf_counter() - began
            self._seconds[size].append(seconds)
            self._per_token[size].append(seconds / max(1, int(self.lengths[rows].sum())))
        self._warm = True

    def remember_best(self) -> None:
        """Remember the best size for all models of this width."""
        # Medians: what else the machine does for a moment decides nothing.
        per_token = {size: median(took) for size, took in self._per_token.items() if took}
        longest = SECONDS_PER_LAYER * self.encoder.shape.layers
        short = {size: took for size, took in per_token.items() if median(self._seconds[size]) <= longest}
        fair = short or {min(per_token): per_token[min(per_token)]}
        best = min(fair.values())
        tokens = next(size for size in sorted(fair, reverse=True) if fair[size] <= TIE * best)
        with _lock:
            _measured[_key(self.encoder)] = Throughput(tokens, per_token[tokens] / layer_parameters(self.encoder))


def forget() -> None:
    """As in a new process: for tests and benchmarks."""
    with _lock:
        _measured.clear()


def _key(encoder: Encoder) -> Key:
    return str(encoder.device), encoder.shape.hidden, torch.get_num_threads()


def layer_parameters(encoder: Encoder) -> int:
    """Of the layers: what a token meets on its way through."""
    return max(1, sum(p.numel() for row in modeling.rows_of(encoder.model) for p in row.parameters()))
