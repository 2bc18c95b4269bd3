"""Calibrations that were made already: whoever repairs many cuts of one encoder passes over the texts once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from asc_core.compress.calibration import SAMPLES, TOKENS, Calibration, calibrate
from asc_core.progress import Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

Key = tuple[str, str, str, int, int, int]


class Calibrations:
    """Those used last, `most` at once: each takes up to `calibration.MEMORY`. Safe for any number of threads; two that
    want the same one wait for one pass."""

    def __init__(self, most: int = 1):
        self.most = most
        self._kept: OrderedDict[tuple[Key, bool], Calibration] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[tuple[Key, bool], threading.Lock] = {}

    def get(
        self,
        encoder: Encoder,
        task: Task,
        *,
        samples: int = SAMPLES,
        tokens: int = TOKENS,
        seed: int = 0,
        moments: bool = False,
        progress: Progress | None = None,
    ) -> Calibration:
        """As `calibrate` makes it; one with moments also serves those who need none. Raises: UserError, Cancelled."""
        key = self._key(encoder, task, samples, tokens, seed)
        with self._lock:
            making = self._making.setdefault((key, moments), threading.Lock())
        with making:
            found = self._known(key, moments)
            if found is None:
                found = calibrate(
                    encoder, task, samples=samples, tokens=tokens, seed=seed, moments=moments, progress=progress
                )
                self._keep(key, moments, found)
        return found

    def known(
        self,
        encoder: Encoder,
        task: Task,
        *,
        samples: int = SAMPLES,
        tokens: int = TOKENS,
        seed: int = 0,
        moments: bool,
    ) -> Calibration | None:
        """Without a pass over the texts: None where there is none."""
        return self._known(self._key(encoder, task, samples, tokens, seed), moments)

    @staticmethod
    def _key(encoder: Encoder, task: Task, samples: int, tokens: int, seed: int) -> Key:
        return (encoder.weights, task.name, task.digest("train", samples, seed), samples, tokens, seed)

    def _known(self, key: Key, moments: bool) -> Calibration | None:
        with self._lock:
            for place in ((key, True),) if moments else ((key, True), (key, False)):
                if place in self._kept:
                    self._kept.move_to_end(place)
                    return self._kept[place]
        return None

    def _keep(self, key: Key, moments: bool, made: Calibration) -> None:
        with self._lock:
            if moments:
                self._kept.pop((key, False), None)
            self._kept[key, moments] = made
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
