"""What the applications have in common: parts that none needs, parts that one alone needs, and who needs what more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from asc_core.parts import SINGLE, headline
from asc_core.plan import Part
from asc_core.plan.parts import kinds_of, rows_of
from asc_core.scores.compare import Redundancy, redundancy
from asc_core.scores.task_specificity import FEWEST_EXAMPLES, TaskSpecificity, permutation_test
from asc_core.study import Study
from asc_core.values import Scores, Shape
from dashboard.background import scoring_jobs
from dashboard.charts.heatmap import needs_map
from dashboard.panels.selection import MapSelection
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import bare, escape
from dashboard.text.method_names import title_of
from dashboard.text.names import KIND_NAMES
from dashboard.widgets.page import CHART_CONFIG, all_jobs, models, scale_legend, show_failure
from dashboard.widgets.theme import colours

SAMPLES = 256
SIGNIFICANT = 0.05
SHOWN = 12


def panel(session: Session, view: MapSelection) -> None:
    if len(view.others) < 2:
        st.info(
            bare(
                f"Only {view.others[0][0].title} has been scored by {title_of(view.method)} on an encoder of this "
                "shape; score a second application with it."
            ),
            icon=":material/compare_arrows:",
        )
        return
    left, right = st.columns([44, 56], gap="large")
    with left:
        in_common(view)
    with right:
        who_needs_more(session, view)


# Redundant for all, needed by one


def in_common(view: MapSelection) -> None:
    scores = [found for _, found in view.others]
    kinds = [kind for kind in SINGLE if all(kind in kinds_of(one) for one in scores)]
    if not kinds:
        return
    kind = st.segmented_control(
        "Of",
        kinds,
        format_func=headline,
        key="across-kind",
        default=kinds[0],
        required=True,
        label_visibility="collapsed",
    )
    kind = kind if kind in kinds else kinds[0]
    st.html(common_table(redundancy(scores, kind, share=view.share), scores[0].shape, kind, view))


def common_table(found: Redundancy, shape: Shape, kind: str, view: MapSelection) -> str:
    everyone = "both" if len(view.others) == 2 else f"all {len(view.others)}"
    rows = [_line(f"Redundant for {everyone}", np.flatnonzero(found.for_all), shape, kind)]
    for place, (application, _) in enumerate(view.others):
        only = np.flatnonzero(found.needed_by_one == place)
        rows.append(_line(f"Only <b>{escape(application.title)}</b> needs", only, shape, kind))
    share, name = numbers.percent(view.share, 0), escape(title_of(view.method))
    chance, real = (numbers.percent(s, 0) for s in (found.redundant.mean(1).prod(), found.for_all.mean()))
    return (
        f"<table class='asc-common'>{''.join(rows)}</table><div class='asc-small asc-quiet'>Redundant: among the "
        f"lowest {share} of an application's {KIND_NAMES[kind]} by {name}; needed: all others. Redundant for "
        f"{everyone}: {real} of them; if the applications had nothing in common it would be {chance}.</div>"
    )


def _line(what: str, places: np.ndarray, shape: Shape, kind: str) -> str:
    return f"<tr><td>{what}</td><td class='asc-number'>{len(places)}</td><td>{names_of(places, shape, kind)}</td></tr>"


def names_of(places: np.ndarray, shape: Shape, kind: str) -> str:
    """Heads by layer, "L2: 3, 7"; other parts by the layer alone."""
    if kind != "heads":
        return ", ".join(f"L{place + 1}" for place in places) or "<span class='asc-quiet'>none</span>"
    rows = rows_of(shape, "heads")
    found = []
    for row in np.unique(rows[places]):
        heads = ", ".join(str(place - np.searchsorted(rows, row) + 1) for place in places[rows[places] == row])
        found.append(f"<span class='asc-chip'>L{row + 1}: {heads}</span>")
    return "".join(found) or "<span class='asc-quiet'>none</span>"


# The permutation test


def who_needs_more(session: Session, view: MapSelection) -> None:
    applications = [application for application, _ in view.others]
    first, second = pair(applications, view.application)
    found = needs_of(session.study, first, second, view.others)
    if found is None:
        st.html(
            f"<div class='asc-verdict'>Which heads does <b>{escape(first.title)}</b> need more than "
            f"<b>{escape(second.title)}</b>, beyond chance?</div><div class='asc-small'>A permutation test on each "
            "head's share in the squared gate gradients of single examples, which has no scale and so can be compared "
            f"between tasks. One small pass over {SAMPLES} examples of each.</div>"
        )
        start_button(session, view, first, second)
        return
    st.html(f"<div class='asc-verdict'>{needs_sentence(found, first, second)}</div>")
    shape = view.others[0][1].shape
    significant = found.adjusted < SIGNIFICANT
    drawn = needs_map(shape, found.difference, found.adjusted, significant, (first.title, second.title), colours())
    st.plotly_chart(drawn.figure, theme=None, config=CHART_CONFIG, key="across-needs")
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        scale_legend(drawn.scale, drawn.ends)
        st.html("<div class='asc-legend'><span>○ beyond chance</span></div>", width="content")
    with st.expander("The heads, with p values"):
        st.html(needs_table(found, shape, first, second))


def pair(applications: Sequence[Application], in_view: Application) -> tuple[Application, Application]:
    names = {application.name: application for application in applications}
    first = names.get(in_view.name, applications[0])
    others = [name for name in names if name != first.name]
    chosen = others[0]
    if len(others) > 1:
        chosen = st.selectbox(
            bare(f"{first.title} against"),
            others,
            format_func=lambda name: names[name].title,
            key=f"across-other-{first.title}",
            width=240,
        )
    return first, names[chosen]


def needs_of(
    study: Study, first: Application, second: Application, scored: Sequence[tuple[Application, Scores]]
) -> TaskSpecificity | None:
    """The test, where both applications' shares are known already. scored: by any method, encoders of one shape."""
    shares = [shares_of(study, one, scores) for wanted in (first, second) for one, scores in scored if one == wanted]
    if len(shares) != 2 or any(one is None or len(one) < FEWEST_EXAMPLES for one in shares):
        return None
    a, b = shares
    assert a is not None
    assert b is not None
    key = ("needs", str(study.path.absolute()), first.name, second.name, *(s.weights for _, s in scored))
    return models().memo(key, lambda: permutation_test(a, b, alternative="two-sided"))


