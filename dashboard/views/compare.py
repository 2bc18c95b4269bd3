"""Compare: candidates on one chart, presets at one size, and what a cut for one application does to the others."""

from __future__ import annotations

import streamlit as st

from dashboard.panels import allocation, candidates, deployment, on_device, preset_comparison, tickets, transfer_matrix
from dashboard.state.applications import applications_of
from dashboard.widgets.page import errors_in_page, running_work, this_session, write_address

TABS = {
    ":material/grid_on: Transfer matrix": transfer_matrix.panel,
    ":material/leaderboard: Presets at one size": preset_comparison.panel,
    ":material/push_pin: Candidates": candidates.panel,
    ":material/rocket_launch: Deploy": deployment.panel,
    ":material/savings: One budget": allocation.panel,
    ":material/memory: On a device": on_device.panel,
    ":material/confirmation_number: Tickets": tickets.panel,
}


def page() -> None:
    session = this_session()
    running_work(session)
    applications = [one for one in applications_of(session.study) if one.trained]
    for tab, panel in zip(st.tabs(list(TABS)), TABS.values(), strict=True):
        with tab:
            panel(session, applications)
    write_address(session)


with errors_in_page():
    page()
