from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from asc_core.errors import UserError
from dashboard.background import jobs as jobs_module
from dashboard.background.jobs import KEPT_FINISHED_PER_SESSION, Job, Jobs


@pytest.fixture(autouse=True)
def no_rounds_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests call `tend` themselves."""
    monkeypatch.setattr(jobs_module, "SECONDS_BETWEEN_ROUNDS", 1e6)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    for session in ("a", "b"):
        made.heartbeat(session)
    yield made
    made.shutdown()


def until_cancelled(job: Job) -> None:
    for step in range(10_000):
        job.progress.step(step, 10_000, "steps")
        job.progress.cancel.wait(0.01)


def test_a_job_shows_progress_then_its_result(jobs: Jobs) -> None:
    go_on = threading.Event()

    def work(job: Job) -> str:
        job.progress.step(3, 4, "texts")
        job.show("first")
        go_on.wait(5)
        return "all"

    job = jobs.start("a", "evaluate", "key", "title", work)
    while job.latest is None:
        assert not job.wait(0.01)
    assert (job.state, job.reported, job.share, job.latest) == ("running", (3, 4, "texts"), 0.75, "first")
    go_on.set()
    assert job.wait(5)
    assert (job.state, job.result, job.error) == ("done", "all", None)


def test_a_cancelled_job_ends_soon_and_keeps_no_result(jobs: Jobs) -> None:
    job = jobs.start("a", "evaluate", "key", "title", until_cancelled)
    job.cancel()
    assert job.wait(1)
    assert (job.state, job.result, job.error) == ("cancelled", None, None)


def test_a_job_that_was_cancelled_while_it_waited_never_begins(jobs: Jobs) -> None:
    begun: list[int] = []
    first = jobs.start("a", "score", "one", "title", until_cancelled)
    second = jobs.start("a", "score", "two", "title", lambda job: begun.append(1))
    second.cancel()
    first.cancel()
    assert second.wait(2)
    assert second.state == "cancelled"
    assert begun == []


def test_a_user_error_is_one_sentence_and_our_own_mistake_keeps_its_traceback(jobs: Jobs) -> None:
    def refuse(job: Job) -> None:
        raise UserError("data.tsv has no column 'label'.")

    def fail(job: Job) -> None:
        raise ZeroDivisionError("oops")

    refused, failed = (jobs.start("a", "load", "k", "t", work) for work in (refuse, fail))
    assert refused.wait(5)
    assert failed.wait(5)
    assert (refused.state, refused.error, refused.details) == ("failed", "data.tsv has no column 'label'.", None)
    assert failed.state == "failed"
    assert "ZeroDivisionError" in (failed.details or "")


def test_a_newer_evaluation_ends_the_older_one_of_the_same_session_only(jobs: Jobs) -> None:
    other = jobs.start("b", "evaluate", "theirs", "title", until_cancelled)
    older = jobs.start("a", "evaluate", "older", "title", until_cancelled)
    newer = jobs.start("a", "evaluate", "newer", "title", lambda job: 1, alone=True)
    assert older.wait(2)
    assert older.state == "cancelled"
    assert newer.wait(2)
    assert newer.result == 1
    assert other.active
    assert not other.cancelling


def test_a_session_sees_its_own_jobs_newest_first(jobs: Jobs) -> None:
    first = jobs.start("a", "load", "1", "t", lambda job: None)
    second = jobs.start("a", "load", "2", "t", lambda job: None)
    jobs.start("b", "load", "3", "t", lambda job: None)
    assert jobs.of("a") == [second, first]
    assert jobs.last("a", "load", "1") is first


def test_work_that_is_already_being_done_is_found_by_another_session(jobs: Jobs) -> None:
    job = jobs.start("a", "score", "study/nli", "t", until_cancelled)
    assert jobs.running("score", "study/nli") is job
    job.cancel()
    assert jobs.running("score", "study/nli") is None


def test_scoring_does_not_hold_up_an_evaluation(jobs: Jobs) -> None:
    jobs.start("a", "score", "long", "t", until_cancelled)
    assert jobs.start("a", "evaluate", "quick", "t", lambda job: 7).wait(2)


def test_old_results_are_forgotten(jobs: Jobs) -> None:
    for number in range(KEPT_FINISHED_PER_SESSION + 5):
        assert jobs.start("a", "load", str(number), "t", lambda job: None).wait(2)
    jobs.start("a", "load", "last", "t", lambda job: None).wait(2)
    assert len(jobs.of("a")) <= KEPT_FINISHED_PER_SESSION + 1


def test_a_session_that_was_not_heard_of_for_long_is_gone(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not jobs.stale("a")
    assert jobs.stale("never seen")
    monkeypatch.setattr(jobs_module, "SECONDS_UNTIL_A_SESSION_IS_GONE", -1.0)
    assert jobs.stale("a")


@pytest.mark.slow
def test_the_end_of_the_process_ends_its_jobs() -> None:
    script = """
