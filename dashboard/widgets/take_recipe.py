"""From a ranking to a model: one of its recipes is pinned, and stands on the page Export."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from asc_core.recipes import Recipe
from dashboard.state.session import Session
from dashboard.text.markup import bare


def take_recipe(
    session: Session, name: str, titles: Mapping[str, str], recipes: Mapping[str, Recipe], form: str | None = None
) -> None:
    """A choice among `titles` and a button that pins.

    name: of these widgets. titles: of recipes' keys, the first is chosen. recipes: by their keys. form: the format that
    Export begins with.
    """
    if not titles:
        return
    choice, button = st.columns([3, 1], vertical_alignment="bottom")
    key = choice.selectbox("Within the limits", list(titles), format_func=titles.__getitem__, key=f"{name}-take")
    button.button(
        "Pin it",
        key=f"{name}-pin",
        icon=":material/push_pin:",
        on_click=_pin,
        args=(session, name, titles[key], recipes[key], form),
        width="stretch",
    )
    pinned = st.session_state.get(f"{name}-pinned")
    if pinned in session.study.pins:
        st.page_link("views/export.py", label=bare(f"Export {pinned}"), icon=":material/ios_share:")


def _pin(session: Session, widget: str, title: str, recipe: Recipe, form: str | None) -> None:
    """Under the name that the recipe has already, else under its title."""
    pins = session.study.pins
    free = title if title not in pins else f"{title} {recipe.key[:6]}"
    name = next((name for name, known in pins.items() if known == recipe.key), free)
    session.study.save_recipe(recipe, name)
    st.session_state[f"{widget}-pinned"] = st.session_state["export-candidate"] = name
    if form is not None:
        st.session_state["export-format"] = form
