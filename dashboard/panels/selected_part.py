"""One part: its scores for every application, what ablation says of it, and what cutting it alone would save."""

from __future__ import annotations

import streamlit as st

from asc_core.plan import CostModel, Part
from asc_core.scores.ablation import ABLATION
from asc_core.values import Plan, Scores
from dashboard.background.application_jobs import open_job
from dashboard.charts.grid import Grid, grid, interval_at, interval_grids, ranks, value_at
from dashboard.charts.heatmap import Panel
from dashboard.panels import across
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.text.names import part_name
from dashboard.widgets.page import load, models


def panel(
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
            so_far = f"<br><span class='asc-quiet asc-small'>{escape(panel.note)}</span>" if panel.note else ""
            weight = "b" if application.name == name else "span"
            rows.append(
                f"<tr><td><{weight}>{escape(panel.title)}</{weight}>{so_far}</td>"
                f"<td>{numbers.score(value_at(own, part))}<br>"
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
    session.chart_version += 1


def exists(part: Part, own: Grid) -> bool:
    column = own.column(part.kind)
    return (
        part.row < len(column) and (part.number or 0) < column.shape[1] and value_at(own, part) == value_at(own, part)
    )


def savings(session: Session, application: Application, part: Part) -> None:
    """What cutting this part alone would save; needs the application's encoder and texts, loaded in the background."""
    cost_model = models().cached_cost_model(application)
    if cost_model is None:
        load(session, application.name, "Counting", open_job(models(), session.study, application))
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
        f"per text ({numbers.percent(flops / dense.flops, 2)} of the encoder's) on {escape(application.title)}.</div>"
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
