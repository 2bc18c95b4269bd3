"""One budget: bits, ranks, widths, layers and vocabulary compete for it, and what looks best is made and measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asc_core.recipes.allocation import Axis, Bound
from asc_core.recipes.allocation_search import FAMILIES, Fitted
from asc_core.recipes.budget_presets import BUDGET_PRESETS, ON_DEVICE, fastest_runtime
from asc_core.runtimes import RUNTIMES, installed
from dashboard.background.jobs import Job
from dashboard.measuring.allocation import LANE, Asked, Fits, fitting_job
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text.markup import bare, escape
from dashboard.text.numbers import plain
from dashboard.widgets.form_and_result import application_choice, form_and_result, while_it_runs
from dashboard.widgets.page import all_jobs, models
from dashboard.widgets.take_recipe import take_recipe

ABOUT = "allocation"
SECONDS_BETWEEN_RANKINGS = 1.0
AXES: dict[Axis, str] = {"bytes": "MB of weights", "flops": "% of the FLOPs", "ms": "ms at batch 1 x 128"}
USUAL: dict[Axis, float] = {"bytes": 9.0, "flops": 50.0, "ms": 5.0}
PRESETS = {name: preset for name, preset in BUDGET_PRESETS.items() if name != ON_DEVICE}  # which has its own tab
OWN = ""
NAMES = {"cut": "Cut", "factor": "Factors", "vocabulary": "Vocabulary", "bits": "Bits"}
BEFORE = (
    "<p class='asc-kicker'>What happens</p><div class='asc-small'>Each family is first tried alone, at a few "
    "strengths, on validation texts: that is its price. Of all combinations within the budget the one that should lose "
    "least is made and measured, then the next that differs, up to the number you say. It takes minutes (long texts: "
    "more) and can be stopped; prices are kept, so that a second budget is quicker.</div>"
)


def panel(session: Session, applications: Sequence[Application]) -> None:
    form_and_result(session, applications, LANE, ABOUT, _form, BEFORE, _result)


def _result(session: Session, job: Job) -> None:
    while_it_runs(job, lambda: _made(job), SECONDS_BETWEEN_RANKINGS)
    if not job.active:
        _take(session, job)


def _form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    st.html(
        "<p class='asc-kicker'>The best within one budget</p><div class='asc-small'>All families compete for it; "
        "within each, heads, neurons, ranks and rows are chosen for the application.</div>"
    )
    titles = application_choice(session, applications, "fit-application")
    preset = st.selectbox("Preset", [OWN, *PRESETS], format_func=_preset, key="fit-preset", on_change=fill)
    if preset != OWN:
        st.caption(bare(f"{PRESETS[preset].about} It has filled in what is below; change what you like."))
    state = st.session_state  # values that a preset may set begin here: a widget takes them from one place
    state.setdefault("fit-axis", "bytes")
    axes = list(AXES)
    chosen = st.segmented_control("Budget", axes, format_func=AXES.__getitem__, required=True, key="fit-axis")
    axis: Axis = chosen or "bytes"
    state.setdefault(f"fit-amount-{axis}", USUAL[axis])
    state.setdefault("fit-steps", 0)
    most = 100.0 if axis == "flops" else None
    amount, points = st.columns(2)
    amount.number_input(
        f"At most, {AXES[axis]}",
        min_value=0.01,
        max_value=most,
        value=None,
        key=f"fit-amount-{axis}",
        placeholder="all of the original",
    )
    points.number_input(
        "Points lost, at most",
        min_value=0.0,
        value=None,
        key="fit-points",
        placeholder="the least there is",
        help="With a number, the smallest within it and within the budget is looked for.",
    )
    if axis == "ms":
        st.selectbox("Runtime", installed(), key="fit-runtime", format_func=lambda name: RUNTIMES[name].title)
    families = st.pills(
        "Families", FAMILIES, selection_mode="multi", default=FAMILIES, key="fit-families", format_func=_name
    )
    made, steps = st.columns(2)
    made.number_input("Make and measure", min_value=1, max_value=20, value=3, key="fit-most")
    steps.number_input(
        "Training steps",
        min_value=0,
        max_value=100_000,
        key="fit-steps",
        help="Batches of distillation for the best one; 0 = nothing is trained.",
    )
    st.button(
        "Find the best",
        key="fit-start",
        type="primary",
        disabled=(job is not None and job.active) or not families,
        on_click=start,
        args=(session, titles, axis),
        help=None if families else "Allow a family.",
    )


def _preset(name: str) -> str:
    return PRESETS[name].title if name != OWN else "My own"


def fill() -> None:
    """The form's fields as the chosen preset has them; those that it says nothing of stay."""
    state = st.session_state
    preset = PRESETS.get(state["fit-preset"])
    if preset is None:
        return
    if preset.budget:
        bound = Bound.parse(preset.budget)
        state["fit-axis"] = bound.axis
        state[f"fit-amount-{bound.axis}"] = 100 * bound.most if bound.axis == "flops" else None
    state["fit-points"], state["fit-steps"] = preset.points, preset.steps
    if preset.fastest_runtime:
        state["fit-runtime"] = fastest_runtime()


