"""One pass over the texts for all that need it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import torch

from asc_core.bounded_cache import BoundedCache
from asc_core.compress import Calibrations, Cut, StepContext, calibrations, settling
from asc_core.compress.calibration import GrowingCalibration
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.tiny import tiny

TASK, MANY = ToyTask(40), ToyTask(200)
calibration = sys.modules["asc_core.compress.calibration"]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    made: list[bool] = []

    class Counted(GrowingCalibration):
        def __init__(self, *args: Any, moments: bool, **options: Any):
            made.append(moments)
            super().__init__(*args, moments=moments, **options)

    monkeypatch.setattr(calibrations, "GrowingCalibration", Counted)
    return made


def test_a_calibration_serves_every_cut_of_the_same_weights_and_texts(passes: list[bool]) -> None:
    encoder, shared = tiny(), Calibrations(most=3)
    for repair in ("sequential", "reconstruction", "bias"):
        Cut(plan=half(encoder), repair=repair).apply(encoder, StepContext(TASK, calibrations=shared))
    assert passes == [False]
    shared.get(tiny(seed=1), TASK)
    shared.get(encoder, ToyTask(40, seed=1))
    assert len(passes) == 3
    shared.get(encoder, ToyTask(40))
    assert len(passes) == 3, "a task is what its texts are"
    shared.get(encoder, TASK, seed=1)
    shared.get(encoder, TASK, tokens=200)
    assert len(passes) == 5


def test_one_with_moments_serves_those_without_and_few_are_kept(passes: list[bool]) -> None:
    encoder, shared = tiny(), Calibrations(most=1)
    without = shared.get(encoder, TASK)
    assert shared.known(encoder, TASK, moments=True) is None
    full = shared.get(encoder, TASK, moments=True)
    assert shared.get(encoder, TASK) is full is not without
    shared.get(tiny(seed=1), TASK)
    assert shared.known(encoder, TASK, moments=False) is None
    assert passes == [False, True, False]


def test_two_threads_wait_for_one_pass_and_who_stops_leaves_it_to_the_other(passes: list[bool]) -> None:
    encoder, shared, stopped = tiny(), Calibrations(), Progress()
    stopped.cancel.set()
    with pytest.raises(Cancelled):
        shared.get(encoder, TASK, progress=stopped)
    passes.clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shared.get(encoder, TASK), range(4)))
    assert passes == [False]
    assert len({id(one) for one in found}) == 1


def test_half_of_it_can_be_used_while_the_rest_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "FIRST_TOKENS", 32)
    encoder, shared = tiny(), Calibrations()
    begun = shared.first(encoder, TASK)
    assert shared.known(encoder, TASK) is None
    whole = shared.get(encoder, TASK)
    assert begun.tokens < whole.tokens / 3
    assert whole.texts[0].hidden is begun.texts[0].hidden, "nothing is computed twice"
    assert shared.first(encoder, TASK) is whole is shared.known(encoder, TASK)


def test_who_is_cancelled_between_a_slice_and_its_judgement_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "FIRST_TOKENS", 32)
    encoder = tiny()
    wanted = Calibrations().get(encoder, TASK, until_settled=True)
    for cancelled_at in range(1, 60, 9):
        shared, stop = Calibrations(), Progress()
        stop.report = Countdown(cancelled_at, stop)
        with suppress(Cancelled):
            shared.get(encoder, TASK, stop, until_settled=True)
        found = shared.get(encoder, TASK, until_settled=True)
        assert found.tokens == wanted.tokens
        assert len(found.texts) == len(wanted.texts)


def test_as_many_tokens_as_were_enough_before_are_taken_without_judging_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "FIRST_TOKENS", 32)
    monkeypatch.setattr(settling, "HARDLY_LESS", 1.0)  # the second judgement ends it
    encoder, shared = tiny(), Calibrations()
    assert shared.needed(encoder, MANY) is None
    found = shared.get(encoder, MANY, until_settled=True)
    assert found.tokens == shared.needed(encoder, MANY) < shared.get(encoder, MANY).tokens
    later = Calibrations()
    later.remember_needed(encoder, MANY, found.tokens)
    monkeypatch.setattr(settling.Settling, "settled", None)
    assert later.get(encoder, MANY, until_settled=True).tokens == found.tokens


class Countdown:
    """Cancels at the n-th report."""

    def __init__(self, steps: int, progress: Progress):
        self.left, self.progress = steps, progress

    def __call__(self, done: int, total: int, what: str) -> None:
        self.left -= 1
        if self.left == 0:
            self.progress.cancel.set()


def test_what_is_held_is_made_once_also_where_it_is_larger_than_the_bound(
    passes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "FIRST_TOKENS", 32)
    encoder, shared = tiny(), Calibrations(most=None, kept=BoundedCache(1))
    with shared.held(encoder, MANY):
        first = shared.first(encoder, MANY)
        assert shared.more(encoder, MANY, first.tokens).tokens > first.tokens
        whole = shared.get(encoder, MANY)
        assert shared.known(encoder, MANY) is whole
    assert passes == [False]
    assert shared.known(encoder, MANY) is None


@pytest.mark.parametrize("settles", [False, True])
def test_who_is_cancelled_at_whatever_moment_changes_nothing(monkeypatch: pytest.MonkeyPatch, settles: bool) -> None:
    monkeypatch.setattr(calibration, "FIRST_TOKENS", 64)
    encoder, task = tiny(), ToyTask(60)
    reports: list[int] = []
    expected = Calibrations().get(encoder, task, Progress(lambda *_: reports.append(1)), until_settled=settles)
    assert len(expected.slices) > 2
    shared = Calibrations()
    for moment in range(1, len(reports) + 1):  # one after the other, on the same one: each goes on where it was left
        stopping = Progress()
        left = iter(range(moment))

        def stop(*_: object, progress: Progress = stopping, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                progress.cancel.set()

        stopping.report = stop
        with suppress(Cancelled):
            shared.get(encoder, task, stopping, until_settled=settles)
    fresh = [Calibrations() for _ in reports]
    for moment, one in enumerate(fresh):  # and each moment once, on one of its own
        stopping, count = Progress(), Counter[str]()

        def stop_at(*_: object, progress: Progress = stopping, count: Counter[str] = count, at: int = moment) -> None:
            count["reports"] += 1
            if count["reports"] > at:
                progress.cancel.set()

        stopping.report = stop_at
        with suppress(Cancelled):
            one.get(encoder, task, stopping, until_settled=settles)
    for one in (shared, *fresh):
        found = one.get(encoder, task, until_settled=settles)
        assert (found.tokens, found.slices) == (expected.tokens, expected.slices)
        for mine, theirs in zip(found.texts, expected.texts, strict=True):
            assert torch.equal(mine.hidden, theirs.hidden)
