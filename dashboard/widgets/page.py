"""What every page stands in: this window's session, the process's jobs and models, messages, and running work."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from asc_core.errors import UserError
from asc_core.progress import SCORING
from dashboard.background.jobs import Job, Jobs, Work, active
from dashboard.charts.palette import Scale
from dashboard.state import session as sessions
from dashboard.state.loaded import LoadedModels
from dashboard.state.session import Session
from dashboard.state.user import user_of
from dashboard.text import numbers
from dashboard.text.markup import bare, escape

SECONDS_BETWEEN_POLLS = 0.4
SECONDS_BETWEEN_BARS = 1.0  # of long work: each drawing takes server and browser time from it
CHART_CONFIG = {"displayModeBar": False}
TAKEN_BACK = "The page could not be drawn with the last change, so it was taken back."


@st.cache_resource(show_spinner=False)
def all_jobs() -> Jobs:
    return Jobs(nobody_here=models().free)


@st.cache_resource(show_spinner=False)
def models() -> LoadedModels:
    return LoadedModels()


def this_session() -> Session:
    """The window's session; where its study cannot be opened the page says so and ends here."""
    try:
        session = sessions.current(st.session_state, st.query_params.to_dict(), _user())
    except UserError as error:
        st.error(bare(str(error)), icon=":material/error:")
        st.stop()
    all_jobs().attach(session.id, session.folder, _connected())
    for message in session.messages:
        st.warning(bare(message), icon=":material/info:")
    session.messages.clear()
    return session


def _user() -> str | None:
    return user_of(st.context.headers if runtime.exists() else {})


def _connected() -> Callable[[], bool]:
    """Whether the browser window that is being drawn is still there; outside a server it always is."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or not runtime.exists():
        return lambda: True
    return partial(runtime.get_instance().is_active_session, context.session_id)


@contextmanager
def errors_in_page() -> Iterator[None]:
    """The user's mistakes in one sentence, ours with the details folded away. Streamlit's own signals pass."""
    try:
        yield
        _session_of_this_window(Session.drew)
    except UserError as error:
        st.error(bare(str(error)), icon=":material/error:")
    except Exception as error:
        if _session_of_this_window(Session.take_back):
            _session_of_this_window(lambda session: session.messages.append(TAKEN_BACK))
            st.rerun()
        st.error(bare(f"Something went wrong on this page ({type(error).__name__}). Nothing that was saved is lost."))
        with st.expander("Details"):
            st.code(traceback.format_exc())


def _session_of_this_window(do: Callable[[Session], Any]) -> Any:
    session = st.session_state.get(sessions.KEY)
    return do(session) if isinstance(session, Session) else None


def write_address(session: Session) -> None:
    """A view is a link: what is in view is in the address bar."""
    wanted = sessions.address(session)
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def show_failure(job: Job) -> None:
    st.error(bare(job.error or "It failed."), icon=":material/error:")
    if job.details:
        with st.expander("Details"):
            st.code(job.details)


def load(session: Session, key: str, title: str, work: Work, place: str = "loading") -> None:
    """Work that the page cannot do without: start it, show how far it is, draw the page again when it has ended.

    Called only while its result is missing; so work that has ended before is begun anew. place: where on the page, in
    case that it waits for several things.
    """
    jobs = all_jobs()
    job = jobs.last(session.id, "load", key)
    if job is not None and job.state == "failed":
        show_failure(job)
        if not st.button("Try again", key=f"{place}-again", icon=":material/refresh:"):
            return
    if job is None or not job.active:
        job = jobs.start(session.id, "load", key, title, work)
    poll(job, place)


def last_about(session: Session, lane: str, what: str) -> Job | None:
    """This window's last job of a lane whose key begins with `what`."""
    return next((job for job in all_jobs().of(session.id, lane) if job.key.partition("|")[0] == what), None)


def poll(job: Job, key: str) -> None:
    """The progress of a job; the page is drawn again when it has ended."""

    def draw() -> None:
        all_jobs().heartbeat(job.session)
        if not job.active:
            st.rerun()
        st.progress(job.share, text=bare(progress_text(job)))

    with st.container(key=key):
        st.fragment(draw, run_every=SECONDS_BETWEEN_POLLS)()


def progress_text(job: Job) -> str:
    if job.cancelling:
        return f"{job.title}: stopping"
    if job.state == "waiting":
        return f"{job.title}: waiting for its turn"
    done, total, what = job.reported
    left = job.seconds_left
    rest = f", {numbers.duration(left)} left" if left is not None and left > 2 else ""
    said = "" if job.progress.phase == SCORING else f" {what}"  # the title says what is scored
    counted = f" {done:,} of {total:,}" if total > 3 else ""
    return f"{job.title}:{said}{counted}{rest}"


def running_work(session: Session, lanes: tuple[str, ...] = ("score", "export", "explore")) -> None:
    """A line for each piece of long work of this window, with a way to stop it, and one for all that wait their turn.

    Nothing where there is none.
    """
    jobs = all_jobs()

    def draw() -> None:
        jobs.heartbeat(session.id)
        running = active(job for lane in lanes for job in jobs.of(session.id, lane))
        if not running:
            st.rerun()
        waiting = [job for job in running[::-1] if job.state == "waiting" and not job.cancelling]
        for job in (job for job in running[::-1] if job.state != "waiting"):
            bar, stop = st.columns([8, 1], vertical_alignment="center")
            bar.progress(job.share, text=bare(progress_text(job)))
            stop.button("Cancel", key=f"cancel-{job.number}", on_click=job.cancel, disabled=job.cancelling)
        if waiting:
            names, stop = st.columns([8, 1], vertical_alignment="center")
            names.caption(bare(f"Then: {', '.join(job.title for job in waiting)}"))
            stop.button("Cancel", key="cancel-waiting", on_click=_cancel, args=(waiting,))

    with st.container():  # also where there is none: what stands below keeps its place, and tabs their choice
        if active(job for lane in lanes for job in jobs.of(session.id, lane)):
            with st.container(key="running-work", border=True):
                st.fragment(draw, run_every=SECONDS_BETWEEN_BARS)()


def _cancel(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.cancel()


def scale_legend(scale: Scale, ends: tuple[str, str]) -> None:
    """One colour scale for all maps above it."""
    stops = ", ".join(f"{colour} {100 * place:.0f}%" for place, colour in scale)
    bar = f"<i style='background:linear-gradient(90deg,{stops})'></i>"
    st.html(f"<div class='asc-scale'><span>{escape(ends[0])}</span>{bar}<span>{escape(ends[1])}</span></div>")
