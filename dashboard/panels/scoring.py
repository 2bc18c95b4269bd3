"""Says that scores in view are not settled yet, and draws the page again when there are newer ones."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard.background.unsettled_scores import Scoring, scoring_now, so_far
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text.markup import bare
from dashboard.widgets.page import SECONDS_BETWEEN_POLLS, all_jobs

SECONDS_BETWEEN_LOOKS_AT_OTHER_WINDOWS = 2.0


def follow(session: Session, applications: Sequence[Application], drawn: Sequence[Scoring], about: str) -> None:
    """drawn: the scoring that the page was drawn from, of this window or another, which may begin some at any time.

    about: what to say of it.
    """

    def draw() -> None:
        jobs = all_jobs()
        jobs.heartbeat(session.id)
        now = {one.job.number for one in scoring_now(jobs, session.study, applications)}
        if now != {one.job.number for one in drawn} or not all(one.is_current for one in drawn):
            st.rerun()
        if about:
            st.caption(bare(about))

    with st.container(key="follow-scoring"):
        every = SECONDS_BETWEEN_POLLS if drawn else SECONDS_BETWEEN_LOOKS_AT_OTHER_WINDOWS
        st.fragment(draw, run_every=every)()


def furthest(drawn: Sequence[Scoring]) -> str:
    """How far each application is that has something to be seen: "qa: 64 of 512 examples, refining"."""
    said: dict[str, str] = {}
    for one in drawn:
        if one.shown is not None and one.application.title not in said:
            least = min((s for s in one.shown.scores.values() if s.examples), key=lambda s: s.examples, default=None)
            if least is not None:
                said[one.application.title] = so_far(least, one.shown.of)
    return "; ".join(f"{title}: {words}" for title, words in said.items())
