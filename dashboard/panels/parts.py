"""Every part of the encoder as a line of a table."""

from __future__ import annotations

from functools import partial

import streamlit as st

from asc_core.plan.parts import kinds_of
from dashboard.panels.selection import MapSelection
from dashboard.state.session import Session
from dashboard.tables.parts import csv_of, parts_table
from dashboard.tables.undecided import cut_in_view
from dashboard.text.markup import bare
from dashboard.text.method_names import title_of
from dashboard.text.names import PART_NAMES

HEIGHT = 420


def panel(session: Session, view: MapSelection) -> None:
    scores = view.scores
    if scores is None:
        st.info(bare(f"{view.application.title} has no scores by {title_of(view.method)}."), icon=":material/table:")
        return
    cut = cut_in_view(session, view.application.name, scores, view.share)
    there = kinds_of(scores)
    kinds_column, only_column, save_column = st.columns([6, 3, 2], vertical_alignment="center")
    with kinds_column:
        chosen = st.pills(
            "Parts",
            [kind for kind in PART_NAMES if kind in there],
            format_func=lambda kind: f"{PART_NAMES[kind]}s",
            selection_mode="multi",
            default=[kind for kind in PART_NAMES if kind in there and kind != "neurons"] or list(there),
            key="parts-kinds",
            label_visibility="collapsed",
        )
    only = only_column.toggle("undecided only", key="parts-undecided")
    table = parts_table(scores, cut, chosen)
    if only and len(table):
        table = table[table["undecided"].fillna(False)]
    save_column.download_button(
        "CSV",
        data=partial(csv_of, scores, cut, chosen),
        file_name=f"{view.application.title}-{view.method}.csv",
        mime="text/csv",
        key=f"parts-csv-{view.application.title}-{view.method}",
        icon=":material/download:",
        on_click="ignore",
        disabled=not chosen,
    )
    if not len(table):
        st.caption(bare("Nothing to show: choose a kind of part." if not chosen else "No part of these is undecided."))
        return
    middle = float(table["score"].abs().median())
    written = "%.4f" if 0.01 <= middle < 1e4 else "%.3e"  # one way of writing them, or a column cannot be read down
    st.dataframe(
        table,
        height=min(HEIGHT, 38 + 35 * len(table)),
        hide_index=True,
        key="parts-table",
        column_config={
            "kind": st.column_config.TextColumn("part"),
            "layer": st.column_config.NumberColumn("layer", width="small"),
            "number": st.column_config.NumberColumn(
                "number", width="small", help="Of the head or neuron in its layer."
            ),
            "score": st.column_config.NumberColumn("score", format=written, width="small"),
            "low": st.column_config.NumberColumn(
                "low", help="Ends of the 95 % interval over examples.", format=written, width="small"
            ),
            "high": st.column_config.NumberColumn("high", format=written, width="small"),
            "rank": st.column_config.NumberColumn("rank", width="small", help="1 = contributes most of its kind."),
            "undecided": st.column_config.CheckboxColumn(
                "undecided", width="small", help="Its interval crosses the cut: more examples could decide otherwise."
            ),
            "removed": st.column_config.CheckboxColumn("removed", width="small", help="It lies below the cut."),
        },
    )
    where = "Tune's cut" if cut.plan is not None else f"the lowest {100 * view.share:.0f} % of each kind"
    st.html(f"<div class='asc-small asc-quiet'>{len(table):,} parts; removed and undecided: at {where}.</div>")
