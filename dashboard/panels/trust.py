"""Which method to believe on the application in view, and how sure that is."""

from __future__ import annotations

import streamlit as st

from asc_core.parts import headline
from asc_core.scores.ablation import ABLATION
from asc_core.study import Study
from dashboard.background.trust_jobs import pace_job, trust_job
from dashboard.background.work_estimate import WorkEstimate
from dashboard.charts.removal import loss_curves
from dashboard.panels.selection import MapSelection
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.tables.trust_report import Interval, Judged, Report, report_of
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.text.method_names import LABELS, title_of
from dashboard.text.names import KIND_NAMES
from dashboard.widgets.page import CHART_CONFIG, all_jobs, load, models, show_failure
from dashboard.widgets.recommendation import recommendation
from dashboard.widgets.theme import colours

EXAMPLES = (64, 128, 256, 512)
USUAL_EXAMPLES = 256
MOST_AREA = 1.5


def panel(session: Session, view: MapSelection) -> None:
    scores = view.scores or next(iter(view.own.values()), None)
    report = report_of(session.study, scores.weights, view.application.task_name) if scores is not None else None
    if report is None:
        invitation(session, view)
        return
    kind = kind_choice(report)
    left, right = st.columns([62, 38], gap="medium")
    with left:
        st.html(f"<div class='asc-verdict'>{recommendation(report, kind)}</div>")
        st.html(table(report, kind))
    with right:
        if kind in report.removed:
            curves(report, kind)
        st.html(f"<div class='asc-small asc-quiet'>{how_measured(report, kind)}</div>")
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            again(session, view, report)


def kind_choice(report: Report) -> str:
    kind = st.segmented_control(
        "Of",
        report.kinds,
        format_func=headline,
        key="trust-kind",
        default=report.kinds[0],
        required=True,
        label_visibility="collapsed",
    )
    return kind if kind in report.kinds else report.kinds[0]


# The table


def table(report: Report, kind: str) -> str:
    """Best first; the truth and chance stand among the methods, but are none."""
    has_curve = kind in report.removed
    share = next((m.agreement[kind].top_share for m in report.methods if kind in m.agreement), 0.25)
    head = (
        "<tr><th></th>"
        + (
            "<th>loss under cumulative removal<br><small>relative AUC (1 = a random order's), lower is better</small>"
            "</th>"
            if has_curve
            else ""
        )
        + "<th>Spearman<br><small>with exact ablation</small></th>"
        + "<th>Kendall<br><small>with exact ablation</small></th>"
        + f"<th>top {100 * share:.0f} %<br><small>in common</small></th></tr>"
    )
    ceiling = report.ceiling.get(kind)
    rows = [row(method, report, kind, has_curve) for method in report.ranked(kind)]
    if ceiling is not None:
        blank = "<td></td>" if has_curve else ""
        rows.append(
            "<tr class='asc-aside'><td title='The square root of the split-half reliability of exact ablation'>"
            f"Ceiling of the truth</td>{blank}<td>{_track(ceiling, None, -0.25, 1)}</td><td></td><td></td></tr>"
        )
    return f"<table class='asc-trust'>{head}{''.join(rows)}</table>"


def row(method: Judged, report: Report, kind: str, has_curve: bool) -> str:
    best = report.believe.get(kind)
    style = "asc-aside" if method.baseline else ""
    if best is not None and method.method == best.method:
        style = "asc-best"
    cells = ""
    if has_curve:
        area, ends = method.areas.get(kind), method.area_intervals.get(kind)
        cells += f"<td>{_track(area, ends, 0, MOST_AREA, line=1.0) if area is not None else ''}</td>"
    found = method.agreement.get(kind)
    if method.method == ABLATION:
        cells += "<td colspan='3' class='asc-quiet'>is the truth here</td>"
    elif found is None:
        cells += "<td></td><td></td><td></td>"
    else:
        limit = report.ceiling.get(kind)
        for value, ends in ((found.spearman, found.spearman_interval), (found.kendall, found.kendall_interval)):
            cells += f"<td>{_track(value, ends, -0.25, 1, line=limit) if value is not None else '-'}</td>"
            limit = None  # it bounds Spearman's correlation
        cells += f"<td>{numbers.percent(found.top_overlap, 0)}</td>"
    label = LABELS.get(method.labels, method.labels)
    seen = f"{method.split}, {method.examples:,} examples" if method.examples else "data-free"
    name = f"<td title='{escape(label)}; {escape(seen)}'>{escape(title_of(method.method))}</td>"
    return f"<tr class='{style}'>{name}{cells}</tr>"


def _track(value: float, ends: Interval | None, low: float, high: float, line: float | None = None) -> str:
    """A number, and where it lies between low and high with its interval; line: something to hold it against."""

    def place(number: float) -> float:
        return 100 * min(max((number - low) / (high - low), 0.0), 1.0)

    marks = f"<u style='left:{place(line):.1f}%'></u>" if line is not None else ""
    if ends is not None:
        marks += f"<i style='left:{place(ends[0]):.1f}%;width:{max(place(ends[1]) - place(ends[0]), 0.5):.1f}%'></i>"
    written = f"{value:.2f}".replace("-", numbers.MINUS)
    told = f"95 % interval {ends[0]:.2f} to {ends[1]:.2f}".replace("-", numbers.MINUS) if ends else "no interval"
    return (
        f"<span class='asc-track-cell' title='{told}'><span class='asc-number'>{written}</span>"
        f"<span class='asc-track'>{marks}<b style='left:{place(value):.1f}%'></b></span></span>"
    )


# The curves


