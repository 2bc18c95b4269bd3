"""Packings: what of a weight lies on disk, apart from the format and from what is computed with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asc_core.errors import UserError


@dataclass(frozen=True)
class Packing:
    """Every weight stored in one floating-point type; what is no such number stays as it is.

    note: what a model card says of it, empty where there is nothing to say.
    """

    name: str
    dtype: torch.dtype
    note: str = ""

    def pack(self, tensor: Tensor) -> Tensor:
        """The tensor as it is stored."""
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def bytes(self, tensor: Tensor) -> int:
        """What it takes in the file, without packing it."""
        return tensor.numel() * (self.dtype.itemsize if tensor.is_floating_point() else tensor.element_size())


PACKINGS = {
    packing.name: packing
    for packing in (
        Packing("float32", torch.float32),
        Packing(
            "float16",
            torch.float16,
            "The weights are stored in float16; compute in float32 on a CPU with `dtype=torch.float32`.",
        ),
    )
}


def packing_named(name: str) -> Packing:
    """Raises: UserError where there is no such packing."""
    if name not in PACKINGS:
        raise UserError(f"Weights are stored as {' or '.join(PACKINGS)}, not as {name!r}.")
    return PACKINGS[name]


def packing_of(encoder: Any) -> str:
    """The name of the packing that an encoder asks for."""
    return str(getattr(encoder, "packing", "float32"))
