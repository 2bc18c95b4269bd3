"""The way back: settings of this window, and recipes of the study that have a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import streamlit as st

from asc_core.recipes import Recipe
from asc_core.recipes.stored import pinned_recipes
from asc_core.values import Plan
from dashboard.state.cut_settings import CutSettings
from dashboard.state.pins import pin, settings_of_pin
from dashboard.state.session import Session
from dashboard.text.markup import bare

SHOWN_SETTINGS = 8


def history(session: Session, plan: Plan | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Undo", key="tune-undo", icon=":material/undo:", on_click=session.undo, disabled=not session.can_undo)
        st.button("Redo", key="tune-redo", icon=":material/redo:", on_click=session.redo, disabled=not session.can_redo)
        if plan is not None:
            with st.popover("Pin", icon=":material/push_pin:", key="tune-pin"):
                pinning(session, plan)
            st.page_link("views/export.py", label="Export", icon=":material/ios_share:")
    recent = list(range(max(0, len(session.history) - SHOWN_SETTINGS), len(session.history)))[::-1]
    several = len({session.history[n].application for n in recent}) > 1

    def label(settings: CutSettings) -> str:
        return f"{settings.application.removeprefix('demo:')} {settings.label}" if several else settings.label

    buttons = {f"tune-move-{n}": (label(session.history[n]), partial(session.jump, n)) for n in recent}
    chips("History", buttons, f"tune-move-{session.position}", "Newest first; * = cells set by hand.")
    pinned = {
        f"tune-pinned-{number}": (name, partial(bring_back, session, name, recipe))
        for number, (name, recipe) in enumerate(pinned_recipes(session.study).items())
    }
    chips("Pinned", pinned, None, "Recipes with a name, of this study.")


def pinning(session: Session, plan: Plan) -> None:
    """Give the recipe a name; a name that is taken is only given anew where that is said. And take names back."""
    name = st.text_input("Name", key="tune-pin-name", placeholder="half, small, ...").strip()
    pins, settings = pinned_recipes(session.study), session.settings
    taken = name in pins and (
        settings is None
        or pins[name].key != settings.recipe(plan).key
        or settings_of_pin(session.study, name, pins[name], session.application, session.method) != settings
    )
    if taken:
        st.caption(bare(f"Another recipe is called {name} already."))
    label = f"Replace {name}" if taken else "Pin this recipe"
    st.button(label, key="tune-pin-save", disabled=not name, on_click=keep_pin, args=(session, name, plan))
    for number, known in enumerate(pins):
        st.button(
            bare(f"Unpin {known}"),
            key=f"tune-unpin-{number}",
            type="tertiary",
            icon=":material/close:",
            on_click=session.study.unpin,
            args=(known,),
        )


def keep_pin(session: Session, name: str, plan: Plan) -> None:
    if session.settings is not None:
        pin(session.study, name, plan, session.settings)
        st.toast(bare(f"Pinned as {name}."))
        st.session_state["tune-pin-name"] = ""  # or the next cut would be one click from taking the name


def chips(title: str, buttons: Mapping[str, tuple[str, Callable[[], None]]], current: str | None, about: str) -> None:
    """Small buttons in a row. buttons: key -> (label, what it does). Plain buttons: they have no value to go stale."""
    if not buttons:
        return
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=f"chips-{title}"):
        st.html(f"<span class='asc-small asc-quiet' title='{about}'>{title}</span>", width="content")
        for key, (label, action) in buttons.items():
            kind: Literal["primary", "secondary"] = "primary" if key == current else "secondary"
            st.button(label, key=key, on_click=action, type=kind)


def bring_back(session: Session, name: str, recipe: Recipe) -> None:
    settings = settings_of_pin(session.study, name, recipe, session.application, session.method)
    if settings is not None:
        session.go(settings)
    else:
        st.toast(
            bare(f"{name} cannot be shown here: it is no cut with further steps. It stands on Compare and Export.")
        )