def _name(family: str) -> str:
    return NAMES.get(family, family.capitalize())


def start(session: Session, titles: Mapping[str, Application], axis: Axis) -> None:
    state = st.session_state
    application = titles[state["fit-application"]]
    bound = bound_of(axis, state[f"fit-amount-{axis}"])
    families = tuple(family for family in FAMILIES if family in state["fit-families"])
    asked = Asked(
        bound,
        families,
        state["fit-points"],
        state["fit-steps"],
        state["fit-most"],
        state.get("fit-runtime", "torch"),
    )
    work = fitting_job(models(), session.study, application, asked)
    all_jobs().start(session.id, LANE, f"{ABOUT}|{application.name}", f"Fitting {application.title}", work)


def bound_of(axis: Axis, amount: float | None) -> Bound:
    """amount: in the form's unit; None = as much as the original takes, so that points alone decide."""
    if amount is None:
        return Bound(axis, 1.0, True)
    return Bound(axis, {"bytes": 1e6, "flops": 0.01, "ms": 1.0}[axis] * amount, axis == "flops")


def _made(job: Job) -> None:
    fits = job.latest
    if not isinstance(fits, Fits):
        st.html("<div class='asc-quiet asc-small'>Loading.</div>")
        return
    if not fits.made:
        st.html("<div class='asc-quiet asc-small'>Each family is priced alone; the first allocation follows.</div>")
        return
    st.html(made_table(fits))
    for family, reason in fits.left_out.items():
        st.caption(bare(f"{_name(family)} was left out: {reason}"))


def _take(session: Session, job: Job) -> None:
    fits = job.latest
    if isinstance(fits, Fits):
        recipes = {one.recipe.key: one for one in fits.made if one.meets and one.recipe.steps}
        titles = {key: one.title for key, one in recipes.items()}
        take_recipe(session, "fit", titles, {key: one.recipe for key, one in recipes.items()})


def made_table(fits: Fits) -> str:
    """What meets the budget first, by the points that it is expected to lose."""
    rows = "".join(_row(one, fits) for one in fits.made)
    timed = bool(fits.original.ms)
    head = f"<tr><th></th><th>MB</th><th>FLOPs</th>{'<th>ms</th>' * timed}<th>points lost</th><th></th></tr>"
    about = (
        f"MB of weights in the compact format; points on the {fits.split} split, which also chose, with 95 % paired "
        "intervals: measure the final model on another split"
    )
    return (
        f"<table class='asc-costs asc-number asc-deploy'>{head}{rows}</table>"
        f"<div class='asc-small asc-quiet'>{escape(about)}</div>"
    )


def _row(one: Fitted, fits: Fits) -> str:
    size, original = one.footprint, fits.original
    ends = ""
    if one.interval is not None:
        low, high = (plain(end, 2) for end in one.interval)
        ends = f" <span class='asc-quiet'>[{low}, {high}]</span>"
    ms = f"<td>{size.ms:.2f}</td>" if original.ms else ""
    quiet = "" if one.meets else " class='asc-quiet'"
    return (
        f"<tr{quiet}><td>{escape(one.title)}</td><td>{size.bytes / 1e6:.2f}</td>"
        f"<td>{size.flops / original.flops:.0%}</td>{ms}<td><b>{plain(one.points, 2)}</b>{ends}</td>"
        f"<td>{'' if one.meets else 'beyond'}</td></tr>"
    )
