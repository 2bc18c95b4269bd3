"""The formats of export as one list: what each needs, its bytes before anything is built, and what it cannot hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from asc_core.compress.pack import Pack
from asc_core.compress.quantize import Quantize
from asc_core.encoder import Encoder
from asc_core.export import FORMATS, Format
from asc_core.export.forecast import bytes_beside, int8_bytes, weight_bytes
from asc_core.recipes import Recipe
from asc_core.recipes.int8 import activations_for, in_int8, int8_step
from dashboard.measuring.build import cut_decides
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from dashboard.text import numbers
from dashboard.text.markup import bare

INT8 = "int8"


@dataclass(frozen=True)
class Choice:
    """format, packing: their names. refused: why there is no such export, None where there is. recipe: what is to be
    exported, with int8 as its last step where that was chosen. stored_as: what was chosen, a packing or int8."""

    format: str
    packing: str
    refused: str | None
    recipe: Recipe
    stored_as: str


def choose_format(models: LoadedModels, application: Application, recipe: Recipe) -> Choice:
    encoder = models.cached_encoder(application)
    rows = [row_of(form, recipe, models, application, encoder) for form in FORMATS.values()]
    format = st.radio(
        "Format", list(FORMATS), format_func=titled, captions=[row.caption for row in rows], key="export-format"
    )
    row = rows[list(FORMATS).index(format)]
    packings = FORMATS[format].packings
    chosen = st.segmented_control(
        "Weights stored as",
        stored_as(FORMATS[format], recipe),
        default=row.packing,
        required=True,
        key=f"export-packing-{format}" + (f"-{row.packing}" if row.packing != packings[0] else ""),
        help="float16 halves the file; loaded with dtype=torch.float32 it computes as before, up to rounding. int8 "
        "stores matrices as whole numbers, but for those that the application would miss.",
    )
    if row.refused is not None:
        st.warning(bare(row.refused), icon=":material/block:")
    if chosen != INT8:
        return Choice(format, chosen or row.packing, row.refused, recipe, chosen or row.packing)
    st.caption(bare(_of_int8(FORMATS[format], recipe, models, application, encoder)))
    return Choice(format, "float32", row.refused, in_int8(recipe, format), INT8)


def stored_as(form: Format, recipe: Recipe) -> tuple[str, ...]:
    """Names of packings, and int8 where the format holds integers and the recipe does not make them itself."""
    already = any(step.structure == Quantize.structure for step in recipe.steps)
    whole = () if already or activations_for(form.name) is None else (INT8,)
    return (*form.packings, *whole)


def _of_int8(
    form: Format, recipe: Recipe, models: LoadedModels, application: Application, encoder: Encoder | None
) -> str:
    step = int8_step(form.name, choose=True)
    said = []
    if encoder is not None:
        plan = recipe.cut if recipe.cut is not None and recipe.cut.shape == encoder.shape else None
        key = ("int8 bytes", application.encoder, form.name, plan.key if plan is not None else "")
        weights = models.memo(key, lambda: int8_bytes(encoder, form, step.activations, plan))
        size = numbers.size(weights + _beside(models, application, encoder))
        said.append(f"{_how_sure(recipe, encoder)} {size} with every matrix in int8.")
    said.append(
        f"Where that changes more than {numbers.percent(step.most_changed, 0)} of the answers on {step.samples} "
        "training texts, those that do the most harm stay in float32, which makes it larger."
    )
    if step.activations == "dynamic":
        said.append("What matrices multiply is rounded, too; the export measures whether that is faster here.")
    return " ".join(said)


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
    said = [f"needs {', '.join(form.needs)}", " or ".join(stored_as(form, recipe))]
    refused = form.refuses(encoder) if encoder is not None else None
    if refused is not None:
        said = [f"not possible here: {refused.partition('. ')[0].rstrip('.')}"]
    elif encoder is not None:
        said.append(_bytes(form, packing, recipe, models, application, encoder))
    return Row(packing, refused, " · ".join(said))


def _bytes(
    form: Format, packing: str, recipe: Recipe, models: LoadedModels, application: Application, encoder: Encoder
) -> str:
    plan = recipe.cut
    fits = plan is not None and plan.shape == encoder.shape
    weights = weight_bytes(encoder, form, packing, plan if fits else None)
    size = numbers.size(weights + _beside(models, application, encoder))
    return f"{_how_sure(recipe, encoder).lower()} {size} in {packing}"


def _how_sure(recipe: Recipe, encoder: Encoder) -> str:
    fits = recipe.cut is not None and recipe.cut.shape == encoder.shape
    return "About" if fits and cut_decides(_but_packs(recipe)) else "At most about"


def _beside(models: LoadedModels, application: Application, encoder: Encoder) -> int:
    return models.memo(("bytes beside", application.encoder), lambda: bytes_beside(encoder))


def _but_packs(recipe: Recipe) -> Sequence:
    return [step for step in recipe.steps if not isinstance(step, Pack)]


def titled(format: str) -> str:
    return f"{FORMATS[format].title}: {FORMATS[format].about}"
