"""The original is measured once: in slices, by whoever comes, and on from where somebody was stopped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asc_core.errors import Cancelled
from asc_core.evaluate import PerExampleResult, measure
from asc_core.progress import Progress
from asc_core.study import Study
from dashboard.measuring import baseline as module
from dashboard.measuring.baseline import Baseline
from tests.evaluate.toy_tasks import encoder_for, toy_task

TASK = toy_task("text-classification", validation=300)
ENCODER = encoder_for(TASK)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.open(tmp_path / "study")


def ignore(outcome: PerExampleResult) -> None:
    pass


def begun(study: Study, finished: Callable[[PerExampleResult], None] = ignore) -> Baseline:
    return Baseline(ENCODER, TASK, "validation", study, finished)


def first_slices(monkeypatch: pytest.MonkeyPatch) -> list[PerExampleResult]:
    """Fills up with all slices that anyone measures from now on."""
    seen: list[PerExampleResult] = []
    measuring = module.measuring

    def noticed(*arguments: Any, **named: Any) -> Any:
        for outcome in measuring(*arguments, **named):
            seen.append(outcome)
            yield outcome

    monkeypatch.setattr(module, "measuring", noticed)
    monkeypatch.setattr(sys.modules["asc_core.evaluate.per_example"], "_first_slice", lambda *_: 64)
    return seen


def test_only_as_much_is_measured_as_is_asked_for(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = first_slices(monkeypatch)
    ended: list[PerExampleResult] = []
    original = begun(study, ended.append)
    part = original.on(np.array([], dtype=np.int64), Progress())
    assert (len(part), len(seen), ended) == (64, 1, [])
    assert original.on(part.numbers, Progress()) is part
    whole = original.whole(Progress())
    assert whole.complete
    assert len(ended) == 1
    assert original.whole(Progress()) is whole
    expected = measure(ENCODER, TASK)
    assert np.array_equal(whole.numbers, expected.numbers)
    assert np.allclose(whole.statistics, expected.statistics)
    assert sum(len(b) - len(a) for a, b in zip([part, *seen[1:]], seen[1:], strict=False)) == 300 - 64


def test_another_process_goes_on_with_what_was_measured(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = first_slices(monkeypatch)
    begun(study).on(np.array([], dtype=np.int64), Progress())
    del seen[:]
    begun(study).whole(Progress())
    assert seen[0].before == 64
    del seen[:]
    begun(study).whole(Progress())
    assert seen == []


def test_a_cancelled_measurement_keeps_its_slices(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    first_slices(monkeypatch)
    original, progress = begun(study), Progress()

    def stop(done: int, total: int, what: str) -> None:
        if done >= 64:
            progress.cancel.set()

    progress.report = stop
    with pytest.raises(Cancelled):
        original.whole(progress)
    kept = original.on(np.array([], dtype=np.int64), Progress())
    assert 64 <= len(kept) < 300


def test_two_that_want_it_share_one_measurement(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = first_slices(monkeypatch)
    original = begun(study)
    found: list[PerExampleResult] = []
    threads = [threading.Thread(target=lambda: found.append(original.whole(Progress()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 3
    assert all(outcome is found[0] for outcome in found)
    assert len({len(outcome) for outcome in seen}) == len(seen)


def test_who_waits_for_another_can_be_cancelled(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    original, unwanted = begun(study), Progress()
    unwanted.cancel.set()
    with original._measuring, pytest.raises(Cancelled):
        original.whole(unwanted)


def test_what_is_there_already_is_given_while_another_measures_the_rest(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_slices(monkeypatch)
    original, gate, begun_rest = begun(study), threading.Event(), threading.Event()
    part = original.on(np.array([], dtype=np.int64), Progress())

    def held(done: int, total: int, what: str) -> None:
        begun_rest.set()
        gate.wait(60)

    rest = threading.Thread(target=lambda: original.whole(Progress(held)))
    rest.start()
    assert begun_rest.wait(60)
    assert original.on(part.numbers, Progress()) is part
    assert rest.is_alive()
    gate.set()
    rest.join(60)
    assert original.whole(Progress()).complete
