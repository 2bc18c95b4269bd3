"""Map: how much every part contributes, for all applications side by side on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asc_core.scores.methods import offered
from asc_core.values import Scores
from dashboard.background.unsettled_scores import Scoring, scoring_now, with_unsettled
from dashboard.charts.grid import COLUMNS
from dashboard.charts.heatmap import Panel
from dashboard.panels import across, agreement, examples, maps, matrices, parts, scoring, selected_part, trust
from dashboard.panels.selection import MapSelection
from dashboard.state import stored_scores
from dashboard.state.application import Application
from dashboard.state.applications import applications_of
from dashboard.state.session import Session
from dashboard.text.markup import escape
from dashboard.text.method_names import LABELS, description_of, title_of
from dashboard.widgets.page import (
    all_jobs,
    errors_in_page,
    models,
    running_work,
    this_session,
    write_address,
)

VIEWS = {"all": "Side by side", "difference": "Difference", "shared": "Redundant"}
READING = {
    "all": "Strong colours contribute much, faint ones little. <b>Click a cell</b> for its scores everywhere and what "
    "cutting it saves. A dot ○: its interval crosses the cut, so more examples could decide otherwise.",
    "difference": "Which of two applications a part matters more to, by its place in each one's own order. Hover a "
    "cell for both places; click cells where the maps stand <b>side by side</b>.",
    "shared": "The fainter, the more applications could do without the part. Hover a cell for which ones; click cells "
    "where the maps stand <b>side by side</b>.",
}
PANELS = {
    "trust": ("Which method to believe", trust.panel),
    "parts": ("All parts", parts.panel),
    "examples": ("How many examples", examples.panel),
    "across": ("Across applications", across.panel),
    "matrices": ("Matrices in int8", matrices.panel),
}
LOW_SHARE = 0.3


def page() -> None:
    session = this_session()
    running_work(session)
    everyone = applications_of(session.study)
    under_way = scoring_now(all_jobs(), session.study, everyone)
    settled = stored_scores.by_method(models(), session.study, everyone)
    scored, so_far = with_unsettled(settled, under_way, everyone)
    scoring.follow(session, everyone, under_way, told(under_way) if so_far else "")
    if not scored:
        nothing_yet(under_way)
        return
    left, right = st.columns([19, 7], gap="medium")
    with left:
        method = controls(session, scored)
        panels = [
            Panel(application.title, scores, so_far.get((application.name, method), ""))
            for application, scores in scored[method]
        ]
        applications = [application for application, _ in scored[method]]
        maps.panel(session, applications, panels, shown(), low_share())
    with right:
        if session.selected is not None and shown() == "all":
            selected_part.panel(session, applications, panels, scored)
        else:
            explain()
            agreement.panel(panels)
    if session.method in settled:
        below(session, settled)
    else:
        st.caption("Which method to believe, all parts and the rest: here, once these scores are settled.")
    write_address(session)


def told(under_way: Sequence[Scoring]) -> str:
    return (
        f"{scoring.furthest(under_way)}. These maps change while more examples are read. Scores are kept once they are "
        "settled; until then nothing is cut by them."
    )


def nothing_yet(under_way: Sequence[Scoring]) -> None:
    if under_way:
        st.info("Scoring has begun: the first map stands here after about 64 examples.", icon=":material/grid_on:")
        return
    st.info("Nothing has been scored in this study yet.", icon=":material/grid_on:")
    st.page_link("views/overview.py", label="Score an application", icon=":material/play_arrow:")


def controls(session: Session, scored: dict[str, list[tuple[Application, Scores]]]) -> str:
    methods = list(scored)
    if session.method not in methods:
        session.method = next(iter(offered(methods, parts=COLUMNS)), methods[0])
    if st.session_state.get("map-method") not in methods:
        st.session_state["map-method"] = session.method
    choice, view, colour, low = st.columns([4, 6, 3, 4], vertical_alignment="bottom")

    def chosen() -> None:
        session.method, session.selected = st.session_state["map-method"], None

    choice.selectbox("Method", methods, format_func=title_of, key="map-method", on_change=chosen)
    with view:
        st.segmented_control(
            "Show", list(VIEWS), format_func=VIEWS.__getitem__, key="map-view", default="all", required=True
        )
    with colour:
        st.segmented_control(
            "Colour by",
            ["rank", "score"],
            format_func=str.capitalize,
            key="map-colour",
            default="rank",
            required=True,
            disabled=st.session_state.get("map-view", "all") != "all",
            help="Rank compares the order of parts within each application. Score compares the numbers themselves.",
        )
    low.slider(
        "Removal threshold (percentile)",
        5,
        80,
        int(100 * LOW_SHARE),
        5,
        format="%d %%",
        key="map-low",
        disabled=st.session_state.get("map-view", "all") == "difference",
        help="Of each kind of part. Parts whose interval crosses this cut are undecided. Where Tune has a cut of these "
        "scores, that one counts for them.",
    )
    st.html(f"<div class='asc-small'>{about(session.method, [s for _, s in scored[session.method]])}</div>")
    return session.method


def shown() -> str:
    return st.session_state.get("map-view") or "all"


def low_share() -> float:
    return st.session_state.get("map-low", int(100 * LOW_SHARE)) / 100


def about(method: str, scores: Sequence[Scores]) -> str:
    """One line: what the method measures, from which labels, on which examples."""
    labels = {one.labels for one in scores}
    badges = "".join(
        f"<span class='asc-chip {'on' if kind == 'none' else 'warn'}'>{escape(LABELS.get(kind, kind))}</span>"
        for kind in sorted(labels)
    )
    seen = seen_by(scores)
    known = description_of(method)
    text = f"{escape(known[0])} <span class='asc-quiet'>{escape(known[1])}.</span> " if known is not None else ""
    return f"{badges}<span class='asc-chip'>{escape(seen)}</span> {text}"


def seen_by(scores: Sequence[Scores]) -> str:
    """The split and how many of its examples, the fewest and the most where applications differ."""
    counts: dict[str, list[int]] = {}
    for one in scores:
        if one.examples:
            counts.setdefault(one.split, []).append(one.examples)
    spans = {split: sorted({min(found), max(found)}) for split, found in counts.items()}
    told = [f"{split}, {' to '.join(f'{n:,}' for n in span)} examples" for split, span in spans.items()]
    return ", ".join(told) or "data-free"


def explain() -> None:
    said = READING[st.session_state.get("map-view") or "all"]
    with st.container(border=True):
        st.html(f"<p class='asc-kicker'>How to read it</p><div class='asc-small'>{said}</div>")


# Below the maps


def below(session: Session, scored: dict[str, list[tuple[Application, Scores]]]) -> None:
    """One panel at a time, about one application."""
    everyone = {application.name: application for found in scored.values() for application, _ in found}
    here = [application.name for application, _ in scored[session.method]]
    chosen = st.session_state.get("map-application")
    if chosen not in everyone:
        chosen = session.application if session.application in everyone else here[0]
        st.session_state["map-application"] = chosen
    with st.container(key="map-panels", border=True):
        what, about_whom = st.columns([5, 1], vertical_alignment="center")
        with what:
            panel = st.segmented_control(
                "Panel",
                list(PANELS),
                format_func=lambda name: PANELS[name][0],
                key="map-panel",
                default="trust",
                required=True,
                label_visibility="collapsed",
            )
        name = about_whom.selectbox(
            "Application",
            list(everyone),
            format_func=lambda n: everyone[n].title,
            key="map-application",
            label_visibility="collapsed",
        )
        view = MapSelection(everyone.get(name, everyone[chosen]), session.method, scored, low_share())
        PANELS[panel or "trust"][1](session, view)


with errors_in_page():
    page()
