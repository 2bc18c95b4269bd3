"""Compare: candidates on one chart, recipes at one size, and what a cut for one application does to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from asc_core.recipes.comparison import COMPARABLE, ComparedPreset
from asc_core.recipes.presets import PRESETS, PresetOptions
from asc_core.recipes.stored import pinned_recipes
from asc_core.recipes.transfer_matrix_store import reports
from dashboard.background.jobs import Job
from dashboard.background.scoring_jobs import opening
from dashboard.charts.frontier import BUDGET_NAMES, Measured
from dashboard.charts.matrix import matrix_heatmap
from dashboard.charts.pareto import pareto
from dashboard.measuring.comparisons import cells_of, contest_work, matrix_work, settings_for, title_of
from dashboard.measuring.measurements import Bench
from dashboard.state.applications import Application, applications_of
from dashboard.state.session import Session, application_in_view, move_of_pin
from dashboard.text import numbers
from dashboard.widgets.page import (
    CHART_CONFIG,
    all_jobs,
    errors_in_page,
    escape,
    library,
    load,
    running_work,
    show_failure,
    this_session,
    write_address,
)
from dashboard.widgets.theme import colours

LANE = "explore"
MATRIX, CONTEST = "matrix", "contest"
STEPS = (0, 50, 200)
SECONDS_BETWEEN_CELLS = 1.0
NO_TEXT = "none"


def page() -> None:
    session = this_session()
    running_work(session)
    applications = [one for one in applications_of(session.study) if one.trained]
    matrix_tab, recipes_tab, candidates_tab = st.tabs(
        [
            ":material/grid_on: Application matrix",
            ":material/leaderboard: Recipes at one size",
            ":material/push_pin: Candidates",
        ]
    )
    with matrix_tab:
        matrices(session, applications)
    with recipes_tab:
        contests(session, applications)
    with candidates_tab:
        candidates(session, applications)
    write_address(session)


def last_job(session: Session, what: str) -> Job | None:
    """The last of this window's that was about this."""
    return next((job for job in all_jobs().of(session.id, LANE) if job.key.partition("|")[0] == what), None)


# The application matrix


def matrices(session: Session, applications: Sequence[Application]) -> None:
    left, right = st.columns([4, 7], gap="large")
    job = last_job(session, MATRIX)
    with left:
        st.html(
            "<p class='asc-kicker'>What is knowing the application worth?</p><div class='asc-small'>Each model is cut "
            "with the plan of each application (a row) and measured on its own task (a column). Below the line stand "
            "cuts that know no application in particular.</div>"
        )
        matrix_form(session, applications, job)
    with right:
        kept = reports(session.study)[::-1]
        if job is not None and job.state == "failed":
            show_failure(job)
        if job is not None and job.active:
            st.fragment(lambda: show_report(job.latest), run_every=SECONDS_BETWEEN_CELLS)()
        elif kept:
            chosen = st.selectbox(
                "Measured", range(len(kept)), format_func=lambda i: title_of(kept[i]), key="compare-report"
            )
            show_report(kept[chosen])
        else:
            st.info(
                "No matrix has been measured yet. Choose two applications or more and press Measure: about half a "
                "minute a cell.",
                icon=":material/grid_on:",
            )


def matrix_form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    named = {application.title: application for application in applications}
    scored = {entry["task"] for entry in session.study.score_index()}
    usual = [title for title, one in named.items() if one.name in scored][:3]
    chosen = st.multiselect("Applications", list(named), default=usual, key="compare-applications")
    others = [title for title in named if title not in chosen]
    st.selectbox(
        "General text",
        [NO_TEXT, *others],
        key="compare-general",
        help="Texts of something else, for a cut that has seen text but none of these applications.",
    )
    st.slider("Kept of the layers' parameters", 0.1, 0.9, 0.5, 0.05, key="compare-keep", format="percent")
    st.toggle("Repair what stays", value=True, key="compare-repair")
    st.button(
        "Measure",
        key="compare-measure",
        type="primary",
        icon=":material/play_arrow:",
        disabled=len(chosen) < 2 or (job is not None and job.active),
        on_click=start_matrix,
        args=(session, named),
    )
    if len(chosen) < 2:
        st.caption("Choose two applications or more whose models come from one pre-trained encoder.")


def start_matrix(session: Session, named: Mapping[str, Application]) -> None:
    state = st.session_state
    chosen = [named[title] for title in state["compare-applications"]]
    settings = settings_for(state["compare-keep"], "obs", state["compare-repair"])
    work = matrix_work(library(), session.study, chosen, named.get(state["compare-general"]), settings)
    key = f"{MATRIX}|{'|'.join(one.name for one in chosen)}"
    all_jobs().start(session.id, LANE, key, "Application matrix", work)