from dashboard.background.jobs import Jobs

def for_ever(job):
    while True:
        job.progress.check()
        job.progress.cancel.wait(0.01)

jobs = Jobs()
job = jobs.start("a", "score", "key", "title", for_ever)
while job.state != "running":
    job.wait(0.01)
print("started")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "started\n"


def test_a_new_window_takes_over_what_a_closed_one_has_left(jobs: Jobs, tmp_path: Path) -> None:
    open_windows = {"closed", "elsewhere", "open"}
    for window, study in (("closed", "demo"), ("elsewhere", "other"), ("open", "demo")):
        jobs.attach(window, tmp_path / study, lambda window=window: window in open_windows)  # type: ignore[misc]
    begun = {window: jobs.start(window, "score", window, "t", until_cancelled) for window in open_windows}
    ended = jobs.start("closed", "load", "k", "t", lambda job: None)
    assert ended.wait(2)
    jobs.attach("second", tmp_path / "demo", lambda: True)
    assert not jobs.of("second")
    open_windows -= {"closed", "elsewhere"}
    jobs.attach("second", tmp_path / "demo", lambda: True)
    assert not jobs.of("second")  # only a new window does
    jobs.attach("reloaded", tmp_path / "demo", lambda: True)
    assert jobs.of("reloaded") == [begun["closed"]]  # not another study's, not a window's that is there, nothing ended
    assert jobs.of("open") == [begun["open"]]


