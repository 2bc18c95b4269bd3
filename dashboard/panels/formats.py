"""The formats of export as one list: what each needs, its bytes before anything is built, and what it cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from asc_core.compress.pack import Pack
from asc_core.encoder import Encoder
from asc_core.export import FORMATS, Format
from asc_core.export.forecast import bytes_beside, weight_bytes
from asc_core.recipes import Recipe
from dashboard.measuring.build import cut_decides
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from dashboard.text import numbers


@dataclass(frozen=True)
class Choice:
    """format, packing: their names. refused: why there is no such export, None where there is."""

    format: str
    packing: str
    refused: str | None


def choose_format(models: LoadedModels, application: Application, recipe: Recipe) -> Choice:
    encoder = models.cached_encoder(application)
    rows = [row_of(form, recipe, models, application, encoder) for form in FORMATS.values()]
    format = st.radio(
        "Format", list(FORMATS), format_func=titled, captions=[row.caption for row in rows], key="export-format"
    )
    row = rows[list(FORMATS).index(format)]
    packings = FORMATS[format].packings
    packing = st.segmented_control(
        "Weights stored as",
        packings,
        default=row.packing,
        required=True,
        key=f"export-packing-{format}" + (f"-{row.packing}" if row.packing != packings[0] else ""),
        help="float16 halves the file; loaded with dtype=torch.float32 it computes as before, up to rounding.",
    )
    if row.refused is not None:
        st.warning(row.refused, icon=":material/block:")
    return Choice(format, packing or row.packing, row.refused)


@dataclass(frozen=True)
class Row:
    packing: str
    refused: str | None
    caption: str


def row_of(
    form: Format, recipe: Recipe, models: LoadedModels, application: Application, encoder: Encoder | None
) -> Row:
    """encoder: the original, None where it is not in memory: then its bytes and refusals are not known yet."""
    asked = next((step.packing for step in recipe.steps[::-1] if isinstance(step, Pack)), form.packings[0])
    packing = asked if asked in form.packings else form.packings[0]
    said = [f"needs {', '.join(form.needs)}", " or ".join(form.packings)]
    refused = form.refuses(encoder) if encoder is not None else None
    if refused is not None:
        said = ["not possible here"]
    elif encoder is not None:
        said.append(_bytes(form, packing, recipe, models, application, encoder))
    return Row(packing, refused, " · ".join(said))


def _bytes(
    form: Format, packing: str, recipe: Recipe, models: LoadedModels, application: Application, encoder: Encoder
) -> str:
    plan = recipe.cut
    fits = plan is not None and plan.shape == encoder.shape
    beside = models.memo(("bytes beside", application.encoder), lambda: bytes_beside(encoder))
    weights = weight_bytes(encoder, form, packing, plan if fits else None)
    exact = fits and cut_decides(_but_packs(recipe))
    return f"{'about' if exact else 'at most about'} {numbers.size(weights + beside)} in {packing}"


def _but_packs(recipe: Recipe) -> Sequence:
    return [step for step in recipe.steps if not isinstance(step, Pack)]


def titled(format: str) -> str:
    return f"{FORMATS[format].title}: {FORMATS[format].about}"
