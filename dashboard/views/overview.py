"""Overview: what this is, the applications, what has been scored, and starting more of it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from asc_core.scores import METHODS
from asc_core.scores.method import OwnPass
from asc_core.scores.methods import offered
from asc_core.scores.ranking_stability import stopped_early
from asc_core.study import Study
from dashboard.background import scoring_jobs
from dashboard.state.applications import Application, Facts, applications_of, remove
from dashboard.state.session import Session
from dashboard.tables.ranking_stability import ENOUGH
from dashboard.text import numbers
from dashboard.widgets.page import (
    all_jobs,
    errors_in_page,
    escape,
    library,
    load,
    poll,
    read_scores,
    running_work,
    show_failure,
    this_session,
    write_address,
)

SAMPLES = (128, 256, 512, 1024, 2048)
CARDS_A_LINE = 3


def page() -> None:
    session = this_session()
    write_address(session)
    top = st.container()
    running_work(session)  # before the study is read: what ends in between is in it
    applications = applications_of(session.study)
    index = session.study.score_index()
    early = stopped(session.study, index)
    with top:
        hero(session, applications, index)
    last_failures(session)
    facts_in_background(session, applications)
    for start in range(0, len(applications) + 1, CARDS_A_LINE):
        line = st.columns(CARDS_A_LINE)
        for column, application in zip(line, applications[start : start + CARDS_A_LINE], strict=False):
            with column, st.container(border=True, height="stretch", key=f"card-{application.title}"):
                card(session, application, index, early)
        if len(applications) - start < CARDS_A_LINE:
            with line[len(applications) - start], st.container(border=True, height="stretch", key="card-add"):
                add_form(session)


def hero(session: Session, applications: list[Application], index: list[dict[str, Any]]) -> None:
    left, right = st.columns([5, 4], gap="large")
    with left:
        st.html(
            "<div class='asc-hero'><h1>Find and cut what your application does not need</h1>"
            "<p>Score every attention head, FFN neuron and layer of a Transformer encoder on your own texts, cut what "
            "contributes least, watch the measured effect, and take the smaller model away.</p>"
            "<div class='asc-steps'><span><b>1</b>Score</span><span><b>2</b>Look at the map</span>"
            "<span><b>3</b>Tune the cut</span><span><b>4</b>Export</span></div></div>"
        )
    with right, st.container(border=True, key="score-panel"):
        score_panel(session, applications, index)


def score_panel(session: Session, applications: list[Application], index: list[dict[str, Any]]) -> None:
    methods_column, samples_column = st.columns([3, 1])
    methods_column.multiselect(
        "Methods",
        list(METHODS),
        default=offered(),
        format_func=lambda m: METHODS[m].title,
        key="score-methods",
        help="The chosen methods share one pass over the texts, so several cost hardly more than one; only these need "
        f"a pass of their own: {', '.join(m.title for m in METHODS.values() if isinstance(m, OwnPass))}.",
    )
    samples_column.selectbox(
        "Examples", SAMPLES, index=SAMPLES.index(512), key="score-samples", format_func=numbers.thousands
    )
    st.toggle(
        "Stop when the ranking has settled",
        key="score-settled",
        help=f"Looks after 64, 128, 256, ... examples and ends as soon as every method's ranking can be expected to "
        f"correlate by {ENOUGH:g} with that of as many others. You can go on later.",
    )
    ready = [application for application in applications if application.trained]
    scored = {entry["task"] for entry in index}
    button, onward = st.columns([1, 2], vertical_alignment="center")
    button.button(
        "Score all",
        key="score-all",
        type="secondary" if scored else "primary",
        icon=":material/play_arrow:",
        on_click=start_scoring,
        args=(session, ready),
        disabled=not ready,
    )
    with onward, st.container(horizontal=True, key="next-step"):
        if scored:
            st.page_link("views/map.py", label="Look at the map", icon=":material/grid_on:")
            st.page_link("views/tune.py", label="Tune a cut", icon=":material/tune:")
        else:
            st.caption("Next step: score an application. It takes about a minute each.")


def start_scoring(session: Session, applications: list[Application]) -> None:
    methods, samples = st.session_state["score-methods"], st.session_state["score-samples"]
    if not methods:
        session.messages.append("Choose at least one method to score with.")
        return
    begin(session, applications, methods, samples, ENOUGH if st.session_state.get("score-settled") else None)


def begin(
    session: Session, applications: list[Application], methods: list[str], samples: int, stop_at: float | None
) -> None:
    """stop_at: the stability at which to stop early; 1 = go on to the end where an earlier scoring did so."""
    jobs = all_jobs()
    for application in applications:
        key = scoring_key(session.study, application, methods, samples)
        if jobs.running("score", key) is None:
            job_work = scoring_jobs.scoring(library(), session.study, application, methods, samples, jobs, stop_at)
            jobs.start(session.id, "score", key, f"Scoring {application.title}", job_work)
        elif jobs.last(session.id, "score", key) is None:
            session.messages.append(f"{application.title} is being scored like this in another window already.")


def further_button(
    session: Session, application: Application, own: dict[str, tuple[int, int]], being_scored: bool
) -> None:
    """Goes on to the end with what has stopped early."""
    watched = scoring_jobs.kept_settings(session.study, scoring_jobs.watched_setting(application))
    methods, samples = list(own), max(total for _, total in own.values())
    asked, of = watched.get("methods"), watched.get("samples")
    if isinstance(asked, list) and isinstance(of, int) and sorted(map(str, asked)) == sorted(methods):
        methods, samples = asked, of  # exactly what was asked for then: only the same sweep can go on
    st.button(
        "Score further",
        key=f"further-{application.title}",
        icon=":material/more_time:",
        on_click=begin,
        args=(session, [application], methods, samples, 1.0),
        disabled=being_scored,
        help="The rankings had settled, so scoring stopped early. This goes on to the last example.",
    )


def scoring_prefix(study: Study, application: Application) -> str:
    return f"{study.path.absolute()}|{application.name}|scores|"


def scoring_key(study: Study, application: Application, methods: list[str], samples: int) -> str:
    return f"{scoring_prefix(study, application)}{','.join(sorted(methods))}|{samples}"


def last_failures(session: Session) -> None:
    shown = set()
    for job in all_jobs().of(session.id, "score"):
        about = job.key.split("|")[1]
        if about not in shown and job.state == "failed":
            st.markdown(f"**{job.title}** did not finish.")
            show_failure(job)
        shown.add(about)


def facts_in_background(session: Session, applications: list[Application]) -> None:
    """Counting the examples of each application reads all its data: not while the page waits."""
    missing = [a for a in applications if scoring_jobs.known_facts(library(), session.study, a) is None]
    if missing:
        key = "|".join(a.name for a in missing)
        load(session, key, "Looking at the data", scoring_jobs.describing(library(), session.study, missing))


def stopped(study: Study, index: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[int, int]]:
    """(task, method) -> (examples done, examples there are) of newest scores whose sweep ended early."""
    found = {}
    for (task, method), entry in scoring_jobs.newest_scores(index, None).items():
        early = stopped_early(read_scores(study, entry)) if entry["examples"] else None
        if early is not None:
            found[task, method] = early
    return found


def card(
    session: Session,
    application: Application,
    index: list[dict[str, Any]],
    early: dict[tuple[str, str], tuple[int, int]],
) -> None:
    facts = scoring_jobs.known_facts(library(), session.study, application)
    text = heading(application, facts) + body(application, facts) + figures(application, facts)
    st.html(f"<div class='asc-card'>{text}</div>")
    entries = [entry for entry in index if entry["task"] == application.name]
    own = {method: ends for (task, method), ends in early.items() if task == application.name}
    st.html(chips(entries, own))
    job = next(
        (
            j
            for j in all_jobs().of(session.id, "score")
            if j.active and j.key.startswith(scoring_prefix(session.study, application))
        ),
        None,
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Score again" if entries else "Score",
            key=f"score-{application.title}",
            icon=":material/play_arrow:",
            on_click=start_scoring,
            args=(session, [application]),
            disabled=not application.trained or job is not None,
            help=None if application.trained else "Its weights are not here yet: `make demo-train` makes them.",
        )
        if own:
            further_button(session, application, own, job is not None)
        if entries:
            for view, label in (("map", "Map"), ("tune", "Tune")):
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


def chips(entries: list[dict[str, Any]], early: dict[str, tuple[int, int]]) -> str:
    """The methods, each with its number of examples; of those that stopped early also how many there are."""
    if not entries:
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
    return f"<div title='methods · examples'>{made}</div>"


def add_form(session: Session) -> None:
    st.html(
        "<div class='asc-card'><h3>Your application</h3><p>A fine-tuned checkpoint and a task file that says where its "
        "texts and labels are.</p></div>"
    )
    with st.form("add-application", border=False):
        encoder = st.text_input("Encoder", key="add-encoder", placeholder="folder, or hub id")
        task = st.text_input("Task", key="add-task", placeholder="task.toml, or a preset such as glue/mrpc")
        sent = st.form_submit_button("Add", key="add-submit", icon=":material/add:")
    jobs = all_jobs()
    if sent and not (encoder.strip() and task.strip()):
        st.error("Name both an encoder and a task.", icon=":material/error:")
        return
    if sent:
        job_work = scoring_jobs.adding(library(), session.study, encoder.strip(), task.strip())
        jobs.start(session.id, "load", "add", "Adding", job_work)
    job = jobs.last(session.id, "load", "add")
    if job is not None and job.active:
        poll(job, "adding")
    elif job is not None and job.error:
        st.error(job.error, icon=":material/error:")
    elif job is not None and job.result is not None:
        st.success(f"{job.result.title} is added: score it next.", icon=":material/check:")


with errors_in_page():
    page()
