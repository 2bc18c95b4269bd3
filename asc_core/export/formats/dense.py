"""The dense-compatible form: an ordinary checkpoint that the original architecture's class loads, with no code of ours.

A cut head is stored as zeros at its old place, every FFN gets the width of the widest one that is left, filled up with
zeros, and removed layers are really gone. It answers like the cut model; it saves the time of removed layers and of
the narrower FFNs, not that of single heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.export.answer import script
from asc_core.export.checkpoint import Payload, auto_class_of, loading, plain_config
from asc_core.export.formats.format import Written
from asc_core.modeling import PACKINGS, Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


class Dense:
    name = "dense"
    title = "Dense"
    about = "loads with the original's own class everywhere, cut parts are zeros"
    needs = ("torch", "transformers")
    zeros = True
    tolerance = 1e-4
    packings = tuple(PACKINGS)
    int8_activations = None  # codes would lie in it multiplied out
    answer = script("with_transformers.py")

    def refuses(self, encoder: Encoder) -> str | None:
        reason = _reason_against(encoder)
        return reason and f"{reason} Export it in the compact format."

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        if packing.name != "float32" and any(entry["kind"] == "factor" for entry in encoder.structures):
            raise UserError(
                f"The dense format multiplies factors out, and {packing.name} rounds the product otherwise than the "
                "factors: store it in float32, or export it in the compact format."
            )
        try:
            state, values = _dense_state(encoder)
        except ValueError as error:  # a structure that the original's class cannot do without
            reason = f"There is no dense format of this encoder: {error}."
            raise UserError(f"{reason} Export it in the compact format.") from None
        payload = Payload(plain_config(encoder, **values), state)
        written = payload.write(folder, packing)
        zeros = payload.parameters - encoder.parameters
        held = f" ({zeros:,} of the {payload.parameters:,} parameters in the file)" if zeros > 0 else ""
        return Written(
            written,
            {"auto": auto_class_of(folder), "trust_remote_code": False},
            limitations=(
                f"Cut heads and neurons are zeros{held}, so that the original's class can load them: they still cost "
                "time.",
            ),
            parameters=payload.parameters,
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading(folder, name)


def _reason_against(encoder: Encoder) -> str | None:
    if encoder.head == "intent-slots":
        return "Transformers has no class for intents and slots, so there is no dense format."
    if not encoder.has_parts:
        return f"Transformers has no class for {encoder.architecture}, so there is no dense format."
    reason = modeling.dense_refusal(encoder.model, modeling.origin(encoder.model.config).layers)
    return reason and f"There is no dense format of this encoder: {reason}."


def _dense_state(encoder: Encoder) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """(the model's tensors without its structures, the configuration's values for them).

    Heads are back at their old places, and every FFN is as wide as the widest.
    """
    state = dict(encoder.model.state_dict())
    values: dict[str, Any] = {}
    for entry in reversed(encoder.structures):
        modeling.STRUCTURES[entry["kind"]].dense(encoder.model, entry, state, values)
    width = max(1, *encoder.shape.neurons)
    modeling.pad_to_class(encoder.model, modeling.origin(encoder.model.config).heads, state, width)
    return state, {**values, modeling.architecture_of(encoder.model).ffn_width: width}
