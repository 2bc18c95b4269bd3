"""Long work off the script thread, with progress and cancel.

A worker never touches streamlit: it gets a `Job`, reports through it, and its result is read by whoever polls. Work
waits in lanes, each with threads of its own, so that a click is not stuck behind ten minutes of scoring and a latency
measurement has nothing of ours beside it in its own lane. Jobs belong to a browser session; nobody sees or ends
another's, except that the same scoring of the same study is not done twice, and that a new window takes over what a
closed one has left of the same study: a reloaded page is a new window. What nobody takes over in time ends where only
a window would have shown it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

from asc_core.errors import Cancelled, UserError
from asc_core.machine_memory import give_back
from asc_core.progress import Progress

State = Literal["waiting", "running", "done", "cancelled", "failed"]
Work = Callable[["Job"], Any]
Result = TypeVar("Result")

LANES = {"score": 1, "evaluate": 2, "latency": 1, "load": 3, "export": 1, "explore": 1, "background": 1, "ahead": 1}
FOREGROUND = ("evaluate", "latency")  # someone looks at the place where the number will stand
ASIDE = ("background", "ahead")  # nobody waits for these
GOES_ON_WITHOUT_A_WINDOW = ("score", "export", "load")  # these leave behind what was asked for; the rest was to be seen
SECONDS_AT_MOST = {"load": 3600.0}  # of a job; others may take as long as they say that they do
SECONDS_TO_STOP = 60.0  # that a cancelled job may take to notice; after that its thread is left to itself
KEPT_FINISHED_PER_SESSION = 12
SECONDS_BETWEEN_POLLS = 0.05
SECONDS_BETWEEN_SWITCHES = 0.0005
SECONDS_UNTIL_A_SESSION_IS_GONE = 90.0
SECONDS_UNTIL_NOBODY_IS_HERE = 45.0  # no window, no work: then memory is given back
SECONDS_BETWEEN_ROUNDS = 5.0


@dataclass(eq=False)
class Job:
    """One piece of work. lane: where it waits. key: what it is about, such as an application's name or a plan's key.

    progress: what the work reports through and is cancelled by. reported: (done, total, what). latest: the newest
    intermediate result that the work has shown. error: one sentence where the user can do something about it; details:
    the traceback, where the fault is ours.
    """

    session: str
    lane: str
    key: str
    title: str
    number: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "waiting"
    reported: tuple[int, int, str] = (0, 0, "")
    latest: Any = None
    result: Any = None
    error: str | None = None
    details: str | None = None
    created: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    progress: Progress = field(init=False)
    _finished: threading.Event = field(default_factory=threading.Event)
    _ending: threading.Lock = field(default_factory=threading.Lock)
    _cancelled_at: float | None = None

    def __post_init__(self) -> None:
        self.progress = Progress(report=self._report)

    def _report(self, done: int, total: int, what: str) -> None:
        self.reported = (done, total, what)

    def show(self, latest: Any) -> None:
        """Make an intermediate result visible. Raises: Cancelled if nobody wants it any more."""
        if self.progress.cancel.is_set():
            raise Cancelled(self.title)
        self.latest = latest

    def cancel(self) -> None:
        """Ask it to stop; work that has not begun never begins."""
        if self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
        self.progress.cancel.set()

    @property
    def cancelling(self) -> bool:
        return self.progress.cancel.is_set()

    @property
    def active(self) -> bool:
        return self.state in ("waiting", "running")

    @property
    def share(self) -> float:
        done, total, _ = self.reported
        return min(done / total, 1.0) if total else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None while there is nothing to go by."""
        if self.started is None or not 0.02 < self.share < 1:
            return None
        passed = time.monotonic() - self.started
        return passed * (1 - self.share) / self.share

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within that time. For tests and for other workers, never for a page."""
        return self._finished.wait(seconds)

    def run(self, work: Work) -> None:
        if self.cancelling:
            self._end("cancelled")
            return
        self.state, self.started = "running", time.monotonic()
        try:
            result = work(self)
        except Cancelled:
            self._end("cancelled")
        except UserError as error:
            self._end("failed", error=str(error))
        except BaseException as error:  # a library's panic is no Exception, and would take the lane's thread with it
            said = f"Something went wrong here ({type(error).__name__}: {error}). Nothing that was saved is lost."
            self._end("failed", error=said, details=traceback.format_exc())
        else:
            self._end("done", result=result)

    def give_up(self) -> bool:
        """Say that it has ended where it does not end by itself in time. Whether that had to be."""
        if self.state != "running" or self.started is None:
            return False
        now, limit = time.monotonic(), SECONDS_AT_MOST.get(self.lane)
        if self._cancelled_at is not None and now - max(self._cancelled_at, self.started) > SECONDS_TO_STOP:
            return self._end("cancelled")
        if limit is not None and now - self.started > limit:
            self.cancel()
            said = f"{self.title} has taken more than {limit / 60:.0f} minutes and was given up."
            return self._end("failed", error=said)
        return False

    def _end(self, state: State, result: Any = None, error: str | None = None, details: str | None = None) -> bool:
        """Whether it had not ended before: who was given up may still come to an end."""
        with self._ending:
            if self._finished.is_set():
                return False
            self.ended = time.monotonic()
            self.result, self.error, self.details = result, error, details
            self.state = state
            self._finished.set()
            return True


class Jobs:
    """All work of this process. One object, kept in `st.cache_resource`.

    nobody_here: called once whenever the last window has been closed for a while and no work is left.
    """

    def __init__(self, nobody_here: Callable[[], object] = lambda: None) -> None:
        # A worker gives the interpreter away for every tensor operation, and gets it back only when the thread that
        # draws a page is made to let go: after 5 ms, which many operations would wait for again and again.
        sys.setswitchinterval(SECONDS_BETWEEN_SWITCHES)
        self._lock = threading.Lock()
        self._nobody_here, self._last_here, self._told = nobody_here, time.monotonic(), True
        self._shut, self._worked = threading.Event(), False
        self._jobs: list[Job] = []
        self._seen: dict[str, float] = {}
        self._windows: dict[str, tuple[Path, Callable[[], bool]]] = {}
        self._lanes: dict[str, SimpleQueue[Callable[[], None] | None]] = {lane: SimpleQueue() for lane in LANES}
        self._threads: list[threading.Thread] = []
        self._at_work: dict[Job, threading.Thread] = {}
        self._left: set[threading.Thread] = set()  # with work that was given up
        for lane, workers in LANES.items():
            for _ in range(workers):
                self._begin_thread(lane)
        threading.Thread(target=self._end_with_the_process, name="asc-end", daemon=True).start()
        threading.Thread(target=self._rounds, name="asc-rounds", daemon=True).start()

    def heartbeat(self, session: str) -> None:
        """A browser session has just been heard of."""
        self._seen[session] = time.monotonic()

    def attach(self, session: str, study: Path, connected: Callable[[], bool]) -> None:
        """A window draws a page of a study. A new one takes over the work that closed ones have left of that study.

        connected: whether the window is still there.
        """
        study = study.absolute()
        with self._lock:
            new = session not in self._windows
            self._told = False
            self._windows[session] = study, connected
            if new:
                closed = {
                    other
                    for other, (of, there) in self._windows.items()
                    if other != session and of == study and not there()
                }
                for job in self._jobs:
                    if job.session in closed and job.active:
                        job.session = session
                for other in closed:
                    del self._windows[other]
        self.heartbeat(session)

    def stale(self, session: str) -> bool:
        """Whether nothing has been heard of a session for long: nothing moves in its window, or it is closed."""
        return time.monotonic() - self._seen.get(session, -1e9) > SECONDS_UNTIL_A_SESSION_IS_GONE

    def gone(self, session: str) -> bool:
        """Whether a session's window was closed, and too long ago for a reload."""
        _, there = self._windows.get(session, (None, None))
        return self.stale(session) and (there is None or not there())

    def tend(self) -> None:
        """End what only a closed window would have shown, forget its results, and say when nobody is left.

        Where nobody waits for work, what it has freed goes back to the system: between two moves of a slider it would
        be wanted again.
        """
        self._give_up()
        with self._lock:
            sessions = {job.session for job in self._jobs} | self._windows.keys()
            gone = {session for session in sessions if self.gone(session)}
            closed = {session for session, (_, there) in self._windows.items() if not there()}
            running = [job for job in self._jobs if job.active]
            self._forget_old()
            for session in gone:
                self._windows.pop(session, None)
            waited_for = any(job.lane not in ASIDE for job in running)
            rest, self._worked = self._worked and not waited_for, self._worked and bool(running)
            if running or self._windows.keys() - closed:
                self._last_here = time.monotonic()
                tell = False
            else:
                tell = not self._told and time.monotonic() - self._last_here > SECONDS_UNTIL_NOBODY_IS_HERE
            self._told = self._told or tell
        for job in running:
            unseen = job.session in gone and job.lane not in GOES_ON_WITHOUT_A_WINDOW
            if unseen or (job.session in closed and job.lane in ASIDE):  # after a reload they begin where they were
                job.cancel()
        if tell:
            self._nobody_here()
        if tell or rest:
            give_back()

    def _give_up(self) -> None:
        """What does not end is said to have ended, and its lane gets another thread: one cannot be stopped."""
        for lane in self._leave_what_does_not_stop():
            self._begin_thread(lane)

    def _leave_what_does_not_stop(self) -> list[str]:
        """The lanes that now lack a thread."""
        with self._lock:
            given_up = [(job, thread) for job, thread in self._at_work.items() if job.give_up()]
            self._left |= {thread for _, thread in given_up}
            self._threads = [thread for thread in self._threads if thread not in self._left]
        return [job.lane for job, _ in given_up]

    def _begin_thread(self, lane: str) -> None:
        thread = threading.Thread(target=self._work, args=(self._lanes[lane],), name=f"asc-{lane}")
        self._threads.append(thread)
        thread.start()

    def _work(self, waiting: SimpleQueue[Callable[[], None] | None]) -> None:
        """What a thread of a lane does, until it is told that there is no more or was left with its work."""
        while threading.current_thread() not in self._left and (run := waiting.get()) is not None:
            run()
            del run  # while the thread waits, what the work held can go

    def _run(self, job: Job, work: Work) -> None:
        with self._lock:
            self._at_work[job] = threading.current_thread()
        try:
            job.run(work)
        finally:
            with self._lock:
                del self._at_work[job]

    def _rounds(self) -> None:
        while not self._shut.wait(SECONDS_BETWEEN_ROUNDS):
            self.tend()

    def start(self, session: str, lane: str, key: str, title: str, work: Work, alone: bool = False) -> Job:
        """alone: cancel this session's other jobs of the lane first (a newer evaluation makes the older pointless)."""
        if alone:
            self.cancel(session, lane)
        job = Job(session, lane, key, title)
        with self._lock:
            self._jobs.append(job)
            self._worked = True
            self._forget_old()
        self._lanes[lane].put(partial(self._run, job, work))
        return job

    def forget(self, job: Job) -> None:
        """Take it out of the list: a page that finds no job starts a new one."""
        job.cancel()
        with self._lock:
            self._jobs = [other for other in self._jobs if other is not job]

    def cancel(self, session: str, lane: str) -> None:
        for job in self.of(session, lane):
            if job.active:
                job.cancel()

    def of(self, session: str, lane: str | None = None) -> list[Job]:
        """A session's jobs, newest first."""
        with self._lock:
            return [j for j in reversed(self._jobs) if j.session == session and lane in (None, j.lane)]

    def last(self, session: str, lane: str, key: str | None = None) -> Job | None:
        return next((job for job in self.of(session, lane) if key in (None, job.key)), None)

    def running(self, lane: str, key: str) -> Job | None:
        """Of any session: work that is already being done need not be done twice."""
        with self._lock:
            return next(
                (j for j in self._jobs if j.lane == lane and j.key == key and j.active and not j.cancelling), None
            )

    def about(self, lane: str, what: str) -> list[Job]:
        """Work of any session that has not ended and whose key begins with `what`, newest first."""
        with self._lock:
            return [j for j in reversed(self._jobs) if j.lane == lane and j.active and j.key.startswith(what)]

    def yield_to(self, job: Job, lanes: Iterable[str]) -> None:
        """Wait for as long as this session has work in these lanes. Called between two batches of less urgent work."""
        while not job.cancelling and any(one.active for lane in lanes for one in self.of(job.session, lane)):
            time.sleep(SECONDS_BETWEEN_POLLS)

    def patiently(self, job: Job, lanes: Iterable[str], work: Callable[[Progress], Result]) -> Result:
        """Less urgent work that nobody ever waits for: as soon as anyone has work in these lanes it lets go of all that
        it holds, by being cancelled, and begins again afterwards with what it has kept.

        How far it is stays the job's own to say. Raises: Cancelled, when the job is.
        """

        def report(done: int, total: int, what: str) -> None:
            if self._busy(lanes):
                raise Cancelled(what)

        while True:
            while self._busy(lanes) and not job.cancelling:
                time.sleep(SECONDS_BETWEEN_POLLS)
            job.progress.check()
            try:
                return work(Progress(report, job.progress.cancel))
            except Cancelled:
                job.progress.check()

    def _busy(self, lanes: Iterable[str]) -> bool:
        with self._lock:
            return any(job.active and job.lane in lanes for job in self._jobs)

    def shutdown(self) -> None:
        """Cancel everything and wait until it has ended."""
        self._shut.set()
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        for lane, workers in LANES.items():
            for _ in range(workers):
                self._lanes[lane].put(None)
        for thread in self._threads:
            while thread.is_alive() and thread not in self._left:
                thread.join(SECONDS_BETWEEN_POLLS)
                self._leave_what_does_not_stop()

    def _end_with_the_process(self) -> None:
        """Python waits for its threads before it ends: whoever stops the server should not wait for hours of scoring,
        which goes on where it was. (An executor's threads are waited for before anything can be told to stop.)"""
        threading.main_thread().join()
        self.shutdown()
        if any(thread.is_alive() for thread in self._left):
            os._exit(0)  # Python would wait for what never ends

    def _forget_old(self) -> None:
        """Results can be whole models: keep the newest few of a living session, nothing of one that is gone."""
        kept: dict[str, int] = {}
        remaining: list[Job] = []
        for job in reversed(self._jobs):
            kept[job.session] = kept.get(job.session, 0) + (not job.active)
            if job.active or (kept[job.session] <= KEPT_FINISHED_PER_SESSION and not self.gone(job.session)):
                remaining.append(job)
        self._jobs = remaining[::-1]


def active(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.active]