def show_report(report: Mapping[str, Any] | None) -> None:
    """A matrix, complete or not, and what it says."""
    if report is None:
        st.caption("The first cell takes longest: models are loaded and scored.")
        return
    cells = cells_of(report)
    figure = matrix_heatmap(report["rows"], report["columns"], report["agnostic"], cells, colours())
    st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="compare-matrix")
    st.html(price_text(report))


def price_text(report: Mapping[str, Any]) -> str:
    columns = report["columns"]
    note = (
        "<div class='asc-small asc-quiet'>Points lost to each model's original, 95 % paired intervals; framed: the cut "
        "made for the application itself.</div>"
    )
    complete = len(report["cells"]) == len(report["rows"]) * len(columns)
    if not (report["prices"] and complete):
        return note
    best, *others = report["prices"]
    low, high = best["interval"]
    sure = ""
    if high < 0:
        sure = ": on these texts a cut that knows no application does better"
    elif low <= 0:
        sure = ": the interval contains zero, so on these texts knowing the application is not shown to help"
    lines = "".join(
        f"<tr><td>{escape(price['row'])}</td><td>{numbers.points(price['value'])}</td>"
        f"<td class='asc-quiet'>{numbers.interval_of_points(tuple(price['interval']))}</td></tr>"
        for price in [best, *others]
    )
    return (
        f"<p class='asc-verdict'>The price of agnosticism: <b class='asc-number'>{numbers.points(best['value'])}</b> "
        f"points {numbers.interval_of_points((low, high))} on average over {len(columns)} applications, against the "
        f"best cut that knows none ({escape(best['row'])}){sure}.</p>"
        f"<table class='asc-costs asc-number'>{lines}</table>{note}"
    )


# Recipes at one size


def contests(session: Session, applications: Sequence[Application]) -> None:
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    left, right = st.columns([4, 7], gap="large")
    job = last_job(session, CONTEST)
    with left:
        st.html(
            "<p class='asc-kicker'>Which way of getting there is best?</p><div class='asc-small'>ASC as published, "
            "what it is compared with, and ours: the same model, size, texts, and training after the cut.</div>"
        )
        titles = {application.title: application for application in applications}
        usual = application_in_view(session, list(applications)).title
        st.selectbox("Application", list(titles), index=list(titles).index(usual), key="contest-application")
        names = st.multiselect(
            "Recipes",
            list(COMPARABLE),
            default=list(COMPARABLE),
            key="contest-recipes",
            help="  \n".join(f"**{name}**: {PRESETS[name].description}" for name in COMPARABLE),
        )
        st.slider("Kept of the layers' parameters", 0.1, 0.9, 0.5, 0.05, key="contest-keep", format="percent")
        st.segmented_control(
            "Training steps after the cut",
            STEPS,
            default=0,
            required=True,
            key="contest-steps",
            help="Batches of 32. On two cores 200 of them take some minutes for each recipe.",
        )
        st.button(
            "Measure",
            key="contest-measure",
            type="primary",
            icon=":material/play_arrow:",
            disabled=not names or (job is not None and job.active),
            on_click=start_contest,
            args=(session, titles),
        )
    with right:
        if job is None:
            st.info("Nothing has been measured in this window yet.", icon=":material/leaderboard:")
        elif job.state == "failed":
            show_failure(job)
            st.html(entries_table(job.latest or []))
        elif job.active:
            st.fragment(lambda: st.html(entries_table(job.latest or [])), run_every=SECONDS_BETWEEN_CELLS)()
        else:
            st.html(entries_table(job.latest or []))
            st.caption("All of them are on the chart of Tune and of Candidates, too.")


def start_contest(session: Session, titles: Mapping[str, Application]) -> None:
    state = st.session_state
    application, names = titles[state["contest-application"]], list(state["contest-recipes"])
    options = PresetOptions(keep=state["contest-keep"], steps=int(state["contest-steps"] or 0))

    def work(job: Job) -> list[ComparedPreset]:
        opened = opening(library(), study, application)(job)
        bench = Bench(library(), study, application, opened.cost_model)
        return contest_work(bench, options, names)(job)

    study = session.study
    all_jobs().start(session.id, LANE, f"{CONTEST}|{application.name}", f"Recipes for {application.title}", work)


def entries_table(entries: Sequence[ComparedPreset]) -> str:
    if not entries:
        return "<div class='asc-quiet asc-small'>Scoring and cutting.</div>"
    rows = []
    for entry in sorted(entries, key=lambda one: -one.estimate.value):
        e = entry.estimate
        change = ""
        if e.difference is not None and e.difference_interval is not None:
            change = (
                f"<b>{numbers.points(e.difference)}</b> "
                f"<span class='asc-quiet'>{numbers.interval_of_points(e.difference_interval)}</span>"
            )
        rows.append(
            f"<tr><td title='{escape(PRESETS[entry.name].description)}'>{escape(entry.name)}</td>"
            f"<td>{numbers.percent(e.value)}</td><td>{change}</td><td>{numbers.percent(entry.kept)}</td>"
            f"<td>{numbers.amount(entry.cost.flops)}</td></tr>"
        )
    e = entries[0].estimate
    head = (
        f"<tr><th>recipe</th><th>{escape(e.metric)}</th><th>points to the original</th><th>layers' parameters</th>"
        "<th>FLOPs a text</th></tr>"
    )
    return (
        f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table><div class='asc-small asc-quiet'>"
        f"{escape(e.split)} split, {e.examples:,} examples, paired 95 % intervals; one seed.</div>"
    )


