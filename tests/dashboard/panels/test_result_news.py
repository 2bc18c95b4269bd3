"""While a cut is measured its card is drawn anew when there is news, not all the time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dashboard.panels import result


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A job whose next estimate is there after three looks. looks: how often somebody looked in vain."""
    found = SimpleNamespace(active=True, latest="first", looks=0)

    def sleep(_: float) -> None:
        found.looks += 1
        if found.looks == 3:
            found.latest = "second"

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: 0.01 * found.looks)
    monkeypatch.setattr(result, "time", clock)
    return found


def test_a_drawing_waits_for_the_next_estimate(job: Any) -> None:
    result.wait_for_news(job, job.latest)
    assert job.looks == 3


def test_news_is_drawn_at_once(job: Any) -> None:
    result.wait_for_news(job, None)
    job.active = False
    result.wait_for_news(job, job.latest)
    assert job.looks == 0


def test_how_far_the_work_is_is_drawn_though_there_is_no_news(job: Any) -> None:
    job.looks = 3  # there will be none any more
    result.wait_for_news(job, job.latest)
    assert job.looks > 4
