"""Matrices in int8: what each does to the application's answers, and which ones had better stay in float32."""

from __future__ import annotations

import streamlit as st

from asc_core.compress.matrix_scan import SAMPLES, Effect, MatrixScan, expected_changed, least_kept
from asc_core.modeling import EMBEDDING
from dashboard.charts.matrices import matrices_heatmap
from dashboard.measuring.matrix_scans import LANE, scan_job, scan_of
from dashboard.panels.selection import MapSelection
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.page import CHART_CONFIG, all_jobs, models, scale_legend, show_failure
from dashboard.widgets.theme import colours

INPUTS = {"dynamic": "inputs rounded, too", "none": "weights alone"}
NAMED = 8  # of the matrices that stay; the dots show all


def panel(session: Session, view: MapSelection) -> None:
    application = view.application
    left, right = st.columns([5, 13], gap="large")
    with left:
        chosen = st.segmented_control(
            "int8 of",
            list(INPUTS),
            format_func=INPUTS.__getitem__,
            key="matrices-activations",
            default="dynamic",
            required=True,
            help="ONNX Runtime multiplies integers, so inputs are rounded, too; other formats store integers alone.",
        )
        limit = st.slider(
            "Answers changed, at most",
            0.0,
            5.0,
            1.0,
            0.1,
            format="%.1f %%",
            key="matrices-limit",
            help="The step quantize has this limit, too; asc export --int8 takes 1 %.",
        )
        activations = chosen or "dynamic"
        found = scan_of(session.study, application, activations)
        _measure(session, application, activations, again=found is not None)
    with right:
        if found is None:
            st.html(
                "<div class='asc-verdict'>Which matrices can be int8?</div><div class='asc-small'>Each matrix alone, "
                f"then all together, on {SAMPLES} training texts: how far outputs move, and how many answers change. "
                "No labels are read.</div>"
            )
            return
        stay = least_kept(found, limit / 100)
        st.html(
            f"<div class='asc-verdict'>{what_it_shows(found)}</div>"
            f"<div class='asc-small'>{what_stays(found, stay, limit / 100)}</div>"
        )
        if any(name != EMBEDDING for name in found.names):
            figure = matrices_heatmap(found, stay, colours())
            st.plotly_chart(figure, theme=None, config=CHART_CONFIG, key="matrices-chart")
            with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
                scale_legend(colours().sequential, ("alone, outputs move least", "most, log scale"))
                st.html("<div class='asc-legend'><span>○ stays in float32</span></div>", width="content")


def _measure(session: Session, application: Application, activations: str, again: bool) -> None:
    key = f"{session.study.path.absolute()}|matrices|{application.name}|{activations}"
    jobs = all_jobs()
    job = jobs.last(session.id, LANE, key)
    if job is not None and job.active:
        st.html("<div class='asc-small'>Being measured: the bar at the top says how far it is.</div>")
        return
    if job is not None and job.state == "failed":
        show_failure(job)

    def start() -> None:
        work = scan_job(models(), session.study, application, activations)
        jobs.start(session.id, LANE, key, f"Matrices of {application.title} in int8", work)

    st.button(
        "Measure again" if again else "Measure: seconds to minutes",
        key="matrices-measure",
        type="secondary" if again else "primary",
        icon=":material/science:",
        on_click=start,
    )


def what_it_shows(scan: MatrixScan) -> str:
    """Of all matrices together, and of the one that does most; HTML."""
    if not scan.names:
        return "There is no matrix here that could be int8."
    worst = max(zip(scan.names, scan.alone, strict=True), key=lambda pair: pair[1].divergence)
    return (
        f"All {len(scan.names)} matrices in int8 together {_do(scan.together)} on "
        f"{scan.texts:,} texts; alone, <b>{escape(called(worst[0]))}</b> moves outputs most "
        f"(it {_do(worst[1], 's')})."
    )


def what_stays(scan: MatrixScan, stay: tuple[str, ...], limit: float) -> str:
    """HTML. How many answers a choice changes is estimated, and said to be."""
    within = f"at most {numbers.percent(limit)}"
    if not stay:
        return f"That is within {within}: none stays in float32."
    total = sum(one.divergence for one in scan.alone)
    left = sum(one.divergence for name, one in zip(scan.names, scan.alone, strict=True) if name not in stay)
    named = ", ".join(escape(called(name)) for name in stay[:NAMED])
    more = f" and {len(stay) - NAMED} more" if len(stay) > NAMED else ""
    share = expected_changed(scan, left / total if total else 0.0)
    rest = len(scan.names) - len(stay)
    return (
        f"For {within}, <b>{len(stay)}</b> stay{'s' * (len(stay) == 1)} in float32: {named}{more}. The other {rest} "
        f"are then expected to change {numbers.percent(share, 2)}: an estimate, by what each "
        "does alone as a share of what all do. The step <i>quantize</i> and an export in int8 measure what they choose."
    )


def called(name: str) -> str:
    """A matrix for people: rows of layer weights count from 1."""
    if name == EMBEDDING:
        return "the word embedding"
    row, _, path = name.partition(".")
    return f"layer {int(row) + 1}, {path}"


def _do(effect: Effect, ending: str = "") -> str:
    """ending: of the verb."""
    if not effect.decides:
        return f"take{ending} {numbers.percent(effect.share, 3)} of the outputs' square"
    if not effect.share:
        return f"change{ending} no answer"
    return f"change{ending} {numbers.percent(effect.share, 2)} of the answers"
