"""Calibrations that were made already, or are being made: whoever repairs cuts of one encoder shares one pass."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict, Unpack
from weakref import WeakValueDictionary

from asc_core.bounded_cache import BoundedCache, Shelf
from asc_core.compress.calibration import SAMPLES, TOKENS, Calibration, GrowingCalibration
from asc_core.compress.settling import Settling
from asc_core.progress import CALIBRATING, Progress

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Task

SECONDS_BETWEEN_POLLS = 0.05
UNBOUNDED = 1 << 62


class Asked(TypedDict, total=False):
    """samples, tokens, seed, moments: as for `calibrate`. until_settled: end with fewer tokens where more are of no
    use, see `settling`."""

    samples: int
    tokens: int
    seed: int
    moments: bool
    until_settled: bool


@dataclass(frozen=True)
class _Key:
    weights: str
    task: str
    texts: str
    samples: int
    tokens: int
    seed: int
    until_settled: bool
    moments: bool


class Calibrations:
    """Those used last: each takes up to `calibration.MEMORY`. Safe for any number of threads; those that want the same
    one share one pass, and where one of them is cancelled, the next goes on from there.

    One with moments also serves those who need none.
    """

    def __init__(self, most: int | None = 1, kept: BoundedCache | None = None):
        """most: at once, None = as many as the bound allows. kept: with whatever else lies under its bound."""
        self.most = most
        self._kept: Shelf[_Growing] = (kept or BoundedCache(UNBOUNDED)).shelf("calibrations")
        self._in_use: WeakValueDictionary[_Key, _Growing] = WeakValueDictionary()  # also what is too large to be kept
        self._needed: dict[_Key, int] = {}
        self._lock = threading.Lock()

    def get(
        self, encoder: Encoder, task: Task, progress: Progress | None = None, **asked: Unpack[Asked]
    ) -> Calibration:
        """The whole of it. Raises: UserError, Cancelled."""
        key = _key(encoder, task, asked)
        with self._growing(encoder, task, key) as growing:
            found = growing.whole(progress or Progress())
        if key.until_settled:
            self._needed[_count(key)] = found.tokens
        return found

    def first(
        self, encoder: Encoder, task: Task, progress: Progress | None = None, **asked: Unpack[Asked]
    ) -> Calibration:
        """What is there of it, its first slice at least. Raises: UserError, Cancelled."""
        with self._growing(encoder, task, _key(encoder, task, asked)) as growing:
            return growing.first(progress or Progress())

    def more(
        self, encoder: Encoder, task: Task, than: int, progress: Progress | None = None, **asked: Unpack[Asked]
    ) -> Calibration:
        """What is there as soon as it is whole or has more tokens than that. Raises: UserError, Cancelled."""
        with self._growing(encoder, task, _key(encoder, task, asked)) as growing:
            return growing.more(than, progress or Progress())

    @contextmanager
    def held(self, encoder: Encoder, task: Task, **asked: Unpack[Asked]) -> Iterator[None]:
        """In this context what anyone makes of it stays, also where it is larger than the bound."""
        with self._growing(encoder, task, _key(encoder, task, asked)):
            yield

    def known(self, encoder: Encoder, task: Task, **asked: Unpack[Asked]) -> Calibration | None:
        """The whole of it, without a pass over the texts: None where it is not there."""
        key = _key(encoder, task, asked)
        for place in (replace(key, moments=True), key):
            found = self._found(place)
            if found is not None and found.complete:
                return found.latest
        return None

    def needed(self, encoder: Encoder, task: Task, **asked: Unpack[Asked]) -> int | None:
        """How many tokens were enough for one that was asked for until it settles; None where that is not known."""
        return self._needed.get(_count(_key(encoder, task, asked)))

    def remember_needed(self, encoder: Encoder, task: Task, found: int, **asked: Unpack[Asked]) -> None:
        """What an earlier process found, so that it is not measured again."""
        self._needed.setdefault(_count(_key(encoder, task, asked)), found)

    @contextmanager
    def _growing(self, encoder: Encoder, task: Task, key: _Key) -> Iterator[_Growing]:
        with self._lock:
            place = replace(key, moments=True)
            found = self._found(place)
            if found is None:
                place, found = key, self._found(key)
            if found is None:
                found = self._in_use[place] = _Growing(encoder, task, key, self._needed.get(_count(key)))
                self._kept.put(place, found, 0)
                self._make_room(place)
        try:
            yield found
        finally:
            self._kept.resize(place, found, found.bytes)

    def _found(self, place: _Key) -> _Growing | None:
        kept = self._kept.get(place)
        return self._in_use.get(place) if kept is None else kept

    def _make_room(self, newest: _Key) -> None:
        without = replace(newest, moments=False)
        gone = {without} - {newest}
        if self.most is not None:
            kept = [key for key in self._kept.keys() if key not in gone]  # noqa: SIM118 (a shelf is no dict)
            gone |= set(kept[: max(0, len(kept) - self.most)])  # type: ignore[arg-type]
        self._kept.drop(gone.__contains__)


def _key(encoder: Encoder, task: Task, asked: Asked) -> _Key:
    samples, seed = asked.get("samples", SAMPLES), asked.get("seed", 0)
    return _Key(
        weights=encoder.weights,
        task=task.name,
        texts=task.digest("train", samples, seed),
        samples=samples,
        tokens=asked.get("tokens", TOKENS),
        seed=seed,
        until_settled=asked.get("until_settled", False),
        moments=asked.get("moments", False),
    )


def _count(key: _Key) -> _Key:
    """What decides how many tokens are enough."""
    return replace(key, moments=False, until_settled=True)


class _Growing:
    """One calibration for all who wait for it. latest: as far as it is there. needed: how many tokens are enough,
    where that was found before."""

    def __init__(self, encoder: Encoder, task: Task, key: _Key, needed: int | None):
        self.latest: Calibration | None = None
        self.complete = False
        self._encoder, self._task, self._key, self._needed = encoder, task, key, needed
        self._settling = Settling() if key.until_settled else None
        self._judged: Calibration | None = None
        self._calibration: GrowingCalibration | None = None
        self._working = threading.Lock()

    @property
    def bytes(self) -> int:
        return 0 if self.latest is None else self.latest.bytes

    def first(self, progress: Progress) -> Calibration:
        while self.latest is None:
            self._work(progress)
        return self.latest

    def more(self, tokens: int, progress: Progress) -> Calibration:
        while not self.complete and self.first(progress).tokens <= tokens:
            self._work(progress)
        assert self.latest is not None
        return self.latest

    def whole(self, progress: Progress) -> Calibration:
        while not self.complete:
            self._work(progress)
        assert self.latest is not None
        return self.latest

    def _work(self, progress: Progress) -> None:
        """A slice, or a moment's wait while another one makes it. Raises: UserError, Cancelled."""
        progress.check()
        if self._working.acquire(timeout=SECONDS_BETWEEN_POLLS):
            try:
                if not self.complete:
                    self._grow(progress)
            finally:
                self._working.release()

    def _grow(self, progress: Progress) -> None:
        if self._calibration is None:
            key = self._key
            self._calibration = GrowingCalibration(
                self._encoder,
                self._task,
                samples=key.samples,
                tokens=key.tokens,
                seed=key.seed,
                moments=key.moments,
            )
        growing = self._calibration
        if self.latest is self._judged:  # else somebody was cancelled while the last slice was judged
            self.latest = growing.grow(progress)
        assert self.latest is not None
        enough = growing.complete or self._enough(self.latest, progress)
        self._judged = self.latest
        if enough:
            self.complete, self._calibration = True, None
            del self._encoder, self._task  # whoever only keeps it keeps nothing else

    def _enough(self, calibration: Calibration, progress: Progress) -> bool:
        if self._settling is None:
            return False
        if self._needed is not None:
            return calibration.tokens >= self._needed
        what = "finding how many tokens a repair needs"
        judging = Progress(lambda done, total, _: progress.step(done, total, what, CALIBRATING), progress.cancel)
        return self._settling.settled(self._encoder, calibration, judging)
