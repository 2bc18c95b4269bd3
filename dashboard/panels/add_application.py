"""A form for an application of the user's own."""

from __future__ import annotations

import streamlit as st

from asc_core.errors import UserError
from dashboard.background.application_jobs import add_job
from dashboard.state.session import Session, home_folder
from dashboard.state.user import check_place
from dashboard.text.markup import bare
from dashboard.widgets.page import all_jobs, models, poll


def panel(session: Session) -> None:
    st.html(
        "<div class='asc-card'><h3>Your application</h3><p>A fine-tuned checkpoint and a task file that says where its "
        "texts and labels are.</p></div>"
    )
    with st.form("add-application", border=False):
        encoder = st.text_input("Encoder", key="add-encoder", placeholder="folder, or hub id")
        task = st.text_input("Task", key="add-task", placeholder="task.toml, or a preset such as glue/mrpc")
        sent = st.form_submit_button("Add", key="add-submit", icon=":material/add:")
    jobs = all_jobs()
    if sent and not (encoder.strip() and task.strip()):
        st.error("Name both an encoder and a task.", icon=":material/error:")
        return
    if sent:
        try:
            for place in (encoder.strip(), task.strip()):
                check_place(place, home_folder(), session.user)
        except UserError as error:
            st.error(bare(str(error)), icon=":material/error:")
            return
        work = add_job(models(), session.study, encoder.strip(), task.strip())
        jobs.start(session.id, "load", "add", "Adding", work)
    job = jobs.last(session.id, "load", "add")
    if job is not None and job.active:
        poll(job, "adding")
        if job.active and st.button("Cancel", key="add-cancel", icon=":material/close:", disabled=job.cancelling):
            job.cancel()
            jobs.forget(job)
            st.rerun()
    elif job is not None and job.error:
        st.error(bare(job.error), icon=":material/error:")
    elif job is not None and job.result is not None:
        st.success(bare(f"{job.result.title} is added: score it next."), icon=":material/check:")
