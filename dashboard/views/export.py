"""Export: a recipe's model as a directory that loads anywhere, checked in a fresh process before it is called good."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import streamlit as st

from asc_core.errors import UserError
from asc_core.export import FORMATS
from asc_core.export.package import RECIPE_FILE
from asc_core.export.timing import Timing
from asc_core.recipes import Recipe
from asc_core.recipes.stored import pinned_recipes
from dashboard.background.jobs import Job
from dashboard.measuring.downloads import address_of
from dashboard.measuring.export_jobs import (
    Exported,
    export_job,
    exports_of,
    folder_for,
    named,
    pictures_of,
    size_of,
)
from dashboard.panels.formats import Choice, choose_format
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.state.applications import applications_of, of_plan
from dashboard.state.pins import settings_of_pin, settings_of_plan
from dashboard.state.session import Session
from dashboard.text import numbers
from dashboard.text.markup import bare, escape
from dashboard.widgets.page import (
    all_jobs,
    errors_in_page,
    models,
    running_work,
    show_failure,
    this_session,
    write_address,
)


@dataclass(frozen=True)
class Candidate:
    """A recipe that can be exported."""

    title: str
    recipe: Recipe
    application: Application


def page() -> None:
    session = this_session()
    running_work(session)
    candidates = candidates_of(session)
    left, right = st.columns([5, 6], gap="large")
    with left:
        if candidates:
            form(session, candidates)
        else:
            st.info(
                "There is no cut yet. Make one on Tune; the one in view there can be exported here.",
                icon=":material/tune:",
            )
            st.page_link("views/tune.py", label="Tune a cut", icon=":material/tune:")
        earlier(session)
    with right:
        job = all_jobs().last(session.id, "export")
        if job is not None and job.state == "failed":
            show_failure(job)
        elif job is not None and job.state == "cancelled":
            st.info("The export was stopped; nothing was written.", icon=":material/info:")
        elif job is not None and job.result is not None:
            report(job)
        else:
            explain()
    write_address(session)


def candidates_of(session: Session) -> list[Candidate]:
    """The recipe in view on Tune, then the pinned ones."""
    study = session.study
    known = applications_of(study)
    found = []
    if session.plan_key is not None:
        plan = study.plan(session.plan_key)
        if plan is not None:
            settings = session.settings or settings_of_plan(study, plan.key, session.application, "")
            label = session.settings.label if session.settings is not None else "from a link"
            named = settings.application if settings is not None else plan.provenance.task or ""
            target = of_plan(study, known, None if settings is not None else plan, named)
            if target is not None:
                recipe = Recipe.of(plan) if settings is None else settings.recipe(plan)
                found.append(Candidate(f"in view: {label}", recipe, target))
    for name, recipe in pinned_recipes(study).items():
        usual = recipe.task or session.application
        settings = settings_of_pin(study, name, recipe, usual, "")
        named = settings.application if settings is not None else usual
        target = of_plan(study, known, None if settings is not None else recipe.cut, named)
        if target is not None:
            found.append(Candidate(name, recipe, target))
    return found


def form(session: Session, candidates: list[Candidate]) -> None:
    titles = [candidate.title for candidate in candidates]
    title = st.selectbox("Recipe", titles, key="export-candidate")
    chosen = candidates[titles.index(title)]
    summary(session, chosen)
    wanted = choose_format(models(), chosen.application, chosen.recipe)
    pinned = title if title in session.study.pins else chosen.recipe.key[:6]
    usual = default_name(chosen.application.title, pinned, wanted)
    name = st.text_input("Name", value=usual, key=f"export-name-{chosen.recipe.key}-{usual}")
    overwrite = st.checkbox("Replace an export of this name", key="export-overwrite")
    busy = any(job.active for job in all_jobs().of(session.id, "export"))
    blocked = wanted.refused is not None or busy
    if st.button("Export", key="export-start", type="primary", icon=":material/ios_share:", disabled=blocked):
        with errors_in_page():  # beside the button: what was exported before stays on the page
            out = folder_for(session.study, name.strip())
            if out.exists() and not overwrite:
                raise UserError(f"There is an export called {name.strip()} already: choose another name or replace it.")
            work = export_job(
                models(),
                session.study,
                chosen.application,
                wanted.recipe,
                out,
                format=wanted.format,
                packing=wanted.packing,
                overwrite=overwrite,
            )
            all_jobs().start(session.id, "export", str(out), f"Exporting {name.strip()}", work, alone=True)
            st.rerun()
    if busy:
        st.caption("An export is under way: see the top of this page.")


def default_name(application: str, recipe: str, wanted: Choice) -> str:
    """One for each format and storage, so that exports of one recipe stand beside each other."""
    form = FORMATS[wanted.format]
    parts = [application, recipe]
    if wanted.format != next(iter(FORMATS)):
        parts.append(wanted.format)
    if wanted.stored_as != form.packings[0]:
        parts.append(wanted.stored_as)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))
    return re.sub("-{2,}", "-", plain).strip("-.")[:64]


def summary(session: Session, chosen: Candidate) -> None:
    recipe, plan = chosen.recipe, chosen.recipe.cut
    rule = (plan.provenance.rule or "by hand") if plan is not None else ""
    measured = ""
    weights = kept.weights(session.study, chosen.application).get()
    for row in session.study.evaluations():
        mine = (row["recipe_key"], row["task"]) == (recipe.key, chosen.application.task_name)
        if mine and weights in (None, row["weights"]):
            e = row["estimate"]
            change = (
                f", {numbers.points(e.difference)} {numbers.interval_of_points(e.difference_interval)} pp"
                if e.difference is not None and e.difference_interval is not None
                else ""
            )
            measured = (
                f"{escape(e.metric)} {numbers.percent(e.value)}{change} ({escape(e.split)}, {e.examples:,} examples)"
            )
            break
    steps = escape("; ".join(step.describe() for step in recipe.steps))
    st.html(
        f"<div class='asc-small'><b>{escape(chosen.application.title)}</b> · {steps}<br>"
        f"<span class='asc-quiet'>{measured or 'not measured yet'} · "
        f"{escape(rule)}</span></div>"
    )
    text = json.dumps(named(chosen.application, recipe).to_json()) + "\n"
    recipe_button(text, f"export-recipe-{recipe.key}")


def recipe_button(text: str, key: str) -> None:
    st.download_button(
        "Recipe file",
        data=text,
        file_name=RECIPE_FILE,
        mime="application/json",
        key=key,
        type="tertiary",
        icon=":material/receipt_long:",
        on_click="ignore",
        help="What is done to the original, step by step; `asc compress --recipe` does it again.",
    )


def explain() -> None:
    with st.container(border=True):
        st.html(
            "<p class='asc-kicker'>What happens</p><div class='asc-small'>The model and the original are measured "
            "once on the <b>test</b> split (validation where there is none) for the model card. The weights, "
            "tokenizer, plan and card are written, loaded again <b>in a fresh process</b>, and its outputs compared "
            "with those of the model here. Only then does the folder get its name. A larger difference than the format "
            "allows, a full disk or a cancel leaves nothing behind.</div>"
        )


def report(job: Job) -> None:
    done: Exported = job.result
    folder, form = done.report.path, FORMATS[done.report.format]
    difference = f"{done.report.max_difference:.1e}" if done.report.max_difference else "0"
    equal = f", {done.report.equal:.1%} of the answers equal" if done.report.equal is not None else ""
    speed = f"<p class='asc-note'>{escape(done.report.speed)}</p>" if done.report.speed else ""
    rounded = "" if done.report.packing == "float32" else f" beside what {escape(done.report.packing)} rounds"
    with st.container(border=True, key="export-report"):
        st.html(
            f"<p class='asc-kicker'>Exported and checked</p><h3 style='margin:0;padding:0'>{escape(folder.name)}</h3>"
            f"<div class='asc-figures'><span>largest difference of outputs <b>{difference}</b> "
            f"({done.report.tolerance or form.tolerance:.0e} allowed{rounded}){equal} on "
            f"{done.report.checked_texts} texts, in a {escape(done.report.checked_in)}</span>"
            f"<span>size <b>{numbers.size(done.report.bytes)}</b></span>"
            f"<span>{escape(form.title)}, weights <b>{escape(done.report.packing)}</b></span>"
            f"<span>{latency(done.report.timing)}</span></div>{speed}"
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            download(folder, primary=True)
            recipe_button(done.recipe, "export-report-recipe")
        st.caption(bare(f"Folder: {folder.absolute()}"))
    card, again, load = st.tabs(["Model card", "Reproduce", "Load it"])
    with card, st.container(height=420, key="export-card"):
        for picture in pictures_of(folder):
            st.image(str(picture))
        st.markdown(done.card)
    with again:
        st.code(done.command, language="bash", wrap_lines=True)
    with load:
        st.markdown(done.loading)


def latency(timing: Timing | None) -> str:
    if timing is None:
        return "time not measured beside the original"
    return (
        f"<b>{timing.milliseconds:.1f} ms</b>, {timing.ratio:.2f} times as fast as the original in the same turns "
        f"(batch {timing.batch_size}, {timing.tokens:.0f} tokens on average; {escape(timing.where)})"
    )


def download(folder: Path, primary: bool = False) -> None:
    """Streamed, so that neither memory nor disk holds a second copy of the folder."""
    address = address_of(folder)
    if address is None:
        st.caption("To download it here, start the dashboard with `asc dashboard`.")
        return
    kind: Literal["primary", "tertiary"] = "primary" if primary else "tertiary"
    st.link_button("Download as zip", address, type=kind, icon=":material/download:")


def earlier(session: Session) -> None:
    exports = exports_of(session.study)
    if not exports:
        return
    with st.expander(f"Exports of this study ({len(exports)})", key="export-earlier"):
        for folder in exports[:20]:
            name, button = st.columns([3, 2], vertical_alignment="center")
            name.html(f"<b>{escape(folder.name)}</b> <span class='asc-quiet'>{numbers.size(size_of(folder))}</span>")
            with button:
                download(folder)


with errors_in_page():
    page()