# Candidates


def candidates(session: Session, applications: Sequence[Application]) -> None:
    if not applications:
        st.info("Add an application on the Overview page first.", icon=":material/dashboard:")
        return
    chooser, against = st.columns([1, 3])
    with chooser:
        application = candidates_application(session, applications)
    known = library().known_cost_model(application)
    if known is None or library().known_encoder(application) is None:
        load(session, application.name, f"Opening {application.title}", opening(library(), session.study, application))
        return
    bench = Bench(library(), session.study, application, known)
    measured = bench.all_measured()
    pinned, unmeasured = pinned_of(session, bench, measured)
    recipes = [one for one in measured if any(one.name.startswith(f"{name} ") for name in COMPARABLE)]
    with against:
        budget = st.segmented_control(
            "Against",
            [name for name in BUDGET_NAMES if name == "flops" or any(name in one.kept for one in measured)],
            format_func=BUDGET_NAMES.__getitem__,
            default="flops",
            required=True,
            key="compare-budget",
        )
    left, right = st.columns([7, 5], gap="large")
    with left:
        if not measured:
            st.info(f"Nothing of {application.title} has been cut and measured yet.", icon=":material/tune:")
            st.page_link("views/tune.py", label="Tune a cut", icon=":material/tune:")
            return
        figure = pareto(measured, [*pinned, *recipes], bench.original(), budget or "flops", colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="compare-pareto")
        st.caption(
            f"Everything of {application.title} that was measured in this study. The line joins what nothing else "
            "beats in both metric and size; named are pinned cuts and ready-made recipes."
        )
    with right:
        named = [*pinned, *recipes]
        if named:
            st.html(candidates_table(named, bench))
        if unmeasured:
            st.caption(f"Pinned and not measured yet: {', '.join(unmeasured)}. Open them on Tune.")
        elif not named:
            st.html("<p class='asc-quiet'>Pin a cut on Tune to name it.</p>")


def candidates_application(session: Session, applications: Sequence[Application]) -> Application:
    titles = {application.title: application for application in applications}
    usual = list(titles).index(application_in_view(session, list(applications)).title)
    chosen = st.selectbox("Application", list(titles), index=usual, key="compare-candidates-of")
    session.application = titles[chosen].name
    return titles[chosen]


def pinned_of(session: Session, bench: Bench, measured: Sequence[Measured]) -> tuple[list[Measured], list[str]]:
    """(pinned cuts of the application in view that were measured, under their names; names of those that were not)."""
    by_key = {one.key: one for one in measured}
    found, unmeasured = [], []
    for name, recipe in pinned_recipes(session.study).items():
        plan = recipe.cut
        if plan is None:
            continue
        move = move_of_pin(session.study, name, plan, bench.application.name, "")
        if move is None or move.application != bench.application.name:
            continue
        one = by_key.get(recipe.key)
        if one is None:
            unmeasured.append(name)
        else:
            found.append(Measured(one.key, name, one.kept, one.estimate, one.repaired, one.series))
    return found, unmeasured


def candidates_table(named: Sequence[Measured], bench: Bench) -> str:
    rows = []
    original = bench.original()
    if original is not None:
        rows.append(
            f"<tr><td>original</td><td>{numbers.percent(original.value)}</td><td></td><td>100 %</td><td>100 %</td></tr>"
        )
    for one in sorted(named, key=lambda m: -m.estimate.value):
        e = one.estimate
        change = "" if e.difference is None else numbers.points(e.difference)
        if e.difference_interval is not None:
            ends = numbers.interval_of_points(e.difference_interval)
            change += f"<br><span class='asc-quiet asc-small'>{ends}, n = {e.examples:,}</span>"
        rows.append(
            f"<tr><td>{escape(one.name)}</td><td>{numbers.percent(e.value)}</td><td>{change}</td>"
            f"<td>{numbers.percent(one.kept['flops'], 0)}</td>"
            f"<td>{numbers.percent(one.kept['parameters'], 0)}</td></tr>"
        )
    head = "<tr><th></th><th>metric</th><th>points</th><th>FLOPs</th><th>parameters</th></tr>"
    note = f"<div class='asc-small asc-quiet'>{bench.split} split; points to the original, 95 % paired intervals</div>"
    return f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table>{note}"


with errors_in_page():
    page()
