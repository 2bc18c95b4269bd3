"""On a device: the largest model that fits into so many bytes, trained, measured, and ready for one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from asc_core.recipes.on_device import LEAST, PASSES
from asc_core.values import Estimate
from dashboard.background.jobs import Job
from dashboard.measuring.on_device import LANE, Asked, OnDevice, on_device_job
from dashboard.state.application import Application
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import escape
from dashboard.widgets.form_and_result import application_choice, form_and_result, while_it_runs
from dashboard.widgets.page import all_jobs, models
from dashboard.widgets.take_recipe import take_recipe

ABOUT = "device"
FORMAT = "device"
SECONDS_BETWEEN_ESTIMATES = 1.0
KILOBYTES = 900
BEFORE = (
    "<p class='asc-kicker'>What happens</p><div class='asc-small'>Tokens and positions that the application does not "
    "use go, the word embedding becomes two factors, a student of few layers learns from the original, then learns on "
    "with its matrices in few bits. The largest size that fits is found at once; the training takes minutes, on much "
    "text longer. It can be stopped, and with the same values it goes on where it was. Then it is measured on "
    "validation texts beside the original. Export writes one file, with the tokenizer in it, that numpy alone answers "
    "from.</div>"
)
ASSUMED = "Validation texts chose among the epochs and measure here: confirm on the test split, as Export does."


def panel(session: Session, applications: Sequence[Application]) -> None:
    form_and_result(session, applications, LANE, ABOUT, _form, BEFORE, _result)


def _form(session: Session, applications: Sequence[Application], job: Job | None) -> None:
    st.html(
        "<p class='asc-kicker'>The smallest devices</p><div class='asc-small'>A model and its tokenizer in one file of "
        "less than a megabyte.</div>"
    )
    titles = application_choice(session, applications, "device-application")
    most, passes = st.columns(2)
    most.number_input("kB, at most", min_value=1, value=KILOBYTES, step=50, key="device-most", help="1 kB: 1,000 bytes")
    passes.number_input(
        "Passes over the training texts",
        min_value=1,
        max_value=1000,
        value=PASSES,
        key="device-passes",
        help=f"In float32, and no fewer than {LEAST:,} batches; a quarter as many in few bits follow.",
    )
    st.button(
        "Make it",
        key="device-start",
        type="primary",
        disabled=job is not None and job.active,
        on_click=start,
        args=(session, titles),
        help="Begun before with the same values, it goes on where it was.",
    )


def start(session: Session, titles: Mapping[str, Application]) -> None:
    state = st.session_state
    application = titles[state["device-application"]]
    asked = Asked(1e3 * state["device-most"], state["device-passes"])
    work = on_device_job(models(), session.study, application, asked)
    title = f"{application.title} on a device"
    all_jobs().start(session.id, LANE, f"{ABOUT}|{application.name}", title, work)


def _result(session: Session, job: Job) -> None:
    while_it_runs(job, lambda: _found(job), SECONDS_BETWEEN_ESTIMATES)
    found = job.result
    if isinstance(found, OnDevice):
        form = FORMAT if found.fit.of_file else None
        take_recipe(session, "device", {found.recipe.key: found.title}, {found.recipe.key: found.recipe}, form)


def _found(job: Job) -> None:
    if job.state == "cancelled":
        st.caption("Cancelled. Make it again with the same values, and it goes on where it was.")
    found = job.latest
    if not isinstance(found, OnDevice):
        if job.active:
            st.html("<div class='asc-quiet asc-small'>Loading; the largest size that fits comes first.</div>")
        return
    st.html(size_html(found))
    if found.estimates:
        st.html(estimates_table(found.estimates))
    elif job.active:
        st.html("<div class='asc-quiet asc-small'>Training; what it loses follows.</div>")
    if found.parts:
        st.html(parts_table(found.parts))
    if found.said:
        with st.expander("What was done"):
            st.html(f"<div class='asc-small'>{'<br>'.join(map(escape, found.said))}</div>")


def size_html(found: OnDevice) -> str:
    """Bytes, what they are of, and the rate; then the shape."""
    fit, size = found.fit, found.fit.size
    of = "of one file, tokenizer included" if fit.of_file else "of weights alone: this encoder has no device file"
    rank = f"word embedding in two factors of rank {size.rank}" if size.rank else "word embedding whole"
    layers = f"{size.depth} layer{'s' * (size.depth != 1)}"
    rate = numbers.percent(1 - fit.bytes / found.original, 2)
    return (
        f"<div class='asc-figures'><span><b>{fit.bytes:,} bytes</b> {of}</span>"
        f"<span><b>{rate}</b> less than the {numbers.size(found.original)} of the original's weights in float32</span>"
        "</div>"
        f"<div class='asc-small asc-quiet'>{layers} of {size.heads} heads and {size.width:,} neurons, {rank}; "
        f"matrices in {size.bits} bits, words in {size.embedding_bits}</div>"
    )


def estimates_table(estimates: Sequence[Estimate]) -> str:
    rows = "".join(_row(one) for one in estimates)
    first = estimates[0]
    part = "" if first.complete else f" of {first.total:,}"
    about = f"{first.examples:,}{part} {first.split} examples, 95 % paired intervals. {ASSUMED}"
    head = "<tr><th></th><th>original</th><th>here</th><th>points lost</th></tr>"
    return (
        f"<table class='asc-costs asc-number asc-deploy'>{head}{rows}</table>"
        f"<div class='asc-small asc-quiet'>{escape(about)}</div>"
    )


def _row(one: Estimate) -> str:
    original = lost = "?"
    if one.difference is not None:
        original, lost = (
            numbers.percent(one.value - one.difference),
            f"<b>{numbers.plain(-100 * one.difference, 2)}</b>",
        )
    if one.difference_interval is not None:
        low, high = (numbers.plain(-100 * end, 2) for end in one.difference_interval[::-1])
        lost += f" <span class='asc-quiet'>[{low}, {high}]</span>"
    cells = (escape(one.metric), original, numbers.percent(one.value), lost)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def parts_table(parts: Mapping[str, int]) -> str:
    """Bytes of the file by part, and that they are all of it."""
    whole = sum(parts.values())
    rows = "".join(
        f"<tr><td>{escape(part)}</td><td>{size:,}</td><td>{size / whole:.0%}</td></tr>" for part, size in parts.items()
    )
    head = "<tr><th>the file</th><th>bytes</th><th></th></tr>"
    last = f"<tr><td>all</td><td><b>{whole:,}</b></td><td></td></tr>"
    return f"<table class='asc-costs asc-number asc-deploy'>{head}{rows}{last}</table>"
