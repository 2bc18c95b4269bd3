"""One application: what its data is, what has been scored, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from dashboard.background.application_jobs import facts_of
from dashboard.background.scoring_jobs import scores_prefix
from dashboard.background.unsettled_scores import Scoring, unsettled
from dashboard.panels import score_form
from dashboard.state.application import Application, Facts
from dashboard.state.applications import remove
from dashboard.state.session import Session
from dashboard.state.stored_scores import Entry, entries_of
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.page import all_jobs, models


def panel(
    session: Session,
    application: Application,
    index: list[dict[str, Any]],
    early: dict[tuple[str, str], tuple[int, int]],
    under_way: Sequence[Scoring] = (),
) -> None:
    """early: (task, method) -> (examples done, examples there are) of scores that stopped early."""
    facts = facts_of(models(), session.study, application)
    text = heading(application, facts) + body(application, facts) + figures(application, facts)
    st.html(f"<div class='asc-card'>{text}</div>")
    entries = entries_of(session.study, index, application)
    own = {method: ends for (name, method), ends in early.items() if name == application.name}
    known = {entry["method"] for entry in entries}
    unsettled_here = unsettled(under_way, application.name)
    refining = {method: said for method, (_, said) in unsettled_here.items() if method not in known}
    st.html(chips(entries, own, refining))
    job = next(
        (
            j
            for j in all_jobs().of(session.id, "score")
            if j.active and j.key.startswith(scores_prefix(session.study, application))
        ),
        None,
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Score again" if entries else "Score",
            key=f"score-{application.title}",
            icon=":material/play_arrow:",
            on_click=score_form.start_scoring,
            args=(session, [application]),
            disabled=not application.trained or job is not None,
            help=None if application.trained else "Its weights are not here yet: `make demo-train` makes them.",
        )
        if own:
            score_form.further_button(session, application, own, job is not None)
        if entries or refining:
            for view, label in (("map", "Map"), ("tune", "Tune")) if entries else (("map", "Map"),):
                if st.button(label, key=f"{view}-{application.title}", type="tertiary"):
                    session.application = application.name
                    st.switch_page(f"views/{view}.py")
        if not application.embedded:
            st.button(
                "Remove",
                key=f"remove-{application.title}",
                type="tertiary",
                on_click=remove,
                args=(session.study, application.name),
                help="Its scores and evaluations stay in the study.",
            )


def heading(application: Application, facts: Facts | None) -> str:
    kind = f"<span class='asc-chip asc-kind'>{escape(facts.kind.replace('-', ' '))}</span>" if facts else ""
    return f"{kind}<h3>{escape(application.title)}</h3>"


def body(application: Application, facts: Facts | None) -> str:
    description = application.description or f"{application.encoder} on {application.task}"
    text = f"<p>{escape(description)}</p>"
    if facts is not None:
        answer = f" <span class='asc-quiet'>→ {escape(facts.answer)}</span>" if facts.answer else ""
        text += f"<blockquote>{escape(facts.example)}{answer}</blockquote>"
    return text


def figures(application: Application, facts: Facts | None) -> str:
    parts = []
    if facts is not None:
        parts += [f"<span>{escape(split)} <b>{size:,}</b></span>" for split, size in facts.sizes.items()]
    report = application.report
    if report is not None:
        parts.append(
            f"<span>{escape(str(report['metric']))} <b>{numbers.percent(report['value'])}</b> "
            f"{numbers.interval_of_percent(tuple(report['interval']))} on {report['examples']:,} "
            f"{escape(report['split'])} examples</span>"
        )
    elif not application.trained:
        parts.append("<span class='asc-chip warn'>not trained yet</span>")
    return f"<div class='asc-figures'>{''.join(parts)}</div>"


def chips(entries: Sequence[Entry], early: dict[str, tuple[int, int]], refining: dict[str, str]) -> str:
    """The methods, each with its number of examples; of those that stopped early also how many there are.

    refining: those whose scores are not settled yet, and how far they are.
    """
    if not entries and not refining:
        return "<div class='asc-small asc-quiet'>not scored yet</div>"
    newest: dict[str, int] = {}
    for entry in entries:
        newest.setdefault(entry["method"], entry["examples"])

    def chip(method: str, examples: int) -> str:
        counted = f" · {examples:,}" if examples else ""
        if method not in early:
            return f"<span class='asc-chip on'>{escape(method)}{counted}</span>"
        title = f"settled after {early[method][0]:,} of {early[method][1]:,} examples"
        return f"<span class='asc-chip on' title='{title}'>{escape(method)}{counted} of {early[method][1]:,} ✓</span>"

    made = "".join(chip(method, examples) for method, examples in newest.items())
    for method, said in refining.items():
        made += f"<span class='asc-chip warn'>{escape(method)} · {escape(said)}</span>"
    return f"<div title='methods · examples'>{made}</div>"