def needs_of_part(study: Study, scored: Sequence[tuple[Application, Scores]], name: str, part: Part) -> str:
    """Who needs a head more, for one application against each other that it was tested against; HTML."""
    own = next(((application, scores) for application, scores in scored if application.name == name), None)
    if own is None or part.kind != "heads":
        return ""
    shape = own[1].shape
    alike = [(application, scores) for application, scores in scored if scores.shape == shape]
    place = sum(shape.heads[: part.row]) + (part.number or 0)
    said = []
    for other, _ in alike:
        found = needs_of(study, own[0], other, alike) if other.name != name else None
        if found is None:
            continue
        p = p_value(found.adjusted[place])
        if found.adjusted[place] >= SIGNIFICANT:
            how = "neither more nor less"
        else:
            how = "<b>more</b>" if found.difference[place] > 0 else "<b>less</b>"
        said.append(f"{how} than to {escape(other.title)} (p {'' if p.startswith('&lt;') else '= '}{p})")
    if not said:
        return ""
    return f"It matters {', '.join(said)}, as far as examples can tell; p for all heads together."


def shares_of(study: Study, application: Application, scores: Scores) -> np.ndarray | None:
    return kept.head_shares(study, application, scores.weights, SAMPLES)


def start_button(session: Session, view: MapSelection, first: Application, second: Application) -> None:
    key = f"{session.study.path.absolute()}|{first.name}|needs|{second.name}"
    jobs = all_jobs()
    job = jobs.last(session.id, "score", key)
    if job is not None and job.active:
        st.html("<div class='asc-small'>Being tested: the bar at the top says how far it is.</div>")
        return
    if job is not None and job.state == "failed":
        show_failure(job)

    def start() -> None:
        work = scoring_jobs.head_shares_job(models(), session.study, (first, second), SAMPLES, jobs)
        jobs.start(session.id, "score", key, f"{first.title} against {second.title}", work)

    st.button(
        "Test it: seconds to a minute", key="across-test", type="primary", icon=":material/science:", on_click=start
    )


def needs_sentence(found: TaskSpecificity, first: Application, second: Application) -> str:
    significant = found.adjusted < SIGNIFICANT
    more, less = int((significant & (found.difference > 0)).sum()), int((significant & (found.difference < 0)).sum())
    total, seen = len(found.p), f"{found.examples[0]:,} and {found.examples[1]:,} examples"
    if not more and not less:
        return f"No head matters more to one of them than to the other, beyond what chance could do on {seen}."
    return (
        f"<b>{more}</b> of {total} heads matter more to <b>{escape(first.title)}</b> and <b>{less}</b> more to "
        f"<b>{escape(second.title)}</b>, beyond chance (p &lt; {SIGNIFICANT:g} for all heads together, on {seen})."
    )


def needs_table(found: TaskSpecificity, shape: Shape, first: Application, second: Application) -> str:
    rows = rows_of(shape, "heads")
    lines = []
    for place in np.lexsort((-np.abs(found.difference), found.adjusted))[:SHOWN]:
        name = f"Layer {rows[place] + 1}, head {place - np.searchsorted(rows, rows[place]) + 1}"
        who = first if found.difference[place] > 0 else second
        style = "" if found.adjusted[place] < SIGNIFICANT else " class='asc-aside'"
        lines.append(
            f"<tr{style}><td>{name}</td><td>{escape(who.title)}</td>"
            f"<td>{numbers.points(found.difference[place], 2)}</td><td>{p_value(found.p[place])}</td>"
            f"<td>{p_value(found.adjusted[place])}</td></tr>"
        )
    head = (
        "<tr><th></th><th>matters more to</th><th>difference of shares<br><small>pp</small></th><th>p</th>"
        "<th>p, all heads together<br><small>Holm</small></th></tr>"
    )
    return f"<table class='asc-trust'>{head}{''.join(lines)}</table>"


def p_value(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"
