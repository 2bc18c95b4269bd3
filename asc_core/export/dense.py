"""The dense-compatible form: an ordinary checkpoint that the original architecture's class loads, with no code of ours.

A cut head is stored as zeros at its old place, every FFN gets the width of the widest one that is left, filled up with
zeros, and removed layers are really gone. It answers like the cut model; it saves the time of removed layers and of
the narrower FFNs, not that of single heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_core import modeling
from asc_core.encoder import HEADS
from asc_core.errors import UserError
from asc_core.export.compact import uncut_config
from asc_core.export.directory import Contents, ExportReport, write_directory

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


def export_dense(encoder: Encoder, out: str | Path, **options: Any) -> ExportReport:
    """See `asc_core.export.export` for options. Raises: UserError where the original's class cannot hold this cut."""
    return write_directory(contents(encoder), encoder, out, **options)


def contents(encoder: Encoder) -> Contents:
    """What goes into the directory of the dense form. Raises: UserError, see `export_dense`."""
    way_out = "Export it in the compact format."
    if encoder.head == "intent-slots":
        raise UserError(f"Transformers has no class for intents and slots, so there is no dense format. {way_out}")
    origin = modeling.origin(encoder.model.config)
    refused = modeling.dense_refusal(encoder.model, origin.layers)
    if refused is not None:
        raise UserError(f"There is no dense format of this encoder: {refused}. {way_out}")
    state, values = dict(encoder.model.state_dict()), {}
    try:
        for entry in reversed(encoder.structures):
            modeling.STRUCTURES[entry["kind"]].dense(encoder.model, entry, state, values)
    except ValueError as error:
        raise UserError(f"There is no dense format of this encoder: {error}. {way_out}") from None
    width = max(1, *encoder.shape.neurons)
    modeling.pad_to_class(encoder.model, origin.heads, state, width)
    values[modeling.architecture_of(encoder.model).ffn_width] = width
    return Contents("dense", HEADS[encoder.head], uncut_config(encoder, **values), state)
