"""The dense-compatible form: an ordinary checkpoint that the original architecture's class loads, with no code of ours.

A cut head is stored as zeros at its old place, every FFN gets the width of the widest one that is left, filled up with
zeros, and removed layers are really gone. It answers like the cut model; it saves the time of removed layers and of
the narrower FFNs, not that of single heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

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
    _check_possible(encoder)
    width = max(1, *encoder.shape.neurons)
    config = uncut_config(encoder, **{modeling.ffn_width_name(encoder.model.config): width})
    return Contents("dense", HEADS[encoder.head], config, _padded_state(encoder, width))


def _check_possible(encoder: Encoder) -> None:
    record = getattr(encoder.model.config, "asc_cut", None)
    way_out = "Export it in the compact format."
    if encoder.head == "intent-slots":
        raise UserError(f"Transformers has no class for intents and slots, so there is no dense format. {way_out}")
    if record is None or 0 in record["layers"]:
        return
    if encoder.architecture == "modernbert":
        raise UserError(
            "The first layer is cut, and the dense format's class leaves out the attention norm of whichever layer is "
            f"first, which the layer that is now first needs. {way_out}"
        )
    if getattr(encoder.model.config, "conv_kernel_size", 0):
        raise UserError(
            "The first layer is cut, and the dense format's class runs its convolution after whichever layer is first, "
            f"not before it as this model does. {way_out}"
        )


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
