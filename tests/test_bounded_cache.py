"""One bound for all that is kept for speed: never exceeded, least recently used first, made once, let go when asked."""

from __future__ import annotations

import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.bounded_cache import BoundedCache
from asc_core.errors import Cancelled, UserError

KINDS = ("states", "encoders", "calibrations")
Step = tuple[str, int, int, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.integers(0, 6), st.integers(0, 40), st.sampled_from(["put", "get", "once", "drop"])
    ),
    max_size=60,
)


def do(cache: BoundedCache, step: Step) -> None:
    kind, key, size, what = step
    shelf = cache.shelf(kind)
    if what == "put":
        shelf.put(key, (key, size), size)
    elif what == "get":
        shelf.get(key)
    elif what == "once":
        assert shelf.once(key, lambda: (key, size), lambda made: made[1])[0] == key
    else:
        shelf.drop(lambda other: other == key)


@given(STEPS, st.integers(0, 100))
def test_the_bound_holds_after_every_step_and_least_recently_used_goes_first(steps: list[Step], bound: int) -> None:
    """Against a model of it: one list of all kinds, least recently used first. One kind has a bound of its own."""
    cache = BoundedCache(bound)
    limits = dict.fromkeys(KINDS, bound) | {"states": bound // 2}
    cache.shelf("states", bound // 2)
    kept: list[tuple[tuple[str, int], int]] = []
    for step in steps:
        kind, key, size, what = step
        do(cache, step)
        before = next((one for one in kept if one[0] == (kind, key)), None)
        if before is not None and what != "drop":
            kept.remove(before)
            if what != "put":
                kept.append(before)
        elif what == "drop" and before is not None:
            kept.remove(before)
        if (what == "put" or (what == "once" and before is None)) and size <= limits[kind]:
            while sum(s for place, s in kept if place[0] == kind) + size > limits[kind]:
                kept.remove(next(one for one in kept if one[0][0] == kind))
            while sum(s for _, s in kept) + size > bound:
                kept.pop(0)
            kept.append(((kind, key), size))
        assert cache.bytes == sum(s for _, s in kept) <= bound
        for one in KINDS:
            assert cache.shelf(one).keys() == [place[1] for place, _ in kept if place[0] == one]
            assert cache.shelf(one).bytes == sum(s for place, s in kept if place[0] == one)


def test_the_bound_holds_at_any_time_under_threads() -> None:
    cache, seen, ended = BoundedCache(100), [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.append(cache.bytes)

    def use(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(2000):
            what = chance.choice(["put", "get", "once", "drop"])
            do(cache, (chance.choice(KINDS), chance.randrange(9), chance.randrange(50), what))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(use, range(6)))
    ended.set()
    watcher.join()
    assert max(seen) <= 100
    assert cache.bytes == sum(cache.by_kind().values())
    cache.free()
    assert cache.bytes == 0


@pytest.mark.parametrize(
    ("size", "kept"), [(1, ["a"]), (11, [])], ids=["kept", "too large, and handed to all the same"]
)
def test_threads_that_want_the_same_wait_for_one_making(size: int, kept: list[str]) -> None:
    shelf, gate = BoundedCache(10).shelf("encoders"), threading.Event()
    made: list[object] = []
    waiting: set[int] = set()

    def make() -> object:
        made.append(object())
        gate.wait(5)
        return made[-1]

    def check() -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 3:
            gate.set()

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(shelf.once, "a", make, lambda _: size, check) for _ in range(4)]
        assert {id(future.result()) for future in futures} == {id(made[0])}
    assert len(made) == 1
    assert shelf.keys() == kept


def test_other_keys_can_be_made_while_one_is_on_its_way() -> None:
    shelf = BoundedCache(10).shelf("tasks")
    assert shelf.once("cost", lambda: shelf.once("task", lambda: 2, lambda _: 1) + 1, lambda _: 1) == 3
    assert shelf.keys() == ["task", "cost"]


def test_a_failure_is_not_remembered_and_who_waited_tries_for_itself() -> None:
    shelf, gate, answers = BoundedCache(10).shelf("tasks"), threading.Event(), [UserError("broken"), "loaded"]

    def make() -> Any:
        gate.wait(5)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(shelf.once, "a", make, lambda _: 1) for _ in range(2)]
        gate.set()
        outcomes = [future.exception() or future.result() for future in futures]
    assert sorted(map(str, outcomes)) == ["broken", "loaded"]
    assert shelf.get("a") == "loaded"


def test_who_waits_can_give_up_and_the_making_goes_on() -> None:
    shelf, begun, gate = BoundedCache(10).shelf("calibrations"), threading.Event(), threading.Event()

    def make() -> str:
        begun.set()
        gate.wait(5)
        return "made"

    def give_up() -> None:
        raise Cancelled("enough")

    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(shelf.once, "a", make, lambda _: 1)
        begun.wait(5)
        with pytest.raises(Cancelled):
            shelf.once("a", make, lambda _: 1, check=give_up)
        gate.set()
        assert making.result() == "made"
    assert shelf.get("a") == "made"


def test_what_is_pinned_makes_way_for_nobody() -> None:
    cache = BoundedCache(10)
    shelf, other = cache.shelf("encoders"), cache.shelf("states")
    shelf.put("a", "first", 6)
    with shelf.pinned("a") as value, shelf.pinned("b") as absent:
        assert (value, absent) == ("first", None)
        assert cache.room == 4
        assert not other.put("large", "?", 5), "nothing else goes for what does not fit all the same"
        assert other.put("small", "!", 4)
        assert cache.free() == 4
        shelf.put("a", "second", 7)  # another value for a pinned key is pinned as well
        assert cache.room == 3
    assert cache.room == 10
    assert other.put("large", "?", 5)
    assert shelf.get("a") is None


def test_nothing_is_let_go_for_what_is_too_large() -> None:
    shelf = BoundedCache(10).shelf("states")
    shelf.put("a", 1, 10)
    assert not shelf.put("b", 2, 11)
    assert shelf.keys() == ["a"]


class Large:
    pass


def test_what_is_let_go_is_freed_and_said() -> None:
    freed: list[int] = []
    cache = BoundedCache(10, freed.append)
    shelf = cache.shelf("states")
    values = [Large() for _ in range(3)]
    alive = [weakref.ref(value) for value in values]
    for key in range(3):
        shelf.put(key, values.pop(0), 4)
    assert [one() is not None for one in alive] == [False, True, True]
    assert shelf.drop(lambda key: key == 1) == 4
    assert cache.free() == 4
    assert [one() for one in alive] == [None] * 3
    assert freed == [4, 4, 4]


def test_what_was_dropped_while_it_was_made_is_not_kept() -> None:
    shelf = BoundedCache(10).shelf("tasks")

    def make() -> str:
        shelf.drop(lambda key: key == "a")  # the file is corrected while it is read
        return "old"

    assert shelf.once("a", make, lambda _: 1) == "old"
    assert shelf.once("a", lambda: "new", lambda _: 1) == "new"


def test_what_has_grown_takes_more_and_only_while_it_is_kept() -> None:
    cache = BoundedCache(10)
    tasks = cache.shelf("texts")
    first, second = object(), object()
    tasks.put("a", first, 1)
    cache.shelf("states").put("b", 1, 8)
    tasks.resize("a", first, 3)
    assert cache.by_kind() == {"texts": 3}
    tasks.resize("a", second, 5)
    assert cache.bytes == 3, "another value is kept under this key"
    tasks.drop()
    tasks.resize("a", first, 3)
    assert cache.bytes == 0, "it is not kept any more"


def test_looking_at_values_does_not_use_them() -> None:
    shelf = BoundedCache(2).shelf("encoders")
    shelf.put("a", 1, 1)
    shelf.put("b", 2, 1)
    assert shelf.values() == [1, 2]
    shelf.put("c", 3, 1)
    assert shelf.keys() == ["b", "c"]
