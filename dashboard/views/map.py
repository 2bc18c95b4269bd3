"""Map: how much every part contributes, for all applications side by side on one colour scale."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from asc_core.plan import CostModel, Part
from asc_core.scores.ablation import ABLATION
from asc_core.scores.methods import offered
from asc_core.values import Plan, Scores
from dashboard.background import scoring_jobs
from dashboard.charts.agreement import agreement_matrix, rank_agreement
from dashboard.charts.grid import COLUMNS, grid, interval_at, interval_grids, part_name, ranks, value_at
from dashboard.charts.heatmap import Maps, Panel, difference, redundant_for, side_by_side
from dashboard.panels import across, examples, parts, trust
from dashboard.panels.selection import InView
from dashboard.state.applications import Application, applications_of
from dashboard.state.session import Session
from dashboard.tables.undecided import Cut, cut_in_view
from dashboard.text import numbers
from dashboard.text.method_names import LABELS, description_of, in_order, title_of
from dashboard.widgets.page import (
    CHART_CONFIG,
    errors_in_page,
    escape,
    library,
    load,
    read_scores,
    running_work,
    scale_legend,
    this_session,
    write_address,
)
from dashboard.widgets.theme import colours

VIEWS = {"all": "Side by side", "difference": "Difference", "shared": "Redundant"}
READING = {
    "all": "Strong colours contribute much, faint ones little. <b>Click a cell</b> for its scores everywhere and what "
    "cutting it saves. A dot ○: its interval crosses the cut, so more examples could decide otherwise.",
    "difference": "Which of two applications a part matters more to, by its place in each one's own order. Hover a "
    "cell for both places; click cells where the maps stand <b>side by side</b>.",
    "shared": "The fainter, the more applications could do without the part. Hover a cell for which ones; click cells "
    "where the maps stand <b>side by side</b>.",
}
KINDS = {"heads": "heads", "ffn": "FFNs", "layers": "layers"}
PANELS = {
    "trust": "Which method to believe",
    "parts": "All parts",
    "examples": "How many examples",
    "across": "Across applications",
}
OF_PANEL = {"trust": trust.panel, "parts": parts.panel, "examples": examples.panel, "across": across.panel}
LOW_SHARE = 0.3


def page() -> None:
    session = this_session()
    running_work(session)
    scored = newest_by_method(session)
    if not scored:
        st.info("Nothing has been scored in this study yet.", icon=":material/grid_on:")
        st.page_link("views/overview.py", label="Score an application", icon=":material/play_arrow:")
        return
    left, right = st.columns([19, 7], gap="medium")
    with left:
        method = controls(session, scored)
        panels = [Panel(application.title, scores) for application, scores in scored[method]]
        applications = [application for application, _ in scored[method]]
        maps(session, applications, panels)
    with right:
        if session.selected is not None and st.session_state.get("map-view", "all") == "all":
            details(session, applications, panels, scored)
        else:
            explain()
            agreement(panels)
    below(session, scored)
    write_address(session)


def newest_by_method(session: Session) -> dict[str, list[tuple[Application, Scores]]]:
    """method -> its newest scores of every application, in the order of the registry."""
    study, index = session.study, session.study.score_index()
    found: dict[str, list[tuple[Application, Scores]]] = {}
    for application in applications_of(study):
        weights = study.get(scoring_jobs.weights_setting(application))
        for (task, method), entry in scoring_jobs.newest_scores(index, weights).items():
            if task == application.name:
                found.setdefault(method, []).append((application, read_scores(study, entry)))
    return {method: found[method] for method in in_order(found)}


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
        "Would go: the lowest",
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
    return ", ".join(told) or "looks at no data"


def maps(session: Session, applications: list[Application], panels: list[Panel]) -> None:
    view = st.session_state.get("map-view", "all")
    same_shape = [p for p in panels if p.scores.shape == panels[0].scores.shape]
    if view == "all":
        key = session.fresh_key("map-chart")
        take_click(session, applications, st.session_state.get(key))
        names = [application.name for application in applications]
        selected = None
        if session.selected is not None and session.selected[0] in names:
            selected = (names.index(session.selected[0]), session.selected[1])
        cuts = [
            cut_in_view(session, name, panel.scores, low_share()) for name, panel in zip(names, panels, strict=True)
        ]
        drawn = side_by_side(
            panels,
            colours(),
            st.session_state.get("map-colour", "rank") == "rank",
            selected=selected,
            undecided=[cut.cells(panel.scores.shape) for cut, panel in zip(cuts, panels, strict=True)],
        )
        st.plotly_chart(
            drawn.figure, key=key, on_select="rerun", selection_mode="points", theme=None, config=CHART_CONFIG
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
            scale_legend(drawn.scale, drawn.ends)
            st.html(f"<div class='asc-legend'>{undecided_legend(cuts, panels)}</div>", width="content")
    elif len(same_shape) < 2:
        st.info("This view compares applications on encoders of one shape; score a second one with this method.")
    elif view == "difference":
        titles = [panel.title for panel in same_shape]
        first, second, _ = st.columns([1, 1, 3])
        one = first.selectbox("Application", titles, key="map-first")
        other = second.selectbox("minus", [t for t in titles if t != one], key="map-second")
        chosen = {panel.title: panel for panel in same_shape}
        show(difference(chosen[one], chosen[other], colours()), "map-difference")
        st.caption(
            "Places in each application's own order: a part that is first for one and last for the other is deepest."
        )
    else:
        show(redundant_for(same_shape, low_share(), colours()), "map-shared")


def undecided_legend(cuts: Sequence[Cut], panels: Sequence[Panel]) -> str:
    """What the dots mean; at whose cut."""
    if all(panel.scores.low is None for panel in panels):
        return ""
    by_tune = [panel.title for cut, panel in zip(cuts, panels, strict=True) if cut.plan is not None]
    lowest = f"the lowest {100 * low_share():.0f} %"
    if not by_tune:
        where = lowest
    elif len(by_tune) == len(panels):
        where = "Tune's cut"
    else:
        where = f"Tune's cut of {escape(', '.join(by_tune))}, {lowest} elsewhere"
    return f"<span>○ undecided at {where}</span>"


def show(drawn: Maps, key: str) -> None:
    st.plotly_chart(drawn.figure, theme=None, config=CHART_CONFIG, key=key, width=620)
    scale_legend(drawn.scale, drawn.ends)


def take_click(session: Session, applications: list[Application], event: object) -> None:
    """A click on a cell selects it."""
    points = event["selection"]["points"] if event is not None else []  # type: ignore[index]
    data = next((point["customdata"] for point in points if point.get("customdata")), None)
    if data is None:
        return
    index, kind, row, number = data
    if 0 <= int(index) < len(applications):
        part = Part(str(kind), int(row), None if number is None else int(number))
        session.selected = (applications[int(index)].name, part)
        st.session_state["map-application"] = applications[int(index)].name


def explain() -> None:
    said = READING[st.session_state.get("map-view") or "all"]
    with st.container(border=True):
        st.html(f"<p class='asc-kicker'>How to read it</p><div class='asc-small'>{said}</div>")


def details(
    session: Session,
    applications: list[Application],
    panels: list[Panel],
    scored: dict[str, list[tuple[Application, Scores]]],
) -> None:
    name, part = session.selected  # type: ignore[misc]
    with st.container(border=True, key="map-details"):
        title, close = st.columns([5, 1], vertical_alignment="center")
        title.html(f"<p class='asc-kicker'>Selected</p><b>{escape(part_name(part))}</b>")
        close.button("✕", key="map-close", type="tertiary", help="Close", on_click=deselect, args=(session,))
        rows = []
        for application, panel in zip(applications, panels, strict=True):
            own = grid(panel.scores.values, panel.scores.shape)
            if not exists(part, own):
                continue
            interval = interval_at(interval_grids(panel.scores), part)
            written = f"[{numbers.score(interval[0])}, {numbers.score(interval[1])}]" if interval else "no interval"
            place = value_at(ranks(own), part)
            weight = "b" if application.name == name else "span"
            rows.append(
                f"<tr><td><{weight}>{escape(panel.title)}</{weight}></td><td>{numbers.score(value_at(own, part))}<br>"
                f"<span class='asc-quiet asc-small'>{written}</span></td><td>{100 * place:.0f}</td></tr>"
            )
        st.html(
            f"<table class='asc-costs'><tr><th></th><th>{escape(session.method)} score, 95 % interval</th>"
            f"<th>percentile</th></tr>{''.join(rows)}</table>"
        )
        ablated(scored, name, part)
        tested = across.needs_of_part(session.study, scored[session.method], name, part)
        if tested:
            st.html(f"<div class='asc-small' style='margin-top:.4rem'>{tested}</div>")
        for application in applications:
            if application.name == name:
                savings(session, application, part)


def ablated(scored: dict[str, list[tuple[Application, Scores]]], name: str, part: Part) -> None:
    """What really happens without the part, where that was measured."""
    for application, truth in scored.get(ABLATION, []):
        own = grid(truth.values, truth.shape)
        if application.name != name or not exists(part, own):
            continue
        interval = interval_at(interval_grids(truth), part)
        written = f" [{numbers.score(interval[0])}, {numbers.score(interval[1])}]" if interval else ""
        st.html(
            "<div class='asc-small' style='margin-top:.4rem'>Switched off alone, the loss on "
            f"{escape(application.title)} changes by <b>{numbers.score(value_at(own, part))}</b>{written} "
            f"({truth.examples:,} {escape(truth.split)} examples).</div>"
        )


def deselect(session: Session) -> None:
    session.selected = None
    session.nonce += 1


def exists(part: Part, own) -> bool:  # type: ignore[no-untyped-def]
    column = own.column(part.kind)
    return (
        part.row < len(column) and (part.number or 0) < column.shape[1] and value_at(own, part) == value_at(own, part)
    )


def savings(session: Session, application: Application, part: Part) -> None:
    """What cutting this part alone would save; needs the application's encoder and texts, loaded in the background."""
    cost_model = library().known_cost_model(application)
    if cost_model is None:
        load(session, application.name, "Counting", scoring_jobs.opening(library(), session.study, application))
        return
    plan = without(cost_model, part)
    if plan is None:
        st.caption("Layers of this encoder share weights and cannot go alone.")
        return
    cost, dense = cost_model.cost(plan), cost_model.dense
    flops, parameters = dense.flops - cost.flops, dense.parameters - cost.parameters
    st.html(
        f"<div class='asc-small' style='margin-top:.4rem'>Cutting it alone saves <b>{numbers.amount(parameters)}</b> "
        f"parameters ({numbers.percent(parameters / dense.parameters, 2)}) and <b>{numbers.amount(flops)}</b> FLOPs "
        f"a text ({numbers.percent(flops / dense.flops, 2)} of the encoder's) on {escape(application.title)}.</div>"
    )


