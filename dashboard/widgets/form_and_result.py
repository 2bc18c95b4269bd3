"""A form at the left, and at the right what the job that it starts has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from dashboard.background.jobs import Job
from dashboard.state.application import Application
from dashboard.state.session import Session, application_in_view
from dashboard.widgets.page import last_about, show_failure


def form_and_result(
    session: Session,
    applications: Sequence[Application],
    lane: str,
    about: str,
    form: Callable[[Session, Sequence[Application], Job | None], None],
    before: str,
    result: Callable[[Session, Job], None],
) -> None:
    """form, result: draw their side, with the window's last job of the lane that is about `about`. before: HTML, what
    stands at the right as long as there was none."""
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    left, right = st.columns([4, 7], gap="large")
    job = last_about(session, lane, about)
    with left:
        form(session, applications, job)
    with right:
        if job is None:
            st.html(before)
            return
        if job.state == "failed":
            show_failure(job)
        result(session, job)


def while_it_runs(job: Job, draw: Callable[[], None], seconds: float) -> None:
    """Draw now, and again every so many seconds until the job has ended."""
    if job.active:
        st.fragment(draw, run_every=seconds)()
    else:
        draw()


def application_choice(session: Session, applications: Sequence[Application], key: str) -> dict[str, Application]:
    """A choice among applications, of their titles, beginning with the one in view. Returns: by title, which is the
    widget's value."""
    titles = {application.title: application for application in applications}
    usual = list(titles).index(application_in_view(session, list(applications)).title)
    st.selectbox("Application", list(titles), index=usual, key=key)
    return titles
