"""How weights lie in a file, apart from what is computed with them: everything is computed in float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Packing:
    """stored: the type of floating-point numbers in the file; other numbers keep theirs."""

    name: str
    about: str
    stored: torch.dtype

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """What is stored of a tensor."""
        return tensor.to(self.stored) if tensor.is_floating_point() else tensor

    def unpacked(self, tensor: torch.Tensor) -> torch.Tensor:
        """What is computed with, once it was stored: the same type as before, with what storing took from it."""
        return self.pack(tensor).to(tensor.dtype)

    def bytes(self, tensor: torch.Tensor) -> int:
        """That a tensor takes in a file, without the file's header."""
        each = self.stored.itemsize if tensor.is_floating_point() else tensor.element_size()
        return tensor.numel() * each


PACKINGS: dict[str, Packing] = {
    packing.name: packing
    for packing in (
        Packing("float32", "as they are computed", torch.float32),
        Packing("float16", "half the bytes, rounded to eleven bits", torch.float16),
    )
}
