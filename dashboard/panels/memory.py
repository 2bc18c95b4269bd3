"""How much memory is kept for speed, of what, and a way to give it back."""

from __future__ import annotations

import streamlit as st

from asc_core import machine_memory
from dashboard.text import numbers
from dashboard.text.markup import bare
from dashboard.widgets.page import models

HELP = (
    "What is loaded or computed once and kept, so that the next click is quick. What was used least recently goes "
    "first where it gets too much, and all of it when no window is open and nothing runs; it can be made again. The "
    "bound is set by `asc dashboard --memory 4GB`, or by the variable ASC_MEMORY."
)


def panel() -> None:
    kept = models().kept
    with st.container(horizontal=True, vertical_alignment="center", key="memory"):
        st.caption(bare(sentence(kept.bytes, kept.most_bytes, kept.by_kind(), machine_memory.resident())), help=HELP)
        st.button("Free", key="free-memory", type="tertiary", on_click=free, disabled=not kept.bytes)


def free() -> None:
    models().free()


def sentence(used: int, bound: int, kinds: dict[str, int], resident: int | None) -> str:
    said = f"Kept for speed: {numbers.size(used)} of {numbers.size(bound)}"
    parts = [f"{kind} {numbers.size(size)}" for kind, size in kinds.items()]
    said += f" ({', '.join(parts)})." if parts else "."
    return said if resident is None else f"{said} The whole process holds {numbers.size(resident)}."
