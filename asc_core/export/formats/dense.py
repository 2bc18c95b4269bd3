"""The dense-compatible form: an ordinary checkpoint that the original architecture's class loads, with no code of ours.

A cut head is stored as zeros at its old place, every FFN gets the width of the widest one that is left, filled up with
zeros, and removed layers are really gone. It answers like the cut model; it saves the time of removed layers and of
the narrower FFNs, not that of single heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from asc_core import modeling
from asc_core.export.answer import script
from asc_core.export.checkpoint import Payload, auto_class_of, loading, plain_config
from asc_core.export.formats.format import Written
from asc_core.export.packings import PACKINGS, Packing

if TYPE_CHECKING:
    from asc_core.encoder import Encoder


class Dense:
    name = "dense"
    title = "Dense"
    about = "loads with the original's own class everywhere, cut parts are zeros"
    tolerance = 1e-4
    packings = tuple(PACKINGS)
    answer = script("with_transformers.py")

    def refuses(self, encoder: Encoder) -> str | None:
        reason = _reason_against(encoder)
        return reason and f"{reason} Export it in the compact format."

    def write(self, encoder: Encoder, folder: Path, packing: Packing) -> Written:
        width = max(1, *encoder.shape.neurons)
        config = plain_config(encoder, **{modeling.ffn_width_name(encoder.model.config): width})
        written = Payload(config, _padded_state(encoder, width)).write(folder, packing)
        return Written(
            written,
            {"auto": auto_class_of(folder), "trust_remote_code": False},
            limitations=(
                "Cut heads and neurons are zeros, so that the original's class can load them: they still cost time.",
            ),
        )

    def loading(self, folder: Path, name: str) -> str:
        return loading(folder, name)


def _reason_against(encoder: Encoder) -> str | None:
    record = getattr(encoder.model.config, "asc_cut", None)
    if encoder.head == "intent-slots":
        return "Transformers has no class for intents and slots, so there is no dense format."
    if record is None or 0 in record["layers"]:
        return None
    if encoder.architecture == "modernbert":
        return (
            "The first layer is cut, and the dense format's class leaves out the attention norm of whichever layer is "
            "first, which the layer that is now first needs."
        )
    if getattr(encoder.model.config, "conv_kernel_size", 0):
        return (
            "The first layer is cut, and the dense format's class runs its convolution after whichever layer is first, "
            "not before it as this model does."
        )
    return None


def _padded_state(encoder: Encoder, width: int) -> dict[str, torch.Tensor]:
    """The model's tensors with heads back at their old places and FFNs of `width` neurons."""
    model, table = encoder.model, modeling.architecture_of(encoder.model)
    state = dict(model.state_dict())
    record = getattr(model.config, "asc_cut", None) or modeling.whole(model)
    paths = {module: path for path, module in model.named_modules()}
    head_width, heads = modeling.head_width(model.config), model.config.num_attention_heads

    def pad(layer: nn.Module, path: str, dim: int, places: torch.Tensor, size: int) -> None:
        linear = modeling.submodule(layer, path)
        if linear is None:  # a feeder that this configuration lacks
            return
        for name in ("weight", "bias") if dim == 0 else ("weight",):
            key = f"{paths[linear]}.{name}"
            if key in state:
                state[key] = _spread(state[key], dim, places, size)

    for row, layer in enumerate(modeling.rows_of(model)):
        columns = modeling.blocks(record["heads"][row], head_width)
        rows = _stacked(columns, table.stacked, heads * head_width)
        for path in table.feeders:
            pad(layer, path, 0, rows, table.stacked * heads * head_width)
        pad(layer, table.attention_readout, 1, columns, heads * head_width)
        neurons = torch.arange(record["neurons"][row])
        pad(layer, table.ffn_in, 0, _stacked(neurons, table.gates, width), table.gates * width)
        pad(layer, table.ffn_readout, 1, neurons, width)
    return state


def _stacked(places: torch.Tensor, times: int, size: int) -> torch.Tensor:
    """The same places in each of `times` matrices of `size` rows on top of each other."""
    return (torch.arange(times)[:, None] * size + places).flatten()


def _spread(tensor: torch.Tensor, dim: int, places: torch.Tensor, size: int) -> torch.Tensor:
    shape = list(tensor.shape)
    shape[dim] = size
    return tensor.new_zeros(shape).index_copy(dim, places.to(tensor.device), tensor)