def curves(report: Report, kind: str) -> None:
    found = {title_of(m.method): m.curves[kind] for m in report.methods if kind in m.curves and m.method != "random"}
    belief = report.believe.get(kind)
    best = title_of(belief.method) if belief is not None and belief.method is not None else None
    chance = report.chance_range.get(kind) or (report.chance[kind], report.chance[kind])
    figure = loss_curves(report.removed[kind], report.chance[kind], chance, found, best, title_of(ABLATION), colours())
    st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key=f"trust-curves-{kind}")
    chosen = colours()
    named = f"<span><i class='asc-stroke' style='background:{chosen.cut}'></i>{escape(best)}</span>" if best else ""
    st.html(
        f"<div class='asc-legend'>{named}<span><i class='asc-stroke' style='background:{chosen.ink}'></i>"
        "exact ablation</span><span><i class='asc-stroke' style='opacity:.5'></i>others</span>"
        "<span><i class='asc-shade'></i>random orders</span></div>"
    )


def how_measured(report: Report, kind: str) -> str:
    truth, held_out = report.truth, report.held_out
    text = ""
    if kind in report.removed:
        text += (
            f"Mean loss on {held_out.examples:,} {escape(held_out.split)} examples while {KIND_NAMES[kind]} are "
            "removed in each method's order. "
        )
    text += f"Exact ablation: one part switched off at a time, on {truth.examples:,} {escape(truth.split)} examples. "
    reliability, ceiling = report.reliability.get(kind), report.ceiling.get(kind)
    if reliability is not None and ceiling is not None:
        text += (
            f"Two halves of these agree by {reliability:.2f}, so no score can be expected to correlate with it by more "
            f"than {ceiling:.2f}. "
        )
    if any(kind in m.agreement and m.agreement[kind].spearman_interval for m in report.methods):
        text += "Intervals of correlations are over parts, those of losses over examples."
    return text


# Measuring


def invitation(session: Session, view: MapSelection) -> None:
    text, form = st.columns([62, 38], gap="medium", vertical_alignment="center")
    text.html(
        f"<div class='asc-verdict'>Which of these scores deserves belief on <b>{escape(view.application.title)}</b>?"
        "</div><div class='asc-small'>Measured in two ways: every part is switched off by itself, to see which ranking "
        "is nearest to that truth; and parts are removed in each method's order, on examples that no score has seen, "
        "to see which order keeps the loss low. It runs in the background, can be cancelled at any time and goes on "
        "from where it stopped.</div>"
    )
    with form:
        measure_form(session, view, "primary")


def again(session: Session, view: MapSelection, report: Report) -> None:
    missing = report.missing(list(view.own))
    if missing:
        st.html(f"<span class='asc-small'>Not in it yet: {escape(', '.join(map(title_of, missing)))}.</span>")
    with st.popover("Measure again", icon=":material/refresh:", key="trust-again"):
        measure_form(session, view, "primary" if missing else "secondary")


def measure_form(session: Session, view: MapSelection, kind: str) -> None:
    application = view.application
    methods = len([m for m in view.own if m != ABLATION])
    key = trust_key_of(session.study, application)
    job = all_jobs().running("score", key)
    if job is not None:
        st.html("<div class='asc-small'>Being measured: the bar at the top says how far it is.</div>")
        return
    unfinished = kept.trust_run(session.study, application).get()
    usual = unfinished.samples if unfinished is not None else USUAL_EXAMPLES
    examples = st.selectbox(
        "Examples",
        EXAMPLES,
        index=EXAMPLES.index(usual if usual in EXAMPLES else USUAL_EXAMPLES),
        key=f"trust-examples-{application.title}",
        help="So many to switch parts off on, and as many others to remove parts on. More narrow every interval.",
    )
    pace = kept.pace(session.study, application).get()
    scores = next(iter(view.own.values()))
    work_estimate = WorkEstimate.of(
        scores.shape, methods, examples, examples, truth_known(session.study, scores.weights, view, examples)
    )
    going_on = unfinished is not None and unfinished.samples == examples
    label = "Resume measuring" if going_on else "Measure it"
    if pace is not None:
        seconds = work_estimate.total * pace.seconds
        label += f": {about(seconds).replace('about', 'at most') if going_on else about(seconds)}"
    st.button(
        label,
        key=f"trust-measure-{application.title}",
        type="primary" if kind == "primary" else "secondary",
        icon=":material/balance:",
        on_click=start,
        args=(session, application, examples, work_estimate),
    )
    last = all_jobs().last(session.id, "score", key)
    if last is not None and last.state == "failed":
        show_failure(last)
    if pace is None:
        load(
            session,
            application.name,
            "Seeing how long it takes",
            pace_job(models(), session.study, application),
            "pace",
        )


def start(session: Session, application: Application, examples: int, work_estimate: WorkEstimate) -> None:
    jobs, key = all_jobs(), trust_key_of(session.study, application)
    if jobs.running("score", key) is None:
        work = trust_job(models(), session.study, application, examples, examples, work_estimate, jobs)
        jobs.start(session.id, "score", key, f"Trust on {application.title}", work)


def trust_key_of(study: Study, application: Application) -> str:
    return f"{study.path.absolute()}|{application.name}|trust"


def truth_known(study: Study, weights: str, view: MapSelection, examples: int) -> bool:
    """Whether these parts have been ablated on so many examples already."""
    return any(
        (entry["task"], entry["method"], entry["weights"], entry["examples"], entry["seed"])
        == (view.application.task_name, ABLATION, weights, examples, 0)
        for entry in study.score_index()
    )


def about(seconds: float) -> str:
    if seconds < 50:
        return "less than a minute"
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} minute{'s' if minutes > 1 else ''}"