def test_a_reloaded_page_shows_and_ends_its_work(jobs: Jobs, tmp_path: Path) -> None:
    jobs.attach("before", tmp_path, lambda: False)
    job = jobs.start("before", "explore", "frontier|nli", "t", until_cancelled)
    jobs.attach("after", tmp_path, lambda: True)
    assert jobs.last("after", "explore") is job
    jobs.cancel("after", "explore")
    assert job.wait(2)
    assert job.state == "cancelled"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are gone, and nobody is here, as soon as their windows are closed."""
    monkeypatch.setattr(jobs_module, "SECONDS_UNTIL_A_SESSION_IS_GONE", -1.0)
    monkeypatch.setattr(jobs_module, "SECONDS_UNTIL_NOBODY_IS_HERE", -1.0)


def test_what_only_a_closed_window_would_have_shown_ends(jobs: Jobs, tmp_path: Path, at_once: None) -> None:
    open_windows = {"closed", "open"}
    for window in ("closed", "open"):
        jobs.attach(window, tmp_path, lambda window=window: window in open_windows)  # type: ignore[misc]
    lanes = ("evaluate", "latency", "explore", "background", "ahead", "score", "export")
    begun = {lane: jobs.start("closed", lane, "k", "t", until_cancelled) for lane in lanes}
    other = jobs.start("open", "evaluate", "k", "t", until_cancelled)
    jobs.tend()
    assert not any(job.cancelling for job in begun.values()), "its window is there"
    open_windows.remove("closed")
    jobs.tend()
    assert {lane for lane, job in begun.items() if not job.cancelling} == {"score", "export"}
    assert not other.cancelling
    jobs.attach("later", tmp_path, lambda: True)
    assert jobs.running("score", "k") is begun["score"]


def test_a_reload_finds_its_work_as_it_was(jobs: Jobs, tmp_path: Path) -> None:
    jobs.attach("before", tmp_path, lambda: False)
    job = jobs.start("before", "evaluate", "k", "t", until_cancelled)
    aside = jobs.start("before", "ahead", "k", "t", until_cancelled)
    jobs.tend()
    assert not job.cancelling, "closed a moment ago"
    assert aside.cancelling, "nobody will have waited for it"
    jobs.attach("after", tmp_path, lambda: True)
    assert jobs.last("after", "evaluate") is job


def test_a_quiet_window_keeps_what_has_ended_in_it(jobs: Jobs, tmp_path: Path, at_once: None) -> None:
    jobs.attach("quiet", tmp_path, lambda: True)
    ended = jobs.start("quiet", "export", "k", "t", lambda job: "the result")
    assert ended.wait(2)
    jobs.tend()
    assert jobs.of("quiet") == [ended]


def test_it_is_said_once_that_nobody_is_here(tmp_path: Path, at_once: None) -> None:
    said: list[int] = []
    jobs = Jobs(nobody_here=lambda: said.append(1))
    try:
        here = [True]
        jobs.tend()
        assert not said, "nobody was here yet"
        jobs.attach("a", tmp_path, lambda: here[0])
        scoring = jobs.start("a", "score", "k", "t", until_cancelled)
        jobs.tend()
        here[0] = False
        jobs.tend()
        assert not said, "there is work left"
        scoring.cancel()
        assert scoring.wait(2)
        jobs.tend()
        jobs.tend()
        assert said == [1]
        jobs.attach("b", tmp_path, lambda: False)
        jobs.tend()
        assert said == [1, 1]
    finally:
        jobs.shutdown()


def test_memory_goes_back_once_work_has_ended(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[int] = []
    monkeypatch.setattr(jobs_module, "give_back", lambda: given_back.append(1))
    jobs.tend()
    assert not given_back, "nothing has run"
    assert jobs.start("a", "load", "k", "t", lambda job: None).wait(2)
    going_on = jobs.start("a", "score", "k", "t", until_cancelled)
    jobs.tend()
    assert not given_back, "something runs"
    going_on.cancel()
    assert going_on.wait(2)
    jobs.tend()
    jobs.tend()
    assert given_back == [1]
    aside = jobs.start("a", "ahead", "k", "t", until_cancelled)
    jobs.tend()
    jobs.tend()
    assert given_back == [1] * 3, "nobody waits for what is done ahead"
    aside.cancel()


def test_rounds_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = threading.Event()
    monkeypatch.setattr(jobs_module, "SECONDS_BETWEEN_ROUNDS", 0.01)
    monkeypatch.setattr(Jobs, "tend", lambda self: rounds.set())
    jobs = Jobs()
    assert rounds.wait(5)
    jobs.shutdown()


def test_a_librarys_panic_ends_a_job_and_not_its_lane(jobs: Jobs) -> None:
    class PanicException(BaseException):
        """As pyo3's."""

    def panic(job: Job) -> None:
        raise PanicException("index out of bounds")

    broken = [jobs.start("a", "load", "k", "Adding", panic) for _ in range(jobs_module.LANES["load"] + 1)]
    assert jobs.start("b", "load", "k", "t", lambda job: 7).wait(5)
    assert [job.wait(5) and job.state for job in broken] == ["failed"] * len(broken)
    assert "index out of bounds" in (broken[0].error or "")


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What work waits for that looks at nothing else."""
    event = threading.Event()
    yield event
    event.set()


def test_work_that_outlives_its_limit_is_said_and_others_go_on(
    jobs: Jobs, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = jobs_module.LANES["load"]
    held = [jobs.start("a", "load", "k", "Adding", lambda job: stuck.wait(60)) for _ in range(workers)]
    waiting = jobs.start("b", "load", "k", "t", lambda job: 7)
    jobs.tend()
    assert not waiting.wait(0.2)
    monkeypatch.setitem(jobs_module.SECONDS_AT_MOST, "load", -1.0)
    jobs.tend()
    assert waiting.wait(5)
    assert waiting.state == "done"
    assert [job.state for job in held] == ["failed"] * workers
    assert "was given up" in (held[0].error or "")
    monkeypatch.setitem(jobs_module.SECONDS_AT_MOST, "load", 60.0)
    stuck.set()
    later = [jobs.start("b", "load", str(number), "t", lambda job: 7) for number in range(2 * workers)]
    assert all(job.wait(5) for job in later)
    assert held[0].state == "failed", "what comes after the end changes nothing"
    assert held[0].result is None


def test_what_does_not_notice_that_it_is_cancelled_is_left_to_itself(
    jobs: Jobs, stuck: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = jobs.start("a", "evaluate", "k", "t", lambda job: stuck.wait(60))
    while job.state != "running":
        assert not job.wait(0.01)
    job.cancel()
    jobs.tend()
    assert job.active, "it may still notice"
    monkeypatch.setattr(jobs_module, "SECONDS_TO_STOP", -1.0)
    jobs.tend()
    assert job.state == "cancelled"


@pytest.mark.slow
def test_a_process_ends_though_work_never_does() -> None:
    script = """
import time
from dashboard.background import jobs as module

module.SECONDS_TO_STOP = 0.5
jobs = module.Jobs()
job = jobs.start("a", "load", "key", "title", lambda job: time.sleep(1e6))
while job.state != "running":
    job.wait(0.01)
print("started", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "started\n"
