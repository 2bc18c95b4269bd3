"""What is kept for speed alone, under one bound in bytes: calibrations, hidden states, encoders, examples.

Every kind has a shelf of its own, and all shelves share the bound: what was used least recently goes first, whatever
its kind. Everything here can be made again, so whoever finds nothing makes it anew.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from asc_core.machine_memory import available, default_bound

Value = TypeVar("Value")
Place = tuple[str, Hashable]  # (kind, key)
SECONDS_BETWEEN_CHECKS = 0.05


@dataclass(eq=False)
class _Entry:
    value: Any
    bytes: int
    used: int  # on the cache's clock


@dataclass(eq=False)
class _Making:
    """A value on its way. Whoever waits gets it also where it is too large to be kept."""

    ended: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    failed: bool = True


class BoundedCache:
    """Safe for any number of threads. `shelf` gives the place for values of one kind.

    most_bytes: of all that is kept, at any time; None: `machine_memory.default_bound`. A value that is larger, or that
    does not fit beside what is pinned, is handed out and not kept. freed: called without the lock whenever something
    was let go, with its bytes.
    """

    def __init__(self, most_bytes: int | None = None, freed: Callable[[int], None] = lambda _: None):
        self.most_bytes = default_bound() if most_bytes is None else most_bytes
        self._freed = freed
        self._bytes, self._clock = 0, 0
        self._shelves: dict[str, OrderedDict[Hashable, _Entry]] = {}  # each from the least recently used on
        self._kinds: Counter[str] = Counter()  # bytes on each shelf
        self._limits: dict[str, int] = {}
        self._making: dict[Place, _Making] = {}
        self._pins: Counter[Place] = Counter()
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def room(self) -> int:
        """Bytes that something new may take now: all but what is pinned, since everything else would make way.

        Never more than the machine has free beside what would.
        """
        with self._lock:
            pinned = sum(
                self._shelves[kind][key].bytes for kind, key in self._pins if key in self._shelves.get(kind, ())
            )
            making_way = self._bytes - pinned
        return max(0, min(self.most_bytes - pinned, available() + making_way))

    def by_kind(self) -> dict[str, int]:
        """Bytes of each kind that has any, most first."""
        with self._lock:
            return {kind: size for kind, size in self._kinds.most_common() if size}

    def shelf(self, kind: str, most_bytes: int | None = None) -> Shelf[Any]:
        """The place for values of one kind, such as "calibrations". The same name is the same shelf.

        most_bytes: of this kind, where it would fill everything with what is hardly worth it.
        """
        if most_bytes is not None:
            self._limits[kind] = most_bytes
        return Shelf(self, kind)

    def _limit(self, kind: str) -> int:
        return min(self.most_bytes, self._limits.get(kind, self.most_bytes))

    def free(self) -> int:
        """Let go of everything that is not pinned. Returns the bytes of it."""
        return self._drop(lambda kind, key: True, pinned=False)

    def _get(self, kind: str, key: Hashable) -> _Entry | None:
        with self._lock:
            return self._touched(kind, key)

    def _on(self, kind: str) -> OrderedDict[Hashable, _Entry]:
        return self._shelves.setdefault(kind, OrderedDict())

    def _touched(self, kind: str, key: Hashable) -> _Entry | None:
        entry = self._on(kind).get(key)
        if entry is not None:
            self._clock += 1
            entry.used = self._clock
            self._on(kind).move_to_end(key)
        return entry

    def _put(self, kind: str, key: Hashable, value: Any, size: int) -> bool:
        """Instead of what was there. Whether it is kept."""
        with self._lock:
            gone = self._put_locked(kind, key, value, size)
            kept = self._on(kind).get(key)
        self._let_go(gone)
        return kept is not None and kept.value is value

    def _resize(self, kind: str, key: Hashable, value: Any, size: int) -> None:
        with self._lock:
            kept = self._on(kind).get(key)
            gone = self._put_locked(kind, key, value, size) if kept is not None and kept.value is value else []
        self._let_go([entry for entry in gone if entry.value is not value])

    def _put_locked(self, kind: str, key: Hashable, value: Any, size: int) -> list[_Entry]:
        before = self._remove(kind, key)
        gone = [] if before is None else [before]
        victims = self._making_room(kind, size)
        if victims is None:
            return gone
        for victim_kind, victim in victims:
            entry = self._remove(victim_kind, victim)
            assert entry is not None
            gone.append(entry)
        self._clock += 1
        self._on(kind)[key] = _Entry(value, size, self._clock)
        self._bytes += size
        self._kinds[kind] += size
        return gone

    def _making_room(self, kind: str, size: int) -> list[Place] | None:
        """What must go so that so many bytes more of a kind fit in; None where even that would not do: then nothing
        need go."""
        own, over = self._kinds[kind] + size - self._limit(kind), self._bytes + size - self.most_bytes
        if size > self._limit(kind):
            return None
        victims: list[Place] = []
        oldest = {one: self._unpinned(one) for one in self._shelves}
        heads = {one: head for one, rest in oldest.items() if (head := next(rest, None)) is not None}
        while own > 0 or over > 0:
            among = [one for one in heads if one == kind or own <= 0]
            if not among:
                return None
            victim = min(among, key=lambda one: heads[one][1].used)
            key, entry = heads.pop(victim)
            victims.append((victim, key))
            over -= entry.bytes
            own -= entry.bytes if victim == kind else 0
            if (head := next(oldest[victim], None)) is not None:
                heads[victim] = head
        return victims

    def _unpinned(self, kind: str) -> Iterator[tuple[Hashable, _Entry]]:
        return ((key, entry) for key, entry in self._shelves[kind].items() if (kind, key) not in self._pins)

    def _remove(self, kind: str, key: Hashable) -> _Entry | None:
        entry = self._on(kind).pop(key, None)
        if entry is not None:
            self._bytes -= entry.bytes
            self._kinds[kind] -= entry.bytes
        return entry

    def _drop(self, wanted: Callable[[str, Hashable], bool], pinned: bool = True) -> int:
        with self._lock:
            places = [(kind, key) for kind, kept in self._shelves.items() for key in kept if wanted(kind, key)]
            if not pinned:
                places = [place for place in places if place not in self._pins]
            gone = [entry for kind, key in places if (entry := self._remove(kind, key)) is not None]
            for place in [place for place in self._making if wanted(*place)] if pinned else []:
                del self._making[place]  # what comes of it goes to those who wait for it already, and is not kept
        return self._let_go(gone)

    def _let_go(self, gone: list[_Entry]) -> int:
        """Outside the lock: a large value takes a moment to be freed, and whose destructor runs is not known."""
        freed = sum(entry.bytes for entry in gone)
        gone.clear()
        if freed:
            self._freed(freed)
        return freed

    def _once(
        self,
        kind: str,
        key: Hashable,
        make: Callable[[], Any],
        bytes_of: Callable[[Any], int],
        check: Callable[[], None],
    ) -> Any:
        place = (kind, key)
        while True:
            with self._lock:
                entry = self._touched(kind, key)
                if entry is not None:
                    return entry.value
                making = self._making.get(place)
                mine = making is None
                if making is None:
                    making = self._making[place] = _Making()
            if mine:
                return self._make(place, making, make, bytes_of)
            while not making.ended.wait(SECONDS_BETWEEN_CHECKS):
                check()
            if not making.failed:
                return making.value

    def _make(self, place: Place, making: _Making, make: Callable[[], Any], bytes_of: Callable[[Any], int]) -> Any:
        gone: list[_Entry] = []
        try:
            value = make()
            size = bytes_of(value)
            with self._lock:
                if self._making.get(place) is making:
                    gone = self._put_locked(*place, value, size)
            making.value, making.failed = value, False
            return value
        finally:
            with self._lock:
                if self._making.get(place) is making:
                    del self._making[place]
            making.ended.set()
            self._let_go(gone)

    @contextmanager
    def _pinned(self, kind: str, key: Hashable) -> Iterator[Any]:
        place = (kind, key)
        with self._lock:
            entry = self._touched(kind, key)
            self._pins[place] += 1
        try:
            yield None if entry is None else entry.value
        finally:
            with self._lock:
                self._pins[place] -= 1
                if not self._pins[place]:
                    del self._pins[place]


@dataclass(frozen=True)
class Shelf(Generic[Value]):
    """The values of one kind in a `BoundedCache`."""

    cache: BoundedCache
    kind: str

    @property
    def bytes(self) -> int:
        return self.cache._kinds[self.kind]

    @property
    def most_bytes(self) -> int:
        return self.cache._limit(self.kind)

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[Hashable]:
        """From the least recently used on."""
        with self.cache._lock:
            return list(self.cache._on(self.kind))

    def values(self) -> list[Value]:
        """From the least recently used on. To look at them is not to use them."""
        with self.cache._lock:
            return [entry.value for entry in self.cache._on(self.kind).values()]

    def get(self, key: Hashable) -> Value | None:
        """None where it is not kept. Whoever gets it has used it."""
        entry = self.cache._get(self.kind, key)
        return None if entry is None else cast(Value, entry.value)

    def put(self, key: Hashable, value: Value, size: int) -> bool:
        """Keep it, instead of what was kept for this key. size: bytes. Whether it is kept."""
        return self.cache._put(self.kind, key, value, size)

    def resize(self, key: Hashable, value: Value, size: int) -> None:
        """What is kept for this key has grown or shrunk; nothing where something else is kept by now."""
        self.cache._resize(self.kind, key, value, size)

    def once(
        self,
        key: Hashable,
        make: Callable[[], Value],
        bytes_of: Callable[[Value], int],
        check: Callable[[], None] = lambda: None,
    ) -> Value:
        """What is kept for this key, or what `make` makes: threads that want the same wait for one making of it.

        A making that fails is remembered by nobody: who waited for it tries for themselves. check: called again and
        again by who waits; what it raises ends the waiting, not the making. Raises: what `make` or `check` raises.
        """
        return cast(Value, self.cache._once(self.kind, key, make, bytes_of, check))

    def drop(self, wanted: Callable[[Any], bool] = lambda _: True) -> int:
        """Let go of those whose key is wanted away, also of those being made. Returns the bytes of what was kept."""
        return self.cache._drop(lambda kind, key: kind == self.kind and wanted(key))

    def pinned(self, key: Hashable) -> Any:
        """A context in which what is kept for this key makes way for nobody; it gives the value, None where none is."""
        return self.cache._pinned(self.kind, key)
