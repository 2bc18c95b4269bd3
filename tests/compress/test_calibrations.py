"""One pass over the texts for all that need it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asc_core.compress import Calibrations, Cut, StepContext, calibrations
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.tiny import tiny

TASK = ToyTask(40)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    made: list[bool] = []

    def calibrate(*args: Any, moments: bool, progress: Progress, **options: Any) -> Any:
        made.append(moments)
        return real(*args, moments=moments, progress=progress, **options)

    real = calibrations.calibrate
    monkeypatch.setattr(calibrations, "calibrate", calibrate)
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
