"""How many examples a ranking needs."""

from __future__ import annotations

import streamlit as st

from asc_core.parts import SINGLE, headline
from asc_core.scores.ablation import ABLATIONS
from dashboard.charts.stability import stability_chart
from dashboard.panels.selection import MapSelection
from dashboard.state.session import Session
from dashboard.tables.ranking_stability import ENOUGH, Stability, stability_of
from dashboard.text.markup import escape
from dashboard.text.method_names import title_of
from dashboard.text.names import KIND_NAMES
from dashboard.widgets.page import CHART_CONFIG
from dashboard.widgets.theme import colours

KINDS = (*SINGLE, "neurons")
FAR = 100


def panel(session: Session, view: MapSelection) -> None:
    known = {
        kind: [
            s for method, scores in view.own.items() if method not in ABLATIONS and (s := stability_of(scores, kind))
        ]
        for kind in KINDS
    }
    known = {kind: found for kind, found in known.items() if found}
    if not known:
        st.info(
            "None of this application's scores has intervals to judge its stability by.", icon=":material/timeline:"
        )
        return
    kind = st.segmented_control(
        "Of",
        list(known),
        format_func=headline,
        key="examples-kind",
        default=next(iter(known)),
        required=True,
        label_visibility="collapsed",
    )
    kind = kind if kind in known else next(iter(known))
    left, right = st.columns([62, 38], gap="medium")
    with left:
        st.html(f"<div class='asc-verdict'>{sentence(known[kind], view.method, kind)}</div>")
        figure = stability_chart(known[kind], view.method, colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key=f"examples-chart-{kind}")
        st.html(
            "<div class='asc-small asc-quiet'>Stability: the rank correlation to be expected with the ranking from as "
            "many other examples. Filled points were watched during the sweep, hollow ones are estimated "
            "from the scores' intervals, mostly a little low; dotted lines are predicted from the last point.</div>"
        )
    with right:
        st.html(table(known[kind], view.method))


def sentence(found: list[Stability], method: str, kind: str) -> str:
    one = next((s for s in found if s.method == method), None)
    if one is None:
        return f"<b>{escape(title_of(method))}</b> says nothing of {KIND_NAMES[kind]}, or has no intervals there."
    seen = int(one.examples[-1])
    name, now = f"<b>{escape(title_of(method))}</b>", f"{one.now:.2f}"
    if one.now >= ENOUGH:
        first = next((int(n) for n, value in zip(one.examples, one.values, strict=True) if value >= ENOUGH), seen)
        earlier = f" It was so after {first:,} already." if one.watched and first < seen else ""
        return (
            f"{seen:,} examples are enough: the ranking of {KIND_NAMES[kind]} by {name} has settled ({now}).{earlier}"
        )
    more = f"about {rounded(one.enough)}" if one.enough <= FAR * seen else "very many"
    return (
        f"The ranking of {KIND_NAMES[kind]} by {name} has not settled on {seen:,} examples ({now}); {more} would make "
        f"it {ENOUGH:g}."
    )


def table(found: list[Stability], method: str) -> str:
    lines = []
    for one in sorted(found, key=lambda each: -each.now):
        style = " class='asc-best'" if one.method == method else ""
        need = (
            "now"
            if one.now >= ENOUGH
            else (rounded(one.enough) if one.enough <= FAR * one.examples[-1] else "very many")
        )
        lines.append(
            f"<tr{style}><td>{escape(title_of(one.method))}</td><td>{int(one.examples[-1]):,}</td>"
            f"<td>{'' if one.watched else '≈ '}{one.now:.2f}</td><td>{need}</td></tr>"
        )
    head = "<tr><th></th><th>examples</th><th>stability</th><th>settled at</th></tr>"
    return f"<table class='asc-trust'>{head}{''.join(lines)}</table>"


def rounded(number: int) -> str:
    """Two figures: it is a prediction."""
    step = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // step) * step:,}"