def without(cost_model: CostModel, part: Part) -> Plan | None:
    shape = cost_model.shape
    full = Plan.full(shape)
    if part.kind == "heads":
        return full.drop(part.row, head=part.number)
    if part.kind == "ffn":
        neurons = tuple(() if row == part.row else kept for row, kept in enumerate(full.neurons))
        return Plan(shape, full.heads, neurons, full.layers)
    return None if shape.shares_weights or shape.layers == 1 else full.drop(part.row)


def agreement(panels: list[Panel]) -> None:
    if len(panels) < 2:
        return
    scores = [panel.scores for panel in panels]
    kinds = [
        kind
        for kind in KINDS
        if not (
            grid(scores[0].values, scores[0].shape).column(kind) != grid(scores[0].values, scores[0].shape).column(kind)
        ).all()
    ]
    with st.container(border=True, key="map-agreement"):
        title, choice = st.columns([3, 2], vertical_alignment="center")
        title.html("<p class='asc-kicker'>Rank agreement (Spearman)</p>")
        kind = choice.selectbox(
            "of", kinds, format_func=KINDS.__getitem__, key="map-kind", label_visibility="collapsed"
        )
        figure = agreement_matrix([panel.title for panel in panels], rank_agreement(scores, kind), colours())
        st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="map-agreement-chart")


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
                format_func=PANELS.__getitem__,
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
        view = InView(everyone.get(name, everyone[chosen]), session.method, scored, low_share())
        OF_PANEL[panel or "trust"](session, view)


with errors_in_page():
    page()
