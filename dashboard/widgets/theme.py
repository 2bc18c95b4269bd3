"""The look of the pages: the stylesheet and the theme's colours. Imports no engine, so that it is there at once."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.charts.palette import Palette, palette

STYLE = Path(__file__).with_name("style.css")
MARK = str(Path(__file__).with_name("mark.svg"))


def colours() -> Palette:
    """Those of the theme that the browser shows."""
    return palette(dark=st.context.theme.type == "dark")


def style() -> None:
    """The stylesheet, with the colours that charts and text share."""
    chosen = colours()
    names = {"accent": chosen.accent, "on-accent": chosen.on_accent, "cut": chosen.cut}
    variables = f":root {{ {' '.join(f'--asc-{name}: {colour};' for name, colour in names.items())} }}"
    st.html(f"<style>{STYLE.read_text(encoding='utf-8')}\n{variables}</style>")
